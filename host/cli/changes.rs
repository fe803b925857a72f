//! `import --change`: lines of a Dockerfile that change what an image says of itself.

use oci_spec::image::Config;
use serde_json::{Value, json};

/// The config that these lines make of an empty one.
pub(crate) fn apply(lines: &[String]) -> Result<Config, String> {
    let mut config = json!({});
    for line in lines {
        let (word, rest) = line.trim().split_once([' ', '\t']).unwrap_or((line.trim(), ""));
        change(&mut config, &word.to_ascii_uppercase(), rest.trim())
            .map_err(|why| format!("invalid change `{line}`: {why}"))?;
    }
    serde_json::from_value(config).map_err(|error| error.to_string())
}

fn change(config: &mut Value, word: &str, rest: &str) -> Result<(), String> {
    if rest.is_empty() {
        return Err("it says nothing".to_owned());
    }
    match word {
        "CMD" => config["Cmd"] = json!(command(rest)?),
        "ENTRYPOINT" => config["Entrypoint"] = json!(command(rest)?),
        "ENV" => {
            let known = config["Env"].take();
            let mut variables: Vec<Value> = known.as_array().cloned().unwrap_or_default();
            variables
                .extend(pairs(rest)?.iter().map(|(name, value)| json!(format!("{name}={value}"))));
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
        "STOPSIGNAL" => config["StopSignal"] = json!(rest),
        "USER" => config["User"] = json!(rest),
        "WORKDIR" => config["WorkingDir"] = json!(rest),
        _ => {
            return Err(
                "expected CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER or WORKDIR"
                    .to_owned(),
            );
        }
    }
    Ok(())
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
        apply(&lines).map(|config| serde_json::to_value(config).unwrap())
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
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for line in ["", "RUN true", "CMD", "CMD [1]", "ENV A", "ENV A=\"", "ENV A=1 B"] {
            assert!(changed(&[line]).is_err(), "{line}");
        }
    }
}
