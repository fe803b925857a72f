//! A guest that takes over the process that runs it, where that is apart from the host already: in
//! a container's namespaces, with the files, the limits and the identity of that container.

use std::{
    io::{PipeReader, PipeWriter},
    path::Path,
    sync::Arc,
};

use silo_isolation::{Error, Exit, Process, Result};
use wasmtime::Engine;

use crate::{
    WasiBackend,
    guest::{Control, Guest, Memory, Pipes, Usage},
    network::Net,
    sandbox::{Prepared, Program, link, run},
    vfs::{Vfs, Volume},
};

/// A program that is compiled and waits to be run in this process or a copy of it.
pub struct Resident {
    engine: Engine,
    program: Program,
}

/// Where the standard streams of a [`Resident`] lead.
#[derive(Debug)]
pub struct Streams {
    /// What it reads.
    pub stdin: PipeReader,
    /// What it writes as its output.
    pub stdout: PipeWriter,
    /// What it writes as its errors.
    pub stderr: PipeWriter,
}

impl WasiBackend {
    /// Has the cache hold the code of the program `bytes`, called `name` in messages. This may start
    /// threads, which stay.
    pub fn compile(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.compiler()?.component(name, None, || Ok(bytes.to_vec())).map(drop)
    }

    /// The same program, from the cache alone: no thread is started.
    pub fn resident(&self, name: &str, bytes: &[u8]) -> Result<Resident> {
        let compiler = self.compiler()?;
        let component = compiler.cached(bytes).ok_or_else(|| Error::Unsupported {
            what: format!(
                "the compiled code of {name} cannot be kept below {}",
                self.cache_dir.display()
            ),
        })?;
        let engine = compiler.engine().clone();
        Ok(Resident { program: link(&engine, &component, name, false)?, engine })
    }
}

impl Resident {
    /// Runs the program to its end, with all files of this process as its own. What it may use up is
    /// for whatever limits this process.
    pub fn run(&self, process: &Process, streams: Streams) -> Result<Exit> {
        let Streams { stdin, stdout, stderr } = streams;
        let root = Path::new("/");
        let volume = Volume::open(root).map_err(Error::file("open", root))?;
        let vfs = Arc::new(Vfs::new(Box::new(volume)));
        let (control, usage) = (Arc::<Control>::default(), Arc::<Usage>::default());
        let memory = Memory::new(None, &usage);
        let pipes = Pipes { stdin: Some(stdin), stdout, stderr };
        let guest = Guest::new(process, vfs, pipes, memory, Net::none(), false, &control);
        let prepared = Prepared { program: self.program.clone(), guest, nano_cpus: None };
        Ok(run::run(prepared, &self.engine, &control, &usage))
    }
}
