//! The WebAssembly program that an image starts.

use silo_layers::{
    Image,
    union::{Follow, OpenOptions, ROOT, UnionFs},
};
use silo_wasi::PROGRAM_MAX;

use crate::failure::{Failure, Result};

/// A program, read.
pub(crate) struct Program {
    /// Where it is in the image.
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

/// The first word of what a container of `image` runs; `None` where the image names none.
pub(crate) fn name(image: &Image) -> Option<String> {
    let config = image.config.config().as_ref()?;
    let first = |list: &Option<Vec<String>>| list.as_ref().and_then(|list| list.first()).cloned();
    first(config.entrypoint()).or_else(|| first(config.cmd()))
}

/// The program that a container of `image`, whose files are `files`, finds by `name`. `None` where
/// there is none, or one that is longer than can be run.
pub(crate) fn find(image: &Image, files: &UnionFs, name: &str) -> Result<Option<Program>> {
    for path in candidates(image, name) {
        let Ok(node) = files.resolve(ROOT, &path, Follow::All) else { continue };
        let Ok(file) = files.open_file(node, OpenOptions::READ) else { continue };
        let failed = |error| Failure::caused(format!("cannot read `{path}` of the image"), error);
        if file.len().map_err(failed)? > PROGRAM_MAX {
            return Ok(None);
        }
        let bytes = file.read_whole(PROGRAM_MAX).map_err(failed)?;
        return Ok(Some(Program { path, bytes }));
    }
    Ok(None)
}

/// Where a program may be, as the wasi backend looks for it.
fn candidates(image: &Image, name: &str) -> Vec<String> {
    let config = image.config.config().as_ref();
    let cwd = config.and_then(|config| config.working_dir().clone()).unwrap_or_default();
    let env = config.and_then(|config| config.env().clone()).unwrap_or_default();
    silo_wasi::candidates(name, &env, &cwd)
}
