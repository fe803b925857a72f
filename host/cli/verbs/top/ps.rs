//! What the host's `ps` tells of some processes.

use std::process::{Command, Output};

use crate::{
    failure::{Failure, Result},
    output::visible,
};

/// The heading and the rows that `ps OPTIONS` prints of these processes.
pub(super) fn rows(options: &[String], pids: &[u32]) -> Result<Vec<Vec<String>>> {
    let text: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let only = format!("-q{}", text.join(","));
    let mut printed = run(options, Some(only))?;
    if !printed.status.success() {
        // Some options go with no list of processes, and some programs called ps know none.
        printed = run(options, None)?;
    }
    if !printed.status.success() {
        let why = String::from_utf8_lossy(&printed.stderr);
        return Err(Failure::new(format!("ps: {}", why.lines().next().unwrap_or("it failed"))));
    }
    select(&String::from_utf8_lossy(&printed.stdout), &text)
}

fn run(options: &[String], more: Option<String>) -> Result<Output> {
    let output = Command::new("ps").args(options).args(more).output();
    output.map_err(|source| Failure::caused("cannot run the host's ps", source))
}

/// The heading, and the lines about these processes.
fn select(printed: &str, pids: &[String]) -> Result<Vec<Vec<String>>> {
    let mut lines = printed.lines();
    let heading: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let column = heading.iter().position(|&name| name == "PID").ok_or_else(|| {
        Failure::new("couldn't find PID field in ps output")
            .with_hint("`silo top CONTAINER -o pid,args`")
    })?;
    let mut rows = vec![heading.iter().map(|&name| name.to_owned()).collect()];
    let mut is_theirs = false;
    for line in lines {
        let row = cells(line, heading.len());
        // Lines about threads come after that about their process, with no number.
        is_theirs = match row.get(column).map(String::as_str) {
            Some("-") => is_theirs,
            Some(pid) => pids.iter().any(|theirs| theirs == pid),
            None => false,
        };
        if is_theirs {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The words of a line in so many cells, the last of which holds the rest.
fn cells(line: &str, count: usize) -> Vec<String> {
    let mut cells: Vec<String> = Vec::with_capacity(count);
    for word in line.split_whitespace().map(visible) {
        let is_full = cells.len() == count;
        match cells.last_mut() {
            Some(last) if is_full => {
                last.push(' ');
                last.push_str(&word);
            }
            _ => cells.push(word),
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_the_processes_and_their_threads_are_selected() {
        let printed =
            "USER   PID CMD\nroot     1 init\nme      12 sleep 1000  -x\n  -      - -\nme 121 sh";
        let rows = select(printed, &["12".to_owned()]).unwrap();
        let expected =
            [vec!["USER", "PID", "CMD"], vec!["me", "12", "sleep 1000 -x"], vec!["-", "-", "-"]];
        assert_eq!(rows, expected);
        assert!(select("USER CMD\nroot init", &[]).is_err());
        assert!(select("", &[]).is_err());
    }
}
