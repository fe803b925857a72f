//! Where archives are written to: a file, which is there when it is whole, or stdout.

use std::{
    fs::{self, File},
    io::{BufWriter, IsTerminal as _, Write, stdout},
    path::{Path, PathBuf},
};

use crate::failure::{Failure, Result};

const BUFFER: usize = 256 << 10;

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
    let unfinished = Unfinished(beside(path));
    let file = File::create(&unfinished.0).map_err(failed("create", path))?;
    let file = fill(file, path, write)?;
    file.sync_all().map_err(failed("write", path))?;
    drop(file);
    fs::rename(&unfinished.0, path).map_err(failed("create", path))
}

fn fill(file: File, path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<File> {
    let mut output = BufWriter::with_capacity(BUFFER, file);
    write(&mut output)?;
    output.into_inner().map_err(|error| failed("write", path)(error.into_error()))
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.part", std::process::id()))
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    move |source| Failure::caused(format!("cannot {verb} {}", path.display()), source)
}

/// Gone when it is dropped before it got its name.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
