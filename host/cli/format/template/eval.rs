//! From nodes and data to text.

use serde_json::Value;

use super::{Command, Node, Operand, Pipeline, TemplateError};

#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) root: &'a Value,
    pub(super) dot: &'a Value,
}

type Function = fn(&[Value]) -> Result<Value, String>;

pub(super) fn render(nodes: &[Node], scope: Scope, out: &mut String) -> Result<(), TemplateError> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Output(pipeline) => out.push_str(&shown(&value(pipeline, scope)?)),
            Node::If { condition, then, otherwise } => {
                let taken = if truth(&value(condition, scope)?) { then } else { otherwise };
                render(taken, scope, out)?;
            }
            Node::With { value: pipeline, body, otherwise } => {
                let dot = value(pipeline, scope)?;
                if truth(&dot) {
                    render(body, Scope { dot: &dot, ..scope }, out)?;
                } else {
                    render(otherwise, scope, out)?;
                }
            }
            Node::Range { over, body, otherwise } => {
                let items = elements(value(over, scope)?)
                    .map_err(|message| TemplateError { column: over.0[0].column, message })?;
                if items.is_empty() {
                    render(otherwise, scope, out)?;
                }
                for item in &items {
                    render(body, Scope { dot: item, ..scope }, out)?;
                }
            }
        }
    }
    Ok(())
}

fn value(pipeline: &Pipeline, scope: Scope) -> Result<Value, TemplateError> {
    let mut last = None;
    for command in &pipeline.0 {
        last = Some(run(command, last, scope)?);
    }
    Ok(last.unwrap_or_default())
}

fn run(command: &Command, piped: Option<Value>, scope: Scope) -> Result<Value, TemplateError> {
    let error = |message: String| TemplateError { column: command.column, message };
    let (first, rest) = command.operands.split_first().expect("the parser makes no empty command");
    if let Operand::Function(name) = first {
        let mut arguments = Vec::new();
        for operand in rest {
            arguments.push(operand_value(operand, scope, &error)?);
        }
        arguments.extend(piped);
        let known = FUNCTIONS.iter().find(|(known, _)| known == name);
        let (_, function) = known.ok_or_else(|| {
            let names: Vec<_> = FUNCTIONS.iter().map(|&(name, _)| name).collect();
            error(format!("no function `{name}`; there is {}", names.join(", ")))
        })?;
        return function(&arguments).map_err(|message| error(format!("{name}: {message}")));
    }
    if !rest.is_empty() || piped.is_some() {
        return Err(error("only a function takes arguments".to_owned()));
    }
    operand_value(first, scope, &error)
}

fn operand_value(
    operand: &Operand,
    scope: Scope,
    error: &impl Fn(String) -> TemplateError,
) -> Result<Value, TemplateError> {
    match operand {
        Operand::Literal(value) => Ok(value.clone()),
        Operand::Field(names) => field(scope.dot, names).map_err(error),
        Operand::Root(names) => field(scope.root, names).map_err(error),
        Operand::Group(pipeline, names) => field(&value(pipeline, scope)?, names).map_err(error),
        Operand::Function(name) => {
            let (_, function) = FUNCTIONS
                .iter()
                .find(|(known, _)| known == name)
                .ok_or_else(|| error(format!("no function `{name}`")))?;
            function(&[]).map_err(|message| error(format!("{name}: {message}")))
        }
    }
}

fn field(value: &Value, names: &[String]) -> Result<Value, String> {
    names
        .iter()
        .try_fold(value, |value, name| match value {
            Value::Object(map) => map.get(name).ok_or_else(|| {
                let known: Vec<_> = map.keys().map(|key| format!(".{key}")).collect();
                format!("no field `.{name}`; there is {}", known.join(", "))
            }),
            other => Err(format!("no field `.{name}` in {}", kind(other))),
        })
        .cloned()
}

