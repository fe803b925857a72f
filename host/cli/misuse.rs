//! Command lines that are not understood, and how that is told.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::{ENGINE_FAILED, Failure};

/// Options that Docker has and this program has not, and what there is instead.
const NOT_YET: [(&[&str], &str); 6] = [
    (
        &["-P", "--publish-all", "--expose"],
        "silo publishes those ports of WebAssembly programs that -p names, such as -p 8080:80",
    ),
    (&["--mount"], "silo has -v and --tmpfs for mounts"),
    (&["--restart"], "silo does not restart containers yet"),
    (
        &["--privileged", "--device", "--pid", "--ipc"],
        "silo weakens isolation by --isolation docker, --cap-add, --security-opt and --userns host",
    ),
    (
        &["--add-host", "--dns", "--ip", "--link", "--network-alias"],
        "silo has the networks none and host, and no names of its own in them yet",
    ),
    (&["-l", "--label", "--label-file"], "silo does not keep labels of containers yet"),
];

/// Help and the version go to stdout; a mistake is told on stderr as any other failure.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Where stdout is gone, nobody wanted to know.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        // As Docker, for which no verb is no mistake.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = crate::output::print(&error.to_string());
            ExitCode::SUCCESS
        }
        _ => explain(error).report(),
    }
}

/// A mistake as a failure. Docker's code is 1 for verbs and arguments, 125 for options.
fn explain(error: &clap::Error) -> Failure {
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
        && option.starts_with('-')
    {
        return Failure::new(format!("there is no option `{option}`"))
            .with_hint(instead(option, error))
            .with_code(ENGINE_FAILED);
    }
    let code = match error.kind() {
        ErrorKind::InvalidSubcommand
        | ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::UnknownArgument => 1,
        _ => ENGINE_FAILED,
    };
    let text = error.to_string();
    let text = text.trim_end().trim_end_matches("For more information, try '--help'.").trim_end();
    Failure::usage(text.strip_prefix("error: ").unwrap_or(text))
        .with_hint("--help tells what there is")
        .with_code(code)
}

/// What could be meant, or used in place of an option that there is not.
fn instead(option: &str, error: &clap::Error) -> String {
    let known = NOT_YET.iter().find(|(options, _)| options.contains(&option));
    if let Some((_, hint)) = known {
        return (*hint).to_owned();
    }
    match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(similar)) => format!("there is `{similar}`"),
        _ => "--help tells what there is".to_owned(),
    }
}
