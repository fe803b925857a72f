//! `--change`: lines of a Dockerfile that change what an image says of itself.

use serde_json::{Value, json};

/// The help of the option, which several verbs have.
pub(crate) const HELP: &str = "Change what the image says of itself, by lines of a Dockerfile: CMD, ENTRYPOINT, ENV, \
     EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR";

/// The config that these lines make of `config`, the member of that name of an image's config.
pub(crate) fn apply(mut config: Value, lines: &[String]) -> Result<Value, String> {
    for line in lines {
        let (word, rest) = line.trim().split_once([' ', '\t']).unwrap_or((line.trim(), ""));
        change(&mut config, &word.to_ascii_uppercase(), rest.trim())
            .map_err(|why| format!("invalid change `{line}`: {why}"))?;
    }
    Ok(config)
}

fn change(config: &mut Value, word: &str, rest: &str) -> Result<(), String> {
    if rest.is_empty() {
        return Err("it says nothing".to_owned());
    }
    match word {
        "CMD" => config["Cmd"] = json!(command(rest)?),
        "ENTRYPOINT" => config["Entrypoint"] = json!(command(rest)?),
        "ENV" => {
            let mut variables = members(config, "Env");
            for (name, value) in pairs(rest)? {
                let prefix = format!("{name}=");
                let known = |variable: &Value| {
                    variable.as_str().is_some_and(|text| text.starts_with(&prefix))
                };
                let variable = json!(format!("{name}={value}"));
                match variables.iter().position(known) {
                    Some(position) => variables[position] = variable,
                    None => variables.push(variable),
                }
            }
            config["Env"] = Value::Array(variables);
        }
        "LABEL" => {
            for (name, value) in pairs(rest)? {
                config["Labels"][name] = json!(value);
            }
        }
        "EXPOSE" => {
            for port in words(rest)? {
                let port = if port.contains('/') { port } else { format!("{port}/tcp") };
                config["ExposedPorts"][port] = json!({});
            }
        }
        "VOLUME" => {
            let paths = if rest.starts_with('[') { command(rest)? } else { words(rest)? };
            for path in paths {
                config["Volumes"][path] = json!({});
            }
        }
        "ONBUILD" => {
            let mut triggers = members(config, "OnBuild");
            triggers.push(json!(rest));
            config["OnBuild"] = Value::Array(triggers);
        }
        "STOPSIGNAL" => config["StopSignal"] = json!(rest),
        "USER" => config["User"] = json!(rest),
        "WORKDIR" => config["WorkingDir"] = json!(rest),
        _ => {
            return Err(
                "expected CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or \
                 WORKDIR"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

/// The members of a list of the config, taken out of it.
fn members(config: &mut Value, name: &str) -> Vec<Value> {
    match config[name].take() {
        Value::Array(members) => members,
        _ => Vec::new(),
    }
}

/// A JSON array of strings, else a line for the shell.
fn command(text: &str) -> Result<Vec<String>, String> {
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    Ok(["/bin/sh", "-c", text].map(str::to_owned).into())
}

/// `NAME=value ...`, or `NAME value` as the older form has it.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let words = words(text)?;
    if !words.first().is_some_and(|word| word.contains('=')) {
        let (name, value) =
            text.split_once([' ', '\t']).ok_or("expected NAME=VALUE or NAME VALUE")?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("expected NAME=VALUE, found `{word}`")),
    };
    words.into_iter().map(pair).collect()
}

/// Words, with quotes and backslashes as the shell has them.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), letter) if letter == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(letters.next()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> Result<Value, String> {
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        apply(json!({}), &lines)
    }

    #[test]
    fn lines_of_a_dockerfile_change_the_config() {
        let config = changed(&[
            r#"CMD ["python3", "-q"]"#,
            "entrypoint exec true",
            r#"ENV A=1 B="two words" C=d\ e"#,
            "ENV OLD form of it",
            "EXPOSE 80 53/udp",
            "LABEL a.b='c d'",
            "WORKDIR /srv",
            "USER 1000:1000",
            "STOPSIGNAL SIGQUIT",
            "VOLUME /a /b",
            r#"VOLUME ["/c d"]"#,
            "ONBUILD RUN make",
        ]);
        let config = config.unwrap();
        assert_eq!(config["Cmd"], json!(["python3", "-q"]));
        assert_eq!(config["Entrypoint"], json!(["/bin/sh", "-c", "exec true"]));
        assert_eq!(config["Env"], json!(["A=1", "B=two words", "C=d e", "OLD=form of it"]));
        assert_eq!(config["ExposedPorts"], json!({ "80/tcp": {}, "53/udp": {} }));
        assert_eq!(config["Labels"], json!({ "a.b": "c d" }));
        assert_eq!(config["WorkingDir"], "/srv");
        assert_eq!(config["User"], "1000:1000");
        assert_eq!(config["StopSignal"], "SIGQUIT");
        assert_eq!(config["Volumes"], json!({ "/a": {}, "/b": {}, "/c d": {} }));
        assert_eq!(config["OnBuild"], json!(["RUN make"]));
    }

    #[test]
    fn a_variable_that_is_known_gets_its_new_value_in_its_place() {
        let known = json!({ "Env": ["A=1", "B=2"], "Cmd": ["x"] });
        let lines = ["ENV A=3 C=4".to_owned()];
        let config = apply(known, &lines).unwrap();
        assert_eq!(config, json!({ "Env": ["A=3", "B=2", "C=4"], "Cmd": ["x"] }));
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for line in ["", "RUN true", "CMD", "CMD [1]", "ENV A", "ENV A=\"", "ENV A=1 B"] {
            assert!(changed(&[line]).is_err(), "{line}");
        }
    }
}
