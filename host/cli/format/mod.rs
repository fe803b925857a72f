//! What listings and `--format` print.

mod human;
mod table;
mod template;

pub(crate) use human::{ago, binary_size, duration, parse_size, shortened, size};
pub(crate) use template::{Template, TemplateError};

use serde_json::Value;

/// A column of a listing: its heading and the field that it shows.
pub(crate) type Column = (&'static str, &'static str);

/// A listing as Docker prints one: a table of `columns` without a format, one JSON object a line
/// for `json`, a table for `table TEMPLATE`, else the template once for each item.
pub(crate) fn list(
    format: Option<&str>,
    columns: &[Column],
    items: &[Value],
) -> Result<String, TemplateError> {
    match format {
        None => {
            let header = columns.iter().map(|&(header, _)| header.to_owned()).collect();
            let row = |item: &Value| columns.iter().map(|&(_, field)| text(&item[field])).collect();
            Ok(table::align(std::iter::once(header).chain(items.iter().map(row)).collect()))
        }
        Some("json") => Ok(lines(items.iter().map(Value::to_string))),
        Some(format) => match format.strip_prefix("table") {
            Some(rest) if rest.starts_with([' ', '\t']) => templated_table(rest, columns, items),
            _ => {
                let template = Template::parse(&unescape(format))?;
                let rendered: Result<Vec<_>, _> =
                    items.iter().map(|i| template.render(i)).collect();
                Ok(lines(rendered?))
            }
        },
    }
}

/// What `inspect` prints: pretty JSON without a format, compact for `json`, else the template once
/// for each item.
pub(crate) fn inspect(format: Option<&str>, items: &[Value]) -> Result<String, TemplateError> {
    match format {
        None => Ok(format!("{:#}\n", Value::Array(items.to_vec()))),
        Some("json") => Ok(format!("{}\n", Value::Array(items.to_vec()))),
        Some(format) => {
            let template = Template::parse(&unescape(format))?;
            let rendered: Result<Vec<_>, _> = items.iter().map(|i| template.render(i)).collect();
            Ok(lines(rendered?))
        }
    }
}

/// Rows of cells as a table.
pub(crate) fn table(rows: Vec<Vec<String>>) -> String {
    table::align(rows)
}

fn templated_table(
    format: &str,
    columns: &[Column],
    items: &[Value],
) -> Result<String, TemplateError> {
    let template = Template::parse(&unescape(format.trim_start_matches(' ')))?;
    let headers = Value::Object(
        columns.iter().map(|&(header, field)| (field.to_owned(), header.into())).collect(),
    );
    let rows: Result<Vec<_>, _> = std::iter::once(&headers)
        .chain(items)
        .map(|item| Ok(template.render(item)?.split('\t').map(str::to_owned).collect()))
        .collect();
    Ok(table::align(rows?))
}

/// Shells pass `\t` and `\n` as they are typed; Docker reads them as a tab and a line break.
fn unescape(format: &str) -> String {
    format.replace("\\t", "\t").replace("\\n", "\n")
}

fn lines(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().fold(String::new(), |all, line| all + &line + "\n")
}

/// A value as a listing shows it: strings bare, the rest as JSON, nothing for `null`.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[("CONTAINER ID", "ID"), ("NAMES", "Names")];

    fn items() -> Vec<Value> {
        vec![json!({"ID": "abc", "Names": "web"}), json!({"ID": "def", "Names": "longer_name"})]
    }

    #[test]
    fn a_listing_without_a_format_is_an_aligned_table() {
        let printed = list(None, COLUMNS, &items()).unwrap();
        assert_eq!(
            printed,
            "CONTAINER ID   NAMES\nabc            web\ndef            longer_name\n"
        );
    }

    #[test]
    fn a_table_format_takes_the_headings_of_its_fields() {
        let printed = list(Some(r"table {{.Names}}\t{{.ID}}"), COLUMNS, &items()).unwrap();
        assert_eq!(printed, "NAMES         CONTAINER ID\nweb           abc\nlonger_name   def\n");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let printed = list(Some("json"), COLUMNS, &items()[..1]).unwrap();
        assert_eq!(printed, "{\"ID\":\"abc\",\"Names\":\"web\"}\n");
    }

    #[test]
    fn an_empty_listing_is_only_its_headings_and_an_empty_template_nothing() {
        assert_eq!(list(None, COLUMNS, &[]).unwrap(), "CONTAINER ID   NAMES\n");
        assert_eq!(list(Some("{{.ID}}"), COLUMNS, &[]).unwrap(), "");
    }

    #[test]
    fn inspect_applies_the_template_to_each_item() {
        assert_eq!(inspect(Some("{{.Names}}"), &items()).unwrap(), "web\nlonger_name\n");
    }
}
