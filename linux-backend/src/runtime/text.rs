//! Text and paths as the kernel takes them.

use std::{ffi::CString, os::unix::ffi::OsStrExt as _, path::Path};

use super::{Error, Result};

pub(super) fn c_text(text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text)
        .map_err(|error| Error::config("a text", format!("it holds a NUL byte ({error})")))
}

pub(super) fn c_path(path: &Path) -> Result<CString> {
    c_text(path.as_os_str().as_bytes())
}

/// A path of the container below its root, which is `.` itself.
pub(super) fn relative(path: &Path) -> Result<CString> {
    let clean = super::mounts::clean(path);
    if clean.as_os_str().is_empty() { c_text(".") } else { c_path(&clean) }
}

/// The directory that a path is in, below the root, and its name there.
pub(super) fn split(path: &Path) -> Result<(CString, CString)> {
    let name = path.file_name().unwrap_or_default();
    Ok((relative(path.parent().unwrap_or(path))?, c_text(name.as_bytes())?))
}
