//! Where archives are written to: a file, which is there when it is whole, or stdout.

use std::{
    fs::{self, File},
    io::{self, BufWriter, IsTerminal as _, Write, stdout},
    path::{Path, PathBuf},
};

use silo_isolation::Signal;

use crate::{
    failure::{Failure, Result},
    signals::{Event, Signals},
};

const BUFFER: usize = 256 << 10;
const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// Has `write` write to the file `path`, or to stdout without one. A file that is there stays as it
/// was until the new one is whole.
pub(crate) fn write(
    path: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let Some(path) = path.filter(|path| *path != Path::new("-")) else {
        if stdout().is_terminal() {
            return Err(Failure::new("an archive cannot be shown on a terminal")
                .with_hint("name a file with -o, or redirect the output"));
        }
        let mut output = BufWriter::with_capacity(BUFFER, stdout().lock());
        write(&mut output)?;
        return output.flush().map_err(|source| Failure::caused("cannot write to stdout", source));
    };
    // A pipe or a device is written as it stands.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let file = File::options().write(true).open(path).map_err(failed("open", path))?;
        return fill(file, path, write).map(drop);
    }
    let signals =
        Signals::catch().map_err(|source| Failure::caused("cannot catch signals", source))?;
    let unfinished = Unfinished(beside(path));
    let file = File::create(&unfinished.0).map_err(failed("create", path))?;
    let file = fill(UntilSignalled { file, signals }, path, write)?.file;
    file.sync_all().map_err(failed("write", path))?;
    drop(file);
    fs::rename(&unfinished.0, path).map_err(failed("create", path))
}

fn fill<W: Write>(
    file: W,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<W> {
    let mut output = BufWriter::with_capacity(BUFFER, file);
    write(&mut output)?;
    output.into_inner().map_err(|error| failed("write", path)(error.into_error()))
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.part", std::process::id()))
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    move |source| Failure::caused(format!("cannot {verb} {}", path.display()), source)
}

/// A file whose writing ends with a signal that would end this program, so that nothing is left of it.
struct UntilSignalled {
    file: File,
    signals: Signals,
}

impl Write for UntilSignalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for event in self.signals.pending() {
            match event {
                Event::Signal(signal) if ENDING.contains(&signal) => {
                    return Err(io::Error::other(format!("interrupted by {signal}")));
                }
                _ => {}
            }
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Gone when it is dropped before it got its name.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
