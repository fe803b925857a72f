//! Containers whose program is WebAssembly: the wasi backend runs it, in the process and the
//! namespaces of the container.

use std::{
    io,
    os::fd::AsFd as _,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::{consts, flag};
use silo_linux::runtime::{WebAssembly, webassembly};
use silo_wasi::{Resident, Streams, WasiBackend};

use crate::{
    context,
    failure::{ENGINE_FAILED, Failure, Result},
};

/// The program of `bundle`, ready to be run in the container's process, where it is WebAssembly.
pub(super) fn of(bundle: &Path) -> Result<Option<Guest>> {
    let Some(program) = webassembly(bundle)? else { return Ok(None) };
    let cache = context::default_root()?.join("cache").join("wasm");
    let backend = WasiBackend::new(cache);
    let name = program.process.args.first().cloned().unwrap_or_default();
    // The compiler's threads would be lost in the container's process, with what they hold.
    let compiled = silo_linux::apart(|| match backend.compile(&name, &program.bytes) {
        Ok(()) => 0,
        Err(error) => {
            let _ = Failure::of(error).report();
            ENGINE_FAILED
        }
    });
    match compiled {
        Ok(0) => {}
        Ok(_) => return Err(Failure::new(format!("cannot compile {name}")).with_code(1)),
        Err(source) => return Err(Failure::caused(format!("cannot compile {name}"), source)),
    }
    let resident = backend.resident(&name, &program.bytes).map_err(Failure::of)?;
    Ok(Some(Guest { program, resident }))
}

/// A program that waits for its container.
pub(super) struct Guest {
    program: WebAssembly,
    resident: Resident,
}

impl Guest {
    /// Runs it in this process, which is the container's; gives its exit code.
    pub(super) fn run(&self) -> u8 {
        self.try_run().unwrap_or_else(|failure| {
            let _ = failure.report();
            ENGINE_FAILED
        })
    }

    fn try_run(&self) -> Result<u8> {
        // The first process of a pid namespace is sent no signal that it does not handle.
        for signal in [consts::SIGTERM, consts::SIGINT, consts::SIGQUIT, consts::SIGHUP] {
            let always = Arc::new(AtomicBool::new(true));
            flag::register_conditional_shutdown(signal, 128 + signal, always)
                .map_err(|source| Failure::caused("cannot catch signals", source))?;
        }
        let exit = self.resident.run(&self.program.process, streams()?).map_err(Failure::of)?;
        if let silo_isolation::ExitStatus::Trapped(message) = &exit.status {
            let _ = Failure::new(message.clone()).report();
        }
        Ok(exit.code())
    }
}

/// The standard streams of this process.
fn streams() -> Result<Streams> {
    let own = || -> io::Result<Streams> {
        Ok(Streams {
            stdin: io::stdin().as_fd().try_clone_to_owned()?.into(),
            stdout: io::stdout().as_fd().try_clone_to_owned()?.into(),
            stderr: io::stderr().as_fd().try_clone_to_owned()?.into(),
        })
    };
    own().map_err(|source| Failure::caused("cannot take the standard streams over", source))
}
