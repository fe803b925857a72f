//! The parsers of foreign text, for `layers/fuzz`. Each function takes any bytes, and a panic, a hang or
//! a failed assertion in it is a fault.

use crate::{
    expand::Variables,
    ignore::Ignore,
    parse::{self, Instruction, Position, Source, Text},
};

/// Reads a Dockerfile, and what it says once more.
pub fn read_dockerfile(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let source = |text: String| Source { name: "Dockerfile".to_owned(), text };
    match parse::parse(source(text.to_owned())) {
        Err((source, fault)) => drop(source.excerpt(fault.at)),
        Ok(file) => {
            let mut whole = format!("# escape={}\n", file.escape);
            file.arguments.iter().for_each(|statement| whole.push_str(&statement.whole()));
            for stage in &file.stages {
                whole.extend(["FROM ", &stage.from.to_string(), "\n"]);
                stage.statements.iter().for_each(|statement| whole.push_str(&statement.whole()));
            }
            let again = parse::parse(source(whole)).map_err(|(_, fault)| fault);
            let again = again.unwrap_or_else(|fault| panic!("what was read is refused: {fault:?}"));
            assert_eq!(file.arguments, again.arguments);
            for (one, other) in file.stages.iter().zip(&again.stages) {
                assert_eq!((&one.from, &one.statements), (&other.from, &other.statements));
                one.statements.iter().for_each(|statement| expand(&statement.instruction));
            }
        }
    }
}

fn expand(instruction: &Instruction) {
    let value = |name: &str| (name.len() < 3).then(|| name.to_owned());
    let text = Text::new(instruction.to_string(), Position { line: 1, column: 1 });
    for escape in ['\\', '`'] {
        let variables = Variables { escape, value: &value };
        let _ =
            (variables.expand(&text), variables.expand_words(&text), variables.expand_file(&text));
    }
}

/// Reads a `.dockerignore`, and asks it about its own lines.
pub fn read_ignore(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(ignore) = Ignore::parse(text) else { return };
    for path in text.lines().take(16).filter(|path| path.len() < 256) {
        let _ = (ignore.excludes(path), ignore.may_include_below(path));
    }
}
