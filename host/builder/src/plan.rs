//! Which stages are needed.

use crate::{
    Error, Result,
    parse::{Dockerfile, Instruction, Stage, Statement, Text},
};

/// The stage that is wanted: by name, by number, or the last.
pub(crate) fn target(dockerfile: &Dockerfile, name: Option<&str>) -> Result<usize> {
    let stages = &dockerfile.stages;
    let Some(name) = name else { return Ok(stages.len() - 1) };
    find(stages, name).ok_or_else(|| Error::NoStage {
        name: name.to_owned(),
        stages: stages.iter().filter_map(|stage| stage.from.name.clone()).collect(),
    })
}

/// The stage of this name or number, among these.
pub(crate) fn find(stages: &[Stage], name: &str) -> Option<usize> {
    let lower = name.to_ascii_lowercase();
    let named = stages.iter().rposition(|stage| stage.from.name.as_ref() == Some(&lower));
    named.or_else(|| name.parse().ok().filter(|number| *number < stages.len()))
}

/// The stage whose name a `FROM` says, among those before it. Numbers mean no stage there.
pub(crate) fn named(stages: &[Stage], name: &str) -> Option<usize> {
    let lower = name.to_ascii_lowercase();
    stages.iter().rposition(|stage| stage.from.name.as_ref() == Some(&lower))
}

/// How many instructions are carried out for a stage, those of the stages that it needs among them.
pub(crate) fn count(dockerfile: &Dockerfile, target: usize) -> usize {
    let mut needed = vec![false; dockerfile.stages.len()];
    needed[target] = true;
    let mut count = 0;
    for index in (0..=target).rev().filter(|index| *index <= target) {
        if !needed[index] {
            continue;
        }
        let (before, stage) = (&dockerfile.stages[..index], &dockerfile.stages[index]);
        count += 1 + stage.statements.len();
        let from = named(before, stage.from.image.as_str());
        let copies = stage.statements.iter().filter_map(source);
        for other in copies.filter_map(|name| find(before, name.as_str())).chain(from) {
            needed[other] = true;
        }
    }
    count
}

fn source(statement: &Statement) -> Option<&Text> {
    match &statement.instruction {
        Instruction::Copy(copy) => copy.from.as_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Source, parse};

    fn dockerfile(text: &str) -> Dockerfile {
        parse(Source { name: String::new(), text: text.to_owned() }).unwrap()
    }

    #[test]
    fn stages_that_nothing_needs_do_not_count() {
        let file = dockerfile(
            "FROM a AS base\nRUN 1\nFROM b AS unused\nRUN 2\nRUN 3\nFROM base AS x\nRUN 4\n\
             FROM scratch\nCOPY --from=X / /\nCOPY --from=image / /\n",
        );
        assert_eq!(count(&file, 3), 3 + 2 + 2);
        assert_eq!(count(&file, 1), 3);
        assert_eq!(target(&file, Some("Unused")).unwrap(), 1);
        assert_eq!(target(&file, Some("0")).unwrap(), 0);
        assert_eq!(target(&file, None).unwrap(), 3);
        let error = target(&file, Some("other")).unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("there are base, unused, x"));
    }
}
