//! `silo supervise ROOT ID BACKEND`: the process beside each running container. Not for people.

use std::{
    env,
    ffi::OsString,
    io::{self, PipeReader, PipeWriter},
    path::{Path, PathBuf},
    process::ExitCode,
};

use silo_engine::{Launch, Reap, SupervisorCommand};

use crate::{
    context::Context,
    failure::{ENGINE_FAILED, Failure, Result},
};

/// The verb's name.
const SUPERVISE: &str = "supervise";

/// A container to supervise.
pub(crate) struct Supervise {
    root: PathBuf,
    id: String,
    backend: String,
}

impl Supervise {
    /// Reads this process's command line, where it is this verb's. Every container waits for
    /// it, and the definition of all other verbs takes longer to build than all the rest.
    pub(crate) fn from_args() -> Option<Self> {
        let args: Vec<OsString> = env::args_os().take(6).collect();
        Self::parse(&args)
    }

    fn parse(args: &[OsString]) -> Option<Self> {
        let [_, verb, root, id, backend] = args else { return None };
        (verb == SUPERVISE).then_some(())?;
        let [id, backend] = [id, backend].map(|arg| arg.to_str().map(str::to_owned));
        Some(Self { root: root.into(), id: id?, backend: backend? })
    }

    pub(crate) fn run(self) -> ExitCode {
        ExitCode::from(self.supervise())
    }

    fn supervise(self) -> u8 {
        // Neither the user's directory nor the store's is to be kept from being unmounted.
        let _ = self.root.ancestors().last().map(env::set_current_dir);
        // The one who started it is told of a failure; there is nobody else.
        let done = Context::new(Some(self.root)).ok().and_then(|context| {
            let backends = context.backends();
            silo_engine::supervise(context.root(), &self.id, &self.backend, &backends).ok()
        });
        done.map_or(ENGINE_FAILED, |()| 0)
    }
}

/// Starts this program once more as the supervisor of a container of the store at `root`.
pub(crate) fn launcher(root: &Path) -> Result<Box<dyn Launch>> {
    let program = env::current_exe()
        .map_err(|source| Failure::caused("cannot find the program's own file", source))?;
    let args = vec![OsString::from(SUPERVISE), root.as_os_str().to_owned()];
    Ok(Box::new(Launcher(SupervisorCommand { program, args })))
}

struct Launcher(SupervisorCommand);

impl Launch for Launcher {
    fn launch(
        &self,
        id: &str,
        backend: &str,
        stdin: PipeReader,
        stdout: PipeWriter,
    ) -> io::Result<Reap> {
        #[cfg(target_os = "linux")]
        if let Some(reap) = self.respawn([id, backend], &stdin, &stdout)? {
            return Ok(reap);
        }
        self.0.launch(id, backend, stdin, stdout)
    }
}

#[cfg(target_os = "linux")]
impl Launcher {
    /// A copy of this process, where that does: it is there in a tenth of the time.
    fn respawn(
        &self,
        container: [&str; 2],
        stdin: &PipeReader,
        stdout: &PipeWriter,
    ) -> io::Result<Option<Reap>> {
        use rustix::process::{WaitOptions, waitpid};
        let program = self.0.program.clone().into_os_string();
        let container = container.map(OsString::from);
        let args = [&[program], self.0.args.as_slice(), &container].concat();
        let main =
            |args: &[OsString]| Supervise::parse(args).map_or(ENGINE_FAILED, Supervise::supervise);
        let (stdin, stdout) = (stdin.try_clone()?.into(), stdout.try_clone()?.into());
        let started = silo_linux::respawn(&args, main, stdin, stdout)?;
        Ok(started.map(|pid| -> Reap {
            Box::new(move || {
                // It is nobody else's to wait for.
                let _ = waitpid(Some(pid), WaitOptions::empty());
            })
        }))
    }
}
