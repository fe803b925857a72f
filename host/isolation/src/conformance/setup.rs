//! Bundles, sandboxes and what they print.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    io::{self, BufRead as _, BufReader, PipeReader, PipeWriter, Read, Write, pipe},
    path::Path,
    sync::mpsc,
    thread,
    time::SystemTime,
};

use silo_layers::Snapshot;
use tempfile::TempDir;

use super::{Failed, Guest, Harness};
use crate::{Bundle, Exit, Limits, Network, Root, Sandbox, Security, Stdio};

/// Makes bundles for one case in a directory of its own, and looks afterwards whether the layer is
/// as it was.
pub struct Setup<'a> {
    pub(super) harness: &'a dyn Harness,
    pub(super) scratch: TempDir,
    made: Cell<u32>,
}

/// How a guest ended and what it printed.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) exit: Exit,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// A guest that was started, with the suite's ends of its pipes.
pub(super) struct Running {
    pub(super) sandbox: Box<dyn Sandbox>,
    stdout: PipeReader,
    stderr: PipeReader,
}

/// A guest that was started and copies lines.
pub(super) struct Copying {
    pub(super) sandbox: Box<dyn Sandbox>,
    pub(super) input: PipeWriter,
    pub(super) output: mpsc::Receiver<String>,
}

impl<'a> Setup<'a> {
    pub(super) fn new(harness: &'a dyn Harness) -> Self {
        let scratch = tempfile::Builder::new().prefix("silo-conformance-").tempdir();
        Self { harness, scratch: scratch.expect("a temporary directory"), made: Cell::new(0) }
    }

    /// A bundle of `guest` on a fresh snapshot.
    pub(super) fn bundle(&self, guest: &Guest) -> Result<Bundle, Failed> {
        let number = self.made.get();
        self.made.set(number + 1);
        let directory = self.scratch.path().join(number.to_string());
        let [upper, work, state_dir] = ["upper", "work", "state"].map(|name| directory.join(name));
        for directory in [&upper, &work, &state_dir] {
            fs::create_dir_all(directory)?;
        }
        let platforms = self.harness.backend().platforms();
        let platform = platforms.into_iter().next().ok_or("the backend runs no platform")?;
        let id = format!("{:08x}{number:056x}", std::process::id());
        Ok(Bundle {
            hostname: id[..12].to_owned(),
            id,
            platform,
            root: Root {
                snapshot: Snapshot { lowers: vec![self.harness.lower()], upper, work },
                readonly: false,
                volatile: false,
            },
            process: self.harness.process(guest),
            mounts: Vec::new(),
            network: Network::None,
            access: crate::NetworkAccess::default(),
            components: Vec::new(),
            limits: Limits::default(),
            security: Security::default(),
            sysctls: BTreeMap::new(),
            init: false,
            state_dir,
        })
    }

    /// Admits, creates and starts.
    pub(super) fn start(&self, bundle: &Bundle) -> Result<Running, Failed> {
        let running = self.create(bundle, b"")?;
        running.sandbox.start()?;
        Ok(running)
    }

    pub(super) fn create(&self, bundle: &Bundle, input: &'static [u8]) -> Result<Running, Failed> {
        let backend = self.harness.backend();
        if let Some(refusal) = backend.admit(bundle).first() {
            return Err(format!("refuses {}: {}", refusal.what, refusal.why).into());
        }
        let (stdin, mut stdin_writer) = pipe()?;
        let (stdout, stdout_writer) = pipe()?;
        let (stderr, stderr_writer) = pipe()?;
        let stdio =
            Stdio::Pipes { stdin: Some(stdin), stdout: stdout_writer, stderr: stderr_writer };
        let sandbox = backend.create(bundle, stdio)?;
        // The guest may never read: a thread writes, and the pipe's end lets it go.
        thread::spawn(move || stdin_writer.write_all(input));
        Ok(Running { sandbox, stdout, stderr })
    }

    /// Starts a guest that copies what it is given until that ends.
    pub(super) fn start_copying(&self) -> Result<Copying, Failed> {
        let (stdin, input) = pipe()?;
        let (stdout, stdout_writer) = pipe()?;
        let (_, stderr) = pipe()?;
        let stdio = Stdio::Pipes { stdin: Some(stdin), stdout: stdout_writer, stderr };
        let sandbox = self.harness.backend().create(&self.bundle(&Guest::Cat)?, stdio)?;
        sandbox.start()?;
        let (sender, output) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                // Nobody may listen any more.
                let _ = sender.send(std::mem::take(&mut line));
            }
        });
        Ok(Copying { sandbox, input, output })
    }

    /// From bundle to deleted sandbox.
    pub(super) fn run(&self, bundle: &Bundle) -> Result<Ran, Failed> {
        self.start(bundle)?.finish()
    }

    pub(super) fn run_with_input(
        &self,
        guest: &Guest,
        input: &'static [u8],
    ) -> Result<Ran, Failed> {
        let running = self.create(&self.bundle(guest)?, input)?;
        running.sandbox.start()?;
        running.finish()
    }

    /// The layer's files with size and time of change, to be compared.
    pub(super) fn layer(&self) -> Result<BTreeMap<String, (u64, SystemTime)>, Failed> {
        fn walk(at: &Path, found: &mut BTreeMap<String, (u64, SystemTime)>) -> io::Result<()> {
            for entry in fs::read_dir(at)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                if metadata.is_dir() {
                    walk(&entry.path(), found)?;
                }
                let path = entry.path().display().to_string();
                found.insert(path, (metadata.len(), metadata.modified()?));
            }
            Ok(())
        }
        let mut found = BTreeMap::new();
        walk(&self.harness.lower().path, &mut found)?;
        Ok(found)
    }
}

impl Running {
    /// Waits for the guest's line `ready`.
    pub(super) fn ready(&mut self) -> Result<(), Failed> {
        let mut line = [0; 6];
        self.stdout.read_exact(&mut line)?;
        if &line != b"ready\n" {
            return Err(format!("printed {:?}", String::from_utf8_lossy(&line)).into());
        }
        Ok(())
    }

    /// Waits for the guest's end and deletes the sandbox.
    pub(super) fn finish(self) -> Result<Ran, Failed> {
        let Self { sandbox, stdout, stderr } = self;
        let (stdout, stderr) = (read_all(stdout), read_all(stderr));
        let exit = sandbox.wait()?;
        sandbox.delete()?;
        let text =
            |reader: Reader| reader.join().map_err(|_| "a reader panicked")?.map_err(Failed::from);
        Ok(Ran { exit, stdout: text(stdout)?, stderr: text(stderr)? })
    }
}

type Reader = thread::JoinHandle<io::Result<String>>;

fn read_all(mut stream: PipeReader) -> Reader {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    })
}