/// The functions that a template can call: Docker's, and those of Go that make sense here.
pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("and", |a| Ok(choose(a, false))),
    ("eq", |a| compare(a).map(Value::Bool)),
    ("index", index),
    ("join", |a| match a {
        [Value::Array(items), Value::String(by)] => {
            Ok(items.iter().map(shown).collect::<Vec<_>>().join(by).into())
        }
        _ => Err("expected a list and a string".to_owned()),
    }),
    ("json", |a| one(a).map(|value| value.to_string().into())),
    ("len", |a| match one(a)? {
        Value::String(text) => Ok(text.len().into()),
        Value::Array(items) => Ok(items.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        other => Err(format!("{} has no length", kind(other))),
    }),
    ("lower", |a| string(a).map(|text| text.to_lowercase().into())),
    ("ne", |a| compare(a).map(|same| Value::Bool(!same))),
    ("not", |a| one(a).map(|value| Value::Bool(!truth(value)))),
    ("or", |a| Ok(choose(a, true))),
    ("print", |a| Ok(a.iter().map(shown).collect::<String>().into())),
    ("printf", printf),
    ("println", |a| Ok((a.iter().map(shown).collect::<Vec<_>>().join(" ") + "\n").into())),
    ("split", |a| match a {
        [Value::String(text), Value::String(by)] => Ok(text.split(by.as_str()).collect()),
        _ => Err("expected two strings".to_owned()),
    }),
    ("title", |a| {
        let text = string(a)?;
        let mut chars = text.chars();
        let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
        Ok((first + chars.as_str()).into())
    }),
    ("truncate", |a| match a {
        [Value::String(text), Value::Number(length)] => {
            let length = usize::try_from(length.as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
            Ok(text.chars().take(length).collect::<String>().into())
        }
        _ => Err("expected a string and a number".to_owned()),
    }),
    ("upper", |a| string(a).map(|text| text.to_uppercase().into())),
];

fn one(arguments: &[Value]) -> Result<&Value, String> {
    match arguments {
        [value] => Ok(value),
        _ => Err(format!("expected 1 argument, found {}", arguments.len())),
    }
}

fn string(arguments: &[Value]) -> Result<&str, String> {
    let value = one(arguments)?;
    value.as_str().ok_or_else(|| format!("expected a string, found {}", kind(value)))
}

/// Go's `and` (`stop` false) and `or`: the first argument whose truth is `stop`, else the last.
fn choose(arguments: &[Value], stop: bool) -> Value {
    let found = arguments.iter().find(|value| truth(value) == stop);
    found.or(arguments.last()).cloned().unwrap_or_default()
}

/// Whether the first equals any of the rest, as Go's `eq`.
fn compare(arguments: &[Value]) -> Result<bool, String> {
    match arguments {
        [first, rest @ ..] if !rest.is_empty() => Ok(rest.contains(first)),
        _ => Err("expected at least 2 arguments".to_owned()),
    }
}

fn index(arguments: &[Value]) -> Result<Value, String> {
    let (first, keys) = arguments.split_first().ok_or("expected a list or map")?;
    keys.iter().try_fold(first.clone(), |value, key| match (&value, key) {
        // As in Go, a key that a map does not have gives the empty value.
        (Value::Object(map), Value::String(key)) => {
            Ok(map.get(key).cloned().unwrap_or_else(|| String::new().into()))
        }
        (Value::Array(items), Value::Number(n)) => n
            .as_u64()
            .and_then(|n| items.get(usize::try_from(n).ok()?))
            .cloned()
            .ok_or_else(|| format!("no element {n} in a list of {}", items.len())),
        (other, key) => Err(format!("no {} in {}", shown(key), kind(other))),
    })
}

fn printf(arguments: &[Value]) -> Result<Value, String> {
    let [Value::String(format), values @ ..] = arguments else {
        return Err("expected a format".to_owned());
    };
    let mut values = values.iter();
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let verb = chars.next().ok_or("`%` at the end of the format")?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| format!("no argument for `%{verb}`"))?;
        match verb {
            's' | 'v' | 'd' => out.push_str(&shown(value)),
            'q' => out.push_str(&Value::String(shown(value)).to_string()),
            _ => return Err(format!("no verb `%{verb}`; there is %s, %v, %d, %q, %%")),
        }
    }
    Ok(out.into())
}

fn elements(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => Ok(items),
        Value::Object(map) => Ok(map.into_iter().map(|(_, value)| value).collect()),
        other => Err(format!("cannot range over {}", kind(&other))),
    }
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// As Go's `%v` prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().map(|(k, v)| format!("{k}:{}", shown(v))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
