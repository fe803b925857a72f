//! Names of the portable encoding: any guest name as a name that every host keeps apart.
//!
//! A guest name is bytes. Hosts fold case, reserve words, forbid characters or demand Unicode; so
//! only `[a-z0-9._-]` stand for themselves and every other byte is written `%XX`, in upper case.
//! What would be too long is written as a hash, with the real name in a sibling file.

use sha2::{Digest as _, Sha256};

use super::Kind;

/// Longer encoded names become a hash. Hosts allow 255 bytes or UTF-16 units.
const LONGEST: usize = 200;

/// The name of the file that makes its directory opaque.
pub(super) const OPAQUE: &str = "%o";

/// An encoded name, and the sibling that keeps the real one when it had to be hashed.
pub(crate) struct Encoded {
    pub(crate) name: String,
    pub(crate) long_name_file: Option<String>,
}

/// What a host name of the portable encoding stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// A regular file or a directory.
    Plain(Vec<u8>),
    Symlink(Vec<u8>),
    Whiteout(Vec<u8>),
    Special(Vec<u8>),
    /// As one of the above (given by its prefix), with the real name in the sibling of this name.
    Hashed {
        prefix: &'static str,
        long_name_file: String,
    },
    /// A marker, a sibling with a long name, or a name that this encoding never makes.
    Nothing,
}

impl Decoded {
    /// What the real name is, once it was read, of an entry with this prefix.
    pub(super) fn with_prefix(prefix: &str, name: Vec<u8>) -> Self {
        match prefix {
            "%l" => Self::Symlink(name),
            "%w" => Self::Whiteout(name),
            "%s" => Self::Special(name),
            _ => Self::Plain(name),
        }
    }
}

fn prefix(kind: Kind) -> &'static str {
    match kind {
        Kind::File | Kind::Directory => "",
        Kind::Symlink => "%l",
        Kind::Whiteout => "%w",
        Kind::Fifo | Kind::CharDevice | Kind::BlockDevice | Kind::Socket => "%s",
    }
}

/// The host name of `name`.
pub(crate) fn encode(name: &[u8], kind: Kind) -> Encoded {
    let prefix = prefix(kind);
    let body = escape(name);
    if body.len() <= LONGEST {
        return Encoded { name: format!("{prefix}{body}"), long_name_file: None };
    }
    let hash = crate::Digest::from_bytes(Sha256::digest(name).into()).hex();
    Encoded { name: format!("{prefix}%h{hash}"), long_name_file: Some(format!("%n{hash}")) }
}

fn escape(name: &[u8]) -> String {
    use std::fmt::Write as _;
    let reserved = is_reserved(name);
    let mut body = String::with_capacity(name.len());
    for (index, &byte) in name.iter().enumerate() {
        let plain = matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let last_dot = byte == b'.' && index + 1 == name.len();
        if plain && !last_dot && !(reserved && index == 0) {
            body.push(char::from(byte));
        } else {
            write!(body, "%{byte:02X}").expect("writing to a String does not fail");
        }
    }
    body
}

/// Whether Windows takes this name, with any extension, for a device
/// (Microsoft, "Naming Files, Paths, and Namespaces"). Upper case is escaped anyway.
fn is_reserved(name: &[u8]) -> bool {
    let stem = name.split(|&byte| byte == b'.').next().unwrap_or_default();
    match stem {
        b"con" | b"prn" | b"aux" | b"nul" => true,
        [b'c', b'o', b'm', digit] | [b'l', b'p', b't', digit] => digit.is_ascii_digit(),
        _ => false,
    }
}

/// What the host name stands for.
pub(crate) fn decode(host: &str) -> Decoded {
    let (prefix, body) = ["%l", "%w", "%s"]
        .into_iter()
        .find_map(|p| Some((p, host.strip_prefix(p)?)))
        .unwrap_or(("", host));
    if let Some(hash) = body.strip_prefix("%h") {
        return Decoded::Hashed { prefix, long_name_file: format!("%n{hash}") };
    }
    match unescape(body) {
        Some(name) if is_name(&name) => Decoded::with_prefix(prefix, name),
        _ => Decoded::Nothing,
    }
}

fn unescape(body: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut name = Vec::with_capacity(body.len());
    let mut rest = body.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let [high, low, tail @ ..] = tail else { return None };
            name.push(digit(*high)? << 4 | digit(*low)?);
            rest = tail;
        } else {
            name.push(*first);
            rest = tail;
        }
    }
    Some(name)
}

/// Whether this is one component of a path: not empty, `.` or `..`, without `/` or NUL.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_names_stay_readable() {
        assert_eq!(encode(b"python3.12-config_a", Kind::File).name, "python3.12-config_a");
        assert_eq!(encode(b"lib", Kind::Symlink).name, "%llib");
        assert_eq!(encode(b"gone", Kind::Whiteout).name, "%wgone");
    }

    #[test]
    fn names_that_differ_in_case_differ_without_case() {
        let encoded = |name: &str| encode(name.as_bytes(), Kind::File).name.to_ascii_lowercase();
        assert_ne!(encoded("Makefile"), encoded("makefile"));
        assert_ne!(encoded("K"), encoded("k"));
        assert_ne!(encoded("\u{212a}"), encoded("k"), "the Kelvin sign");
        assert_ne!(encoded("é"), encoded("e\u{301}"), "composed and decomposed");
    }

    #[test]
    fn names_that_windows_reserves_or_cuts_are_escaped() {
        for (name, host) in [
            ("con", "%63on"),
            ("nul.txt", "%6Eul.txt"),
            ("com1", "%63om1"),
            ("com", "com"),
            ("console", "console"),
            ("end.", "end%2E"),
            ("a b", "a%20b"),
            ("a:b", "a%3Ab"),
            ("progra~1", "progra%7E1"),
        ] {
            assert_eq!(encode(name.as_bytes(), Kind::File).name, host);
        }
    }

    #[test]
    fn long_names_are_hashed_and_kept_beside() {
        let encoded = encode(&[b'A'; 255], Kind::Symlink);
        assert!(encoded.name.len() < LONGEST);
        let long_name_file = encoded.long_name_file.unwrap();
        assert_eq!(
            decode(&encoded.name),
            Decoded::Hashed { prefix: "%l", long_name_file: long_name_file.clone() }
        );
        assert_eq!(decode(&long_name_file), Decoded::Nothing);
    }

    #[test]
    fn markers_and_foreign_names_stand_for_nothing() {
        for host in [OPAQUE, "%", "%2", "%2F", "%00", "%2E%2E", "%w", ""] {
            assert_eq!(decode(host), Decoded::Nothing, "{host}");
        }
    }

    proptest! {
        #[test]
        fn any_name_comes_back_from_a_host_that_folds_case(name in prop::collection::vec(1_u8.., 1..60)) {
            prop_assume!(is_name(&name));
            for kind in [Kind::File, Kind::Symlink, Kind::Whiteout, Kind::Fifo] {
                let host = encode(&name, kind).name;
                prop_assert!(host.is_ascii() && !host.ends_with(['.', ' ']));
                prop_assert_eq!(decode(&host), Decoded::with_prefix(prefix(kind), name.clone()));
                prop_assert_eq!(decode(&host.to_ascii_lowercase()), decode(&host));
            }
        }
    }
}
