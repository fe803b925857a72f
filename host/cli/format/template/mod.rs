//! The part of Go's text/template that `--format` is used with.
//!
//! Fields (`.Names`, `.State.Status`), `.` and `$`, strings and whole numbers, pipelines and
//! parentheses, `if`/`else if`/`else`, `range`/`else`, `with`, comments and the trim markers
//! `{{-` and `-}}`; the functions are those in [`eval::FUNCTIONS`]. Variables and nested template
//! definitions are not in it and are refused.

mod eval;
mod parse;

use serde_json::Value;

/// A template that was understood.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

/// A template that cannot be understood, or does not fit what it is applied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateError {
    /// Where, as a count of characters from 1.
    column: usize,
    message: String,
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "invalid format at column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self { nodes: parse::parse(text)? })
    }

    pub(crate) fn render(&self, data: &Value) -> Result<String, TemplateError> {
        let mut out = String::new();
        eval::render(&self.nodes, eval::Scope { root: data, dot: data }, &mut out)?;
        Ok(out)
    }
}

#[derive(Debug)]
enum Node {
    Text(String),
    Output(Pipeline),
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    Range { over: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    With { value: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
}

/// Commands; the value of each is the last argument of the next.
#[derive(Debug)]
struct Pipeline(Vec<Command>);

#[derive(Debug)]
struct Command {
    column: usize,
    operands: Vec<Operand>,
}

#[derive(Debug)]
enum Operand {
    /// `.A.B` from the dot; no names: the dot itself.
    Field(Vec<String>),
    /// `$.A.B` from what the template was applied to.
    Root(Vec<String>),
    Literal(Value),
    Function(String),
    /// `(pipeline).A.B`
    Group(Pipeline, Vec<String>),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(template: &str) -> Result<String, String> {
        let data = json!({
            "Name": "web",
            "State": {"Status": "running", "Pid": 7, "OOMKilled": false},
            "Ports": [80, 443],
            "Labels": {"b": "2", "a": "1"},
            "None": null,
        });
        Template::parse(template).and_then(|t| t.render(&data)).map_err(|e| e.to_string())
    }

    #[test]
    fn templates_print_what_go_prints() {
        let cases = [
            ("plain", "plain"),
            ("{{.Name}}: {{ .State.Status }}", "web: running"),
            ("{{json .State}}", r#"{"OOMKilled":false,"Pid":7,"Status":"running"}"#),
            ("{{.State.Pid}} {{.State.OOMKilled}}", "7 false"),
            ("{{.Ports}} {{.Labels}} {{.None}}", "[80 443] map[a:1 b:2] <no value>"),
            ("{{range .Ports}}<{{.}}>{{end}}", "<80><443>"),
            ("{{range $.Labels}}{{.}}{{else}}none{{end}}", "12"),
            ("{{if .State.OOMKilled}}oom{{else if eq .Name \"web\"}}ok{{else}}?{{end}}", "ok"),
            ("{{with .State}}{{.Pid}}{{end}}", "7"),
            ("{{.Name | upper | printf \"%s!\"}}", "WEB!"),
            ("{{printf \"%q %v %d%%\" .Name .Ports 5}}", "\"web\" [80 443] 5%"),
            ("{{join (split \"a,b\" \",\") \"-\"}}", "a-b"),
            ("{{index .Ports 1}} {{index .Labels \"a\"}} {{len .Name}}", "443 1 3"),
            ("{{(index .Ports 0)}}{{/* unseen */}} {{`raw`}}", "80 raw"),
            ("a {{- .Name -}} b", "awebb"),
            ("{{and .Name .None}}|{{or .None .Name}}|{{not .None}}", "<no value>|web|true"),
            ("{{truncate .Name 2}}{{title .Name}}", "weWeb"),
            ("{{println .Name 1}}", "web 1\n"),
        ];
        for (template, printed) in cases {
            assert_eq!(render(template).as_deref(), Ok(printed), "{template}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        insta::assert_snapshot!(
            [
                "{{.Nmae}}",
                "{{.Name",
                "{{.Name.First}}",
                "{{if .Name}}",
                "{{end}}",
                "{{nope .Name}}",
                "{{index .Ports 9}}",
                "{{\"open}}",
                "{{range .Name}}{{end}}",
                "{{}}",
                "{{$x := 1}}",
                "{{join .Name \",\"}}",
                "{{.Name)}}",
                "{{else}}",
                "{{(.Name}}",
                "{{json}}",
            ]
            .map(|template| format!("{template}  ->  {}", render(template).unwrap_err()))
            .join("\n")
        );
    }

    #[test]
    fn no_text_makes_the_parser_panic() {
        proptest::proptest!(|(text in r#"(\{\{|\}\}|-|\.|[a-z]| |"|\(|\)|\||if|end|range|else|[0-9]|\$|é)*"#)| {
            let _ = render(&text);
        });
    }
}
