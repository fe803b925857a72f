//! What an image says of itself, while it is being built.

use serde_json::{Map, Value, json};

use crate::parse::{Command, Healthcheck};

/// The member `config` of an image's config.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config(Map<String, Value>);

impl Config {
    pub(crate) fn new(value: &Value) -> Self {
        Self(value.as_object().cloned().unwrap_or_default())
    }

    pub(crate) fn value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The strings of a list.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let list = self.0.get(name).and_then(Value::as_array).map(Vec::as_slice);
        list.unwrap_or_default().iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The value of an environment variable.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let pairs = self.0.get("Env")?.as_array()?.iter().filter_map(Value::as_str);
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(known, value)| (known == name).then(|| value.to_owned()))
    }

    /// Sets an environment variable; one that is known keeps its place.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        let mut pairs = self.list("Env");
        let pair = format!("{name}={value}");
        match pairs.iter_mut().find(|pair| pair.split_once('=').is_some_and(|(n, _)| n == name)) {
            Some(known) => *known = pair,
            None => pairs.push(pair),
        }
        self.set("Env", json!(pairs));
    }

    /// Sets a member of a map.
    pub(crate) fn set_in(&mut self, map: &str, name: &str, value: Value) {
        let members = self.0.entry(map).or_insert_with(|| json!({}));
        if !members.is_object() {
            *members = json!({});
        }
        members[name] = value;
    }

    /// Adds a string to a list.
    pub(crate) fn push(&mut self, name: &str, text: &str) {
        let mut list = self.list(name);
        list.push(text.to_owned());
        self.set(name, json!(list));
    }
}

/// What a command is, as a list: that in shell form is the shell's.
pub(crate) fn arguments(command: &Command, shell: &[String]) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(line) => [shell, &[line.to_string()]].concat(),
    }
}

pub(crate) fn healthcheck(check: Option<&Healthcheck>) -> Value {
    let Some(Healthcheck { times, retries, command }) = check else {
        return json!({ "Test": ["NONE"] });
    };
    let test = match command {
        Command::Shell(line) => vec!["CMD-SHELL".to_owned(), line.to_string()],
        Command::Exec(words) => [&["CMD".to_owned()], words.as_slice()].concat(),
    };
    let mut value = json!({ "Test": test });
    for (name, _, nanos) in times {
        let member = match *name {
            "interval" => "Interval",
            "timeout" => "Timeout",
            "start-period" => "StartPeriod",
            _ => "StartInterval",
        };
        value[member] = json!(nanos);
    }
    if let Some(retries) = retries {
        value["Retries"] = json!(retries);
    }
    value
}
