//! Bundles whose program is WebAssembly: it is run by who runs such, in the container's namespaces.

use std::{
    fs,
    io::Read as _,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use oci_spec::runtime::Spec;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};
use silo_isolation::{DEFAULT_PATH, Process};

use super::{Error, Result, create::load};

/// A program in WebAssembly's binary format.
#[derive(Debug)]
pub struct WebAssembly {
    /// The program.
    pub bytes: Vec<u8>,
    /// What it is started with.
    pub process: Process,
}

const MAGIC: &[u8; 4] = b"\0asm";
/// The largest program that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// The program of a bundle, where it is WebAssembly: by what it begins with, as no kernel runs that. What
/// annotations say must be, is: `run.oci.handler=wasm` (crun), `module.wasm.image/variant=compat`
/// (containerd's and podman's).
pub fn webassembly(bundle: &Path) -> Result<Option<WebAssembly>> {
    let (spec, _) = load(&bundle.join("config.json"))?;
    let (Some(process), Some(root)) = (spec.process(), spec.root()) else { return Ok(None) };
    let process = Process {
        args: process.args().clone().unwrap_or_default(),
        env: process.env().clone().unwrap_or_default(),
        cwd: process.cwd().to_string_lossy().into_owned(),
        ..Process::default()
    };
    let path = bundle.join(root.path());
    let root = fs::File::open(&path).map_err(Error::file("open the root", &path))?;
    match read(root.as_fd(), &process).map_err(Error::step("read the program"))? {
        Some(bytes) => Ok(Some(WebAssembly { bytes, process })),
        None if is_demanded(&spec) => Err(Error::config(
            "annotations",
            "they ask for a WebAssembly program, and process.args[0] is none",
        )),
        None => Ok(None),
    }
}

fn is_demanded(spec: &Spec) -> bool {
    let annotations = spec.annotations().iter().flatten();
    annotations.map(|(key, value)| (key.as_str(), value.as_str())).any(|annotation| {
        matches!(annotation, ("run.oci.handler", "wasm") | ("module.wasm.image/variant", "compat"))
    })
}

fn read(root: BorrowedFd<'_>, process: &Process) -> std::io::Result<Option<Vec<u8>>> {
    let Some(name) = process.args.first() else { return Ok(None) };
    let path = process.env.iter().find_map(|variable| variable.strip_prefix("PATH="));
    let candidates: Vec<String> = match name.split_once('/') {
        Some(("", _)) => vec![name.clone()],
        Some(_) => vec![format!("{}/{name}", process.cwd)],
        None => {
            let directories = path.unwrap_or(DEFAULT_PATH).split(':');
            let directories = directories.chain([process.cwd.as_str(), ""]);
            directories.map(|directory| format!("{directory}/{name}")).collect()
        }
    };
    for candidate in candidates {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = match rustix::fs::openat2(root, candidate, flags, Mode::empty(), resolve) {
            // What it is that cannot be run is told where it is run.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => continue,
            file => fs::File::from(file?),
        };
        if file.metadata()?.is_file() {
            return if_webassembly(file);
        }
    }
    Ok(None)
}

fn if_webassembly(file: fs::File) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut file = file.take(LARGEST);
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut bytes)?;
    if bytes != MAGIC {
        return Ok(None);
    }
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
