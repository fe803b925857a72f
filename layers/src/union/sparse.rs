//! Copying a file's content as cheaply as the host can: by sharing its blocks, or within the kernel, and
//! without filling its holes.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

/// Copies the first `length` bytes of `from`, or all if it is shorter, into `to`, which is empty.
pub(super) fn copy(from: &File, to: &File, length: u64) -> io::Result<()> {
    let size = from.metadata()?.len();
    if length >= size && share(from, to) {
        return Ok(());
    }
    let end = size.min(length);
    let mut at = 0;
    while let Some((start, stop)) = next_data(from, at, end)? {
        (&mut &*from).seek(SeekFrom::Start(start))?;
        (&mut &*to).seek(SeekFrom::Start(start))?;
        // copy_file_range(2), where there is such a thing.
        let copied = io::copy(&mut from.take(stop - start), &mut &*to)?;
        if copied < stop - start {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at = stop;
    }
    to.set_len(end)
}

/// Lets `to` share the blocks of `from` (`ioctl_ficlone(2)`), where both are on a file system that can.
#[cfg(target_os = "linux")]
fn share(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn share(_: &File, _: &File) -> bool {
    false
}

/// Where, from `at` on and before `end`, bytes are that were written, in place of holes (lseek(2)).
#[cfg(target_os = "linux")]
fn next_data(file: &File, at: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    use rustix::{
        fs::{SeekFrom as From, seek},
        io::Errno,
    };
    if at >= end {
        return Ok(None);
    }
    let start = match seek(file, From::Data(at)) {
        Ok(start) => start,
        // Only a hole is left.
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((at, end))),
        Err(errno) => return Err(errno.into()),
    };
    if start >= end {
        return Ok(None);
    }
    Ok(Some((start, seek(file, From::Hole(start))?.min(end))))
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "asking the host can fail where it can be asked")]
fn next_data(_: &File, at: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    Ok((at < end).then_some((at, end)))
}
