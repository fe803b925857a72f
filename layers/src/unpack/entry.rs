//! What an entry's header and pax records say about it.

use std::time::{Duration, SystemTime};

use super::path::refused;
use crate::{
    error::Result,
    tarball::{Entry, number},
    tree::{Attributes, Special},
};

/// An id that no user or group has: it tells chown(2) to change nothing.
const NOBODY_AT_ALL: u32 = u32::MAX;

/// Mode, owner, time and extended attributes of an entry.
pub(crate) fn attributes(entry: &Entry) -> Result<Attributes> {
    let refuse = |reason| refused(&entry.path, reason);
    let header = entry.header.as_old();
    let id = |key: &[u8], field: &[u8]| {
        let in_records = entry.records.number(key).ok().flatten().map(i128::from);
        in_records
            .or_else(|| number(field))
            .and_then(|id| u32::try_from(id).ok())
            .filter(|id| *id != NOBODY_AT_ALL)
            .ok_or_else(|| refuse("its owner is no 32-bit number"))
    };
    let mode = number(&header.mode).ok_or_else(|| refuse("its mode is unreadable"))?;
    let mode = u32::try_from(mode & 0o7777).map_err(|_| refuse("its mode is unreadable"))?;
    let mtime = match entry.records.last(b"mtime") {
        Some(text) => parse_time(text),
        None => number(&header.mtime).and_then(|time| seconds(i64::try_from(time).ok()?)),
    };
    let mut attributes = Attributes::new(mode, mtime.unwrap_or(SystemTime::UNIX_EPOCH));
    attributes.uid = id(b"uid", &header.uid)?;
    attributes.gid = id(b"gid", &header.gid)?;
    for (key, value) in entry.records.iter() {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            attributes.xattrs.push((name.to_vec(), value.to_vec()));
        }
    }
    Ok(attributes)
}

/// The device that an entry stands for. A header older than POSIX has no numbers.
pub(crate) fn device(entry: &Entry) -> Option<Special> {
    let header = &entry.header;
    let (major, minor) = match (header.as_gnu(), header.as_ustar()) {
        (Some(gnu), _) => (gnu.dev_major, gnu.dev_minor),
        (None, Some(ustar)) => (ustar.dev_major, ustar.dev_minor),
        (None, None) => return None,
    };
    let read = |field: &[u8]| u32::try_from(number(field)?).ok();
    let (major, minor) = (read(&major)?, read(&minor)?);
    match entry.kind() {
        tar::EntryType::Char => Some(Special::Char { major, minor }),
        _ => Some(Special::Block { major, minor }),
    }
}

fn seconds(since: i64) -> Option<SystemTime> {
    let offset = Duration::from_secs(since.unsigned_abs());
    if since < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(offset)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(offset)
    }
}

/// Seconds since 1970 with an optional fraction and sign (POSIX, pax, "pax Extended Header File
/// Times"); `None` for what is out of range.
fn parse_time(text: &[u8]) -> Option<SystemTime> {
    let text = str::from_utf8(text).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let offset = Duration::new(seconds.parse().ok()?, digits.parse().ok()?);
    if negative {
        SystemTime::UNIX_EPOCH.checked_sub(offset)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_signs() {
        let after = |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        assert_eq!(parse_time(b"1"), Some(after(1_000_000_000)));
        assert_eq!(parse_time(b"1.5"), Some(after(1_500_000_000)));
        assert_eq!(parse_time(b"0.1234567891"), Some(after(123_456_789)));
        let before = SystemTime::UNIX_EPOCH - Duration::from_millis(1250);
        assert_eq!(parse_time(b"-1.25"), Some(before));
        assert_eq!(parse_time(b"later"), None);
        assert_eq!(parse_time(b"99999999999999999999999"), None);
    }
}
