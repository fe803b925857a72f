//! `silo supervise ROOT ID`: the process beside each running container. Not for people.

use std::{env, ffi::OsString, path::PathBuf, process::ExitCode};

use crate::{context::Context, failure::ENGINE_FAILED};

/// The verb's name.
pub(crate) const SUPERVISE: &str = "supervise";

/// A container to supervise.
pub(crate) struct Supervise {
    root: PathBuf,
    id: String,
}

impl Supervise {
    /// Reads this process's command line, where it is this verb's. Every container waits for
    /// it, and the definition of all other verbs takes longer to build than all the rest.
    pub(crate) fn from_args() -> Option<Self> {
        let args: Vec<OsString> = env::args_os().skip(1).take(4).collect();
        let [verb, root, id] = args.as_slice() else { return None };
        (verb == SUPERVISE).then_some(())?;
        Some(Self { root: root.into(), id: id.to_str()?.to_owned() })
    }

    pub(crate) fn run(self) -> ExitCode {
        // The one who started it is told of a failure; there is nobody else.
        let done = Context::new(Some(self.root)).ok().and_then(|context| {
            silo_engine::supervise(context.root(), &self.id, &context.backends()).ok()
        });
        done.map_or(ExitCode::from(ENGINE_FAILED), |()| ExitCode::SUCCESS)
    }
}
