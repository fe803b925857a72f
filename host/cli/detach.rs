//! The keys that leave a guest running.

use std::str::FromStr;

/// A row of keys that detaches when it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

/// Docker's.
pub(crate) const DEFAULT: &str = "ctrl-p,ctrl-q";

impl FromStr for DetachKeys {
    type Err = String;

    /// Keys with commas between them: a character, or `ctrl-` and one of `a-z @ [ \ ] ^ _`.
    fn from_str(text: &str) -> Result<Self, String> {
        // As in Docker, nothing is what is usual.
        let text = if text.is_empty() { DEFAULT } else { text };
        let key = |key: &str| match key.as_bytes() {
            &[key] => Ok(key),
            // A control character has the number of its letter without the bits that make one.
            [b'c', b't', b'r', b'l', b'-', key @ (b'a'..=b'z' | b'@' | b'['..=b'_')] => {
                Ok(key & 0x1f)
            }
            _ => Err(format!(
                "`{key}` is no key: expected a character, or ctrl- and one of a-z, @, [, \\, ], ^, _"
            )),
        };
        text.split(',').map(key).collect::<Result<_, _>>().map(Self)
    }
}

/// What is typed, on its way to a guest.
pub(crate) struct Typed {
    keys: DetachKeys,
    /// The beginning of `keys`, which has been typed and not been passed on.
    held: Vec<u8>,
}

impl Typed {
    pub(crate) const fn new(keys: DetachKeys) -> Self {
        Self { keys, held: Vec::new() }
    }

    /// What of `bytes` and of what was held back is for the guest, and whether the keys were typed.
    /// Nothing after them is anybody's.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.held.push(byte);
            while !self.keys.0.starts_with(&self.held) {
                passed.push(self.held.remove(0));
            }
            if self.held.len() == self.keys.0.len() {
                return (passed, true);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> DetachKeys {
        text.parse().unwrap()
    }

    /// What reaches the guest of pieces, and whether they detach.
    fn pass(text: &str, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut typed = Typed::new(keys(text));
        let mut all = Vec::new();
        for piece in pieces {
            let (passed, detached) = typed.pass(piece);
            all.extend(passed);
            if detached {
                return (all, true);
            }
        }
        (all, false)
    }

    #[test]
    fn keys_are_characters_and_control_characters() {
        assert_eq!(keys(DEFAULT).0, [16, 17]);
        assert_eq!(keys("").0, [16, 17]);
        assert_eq!(keys("a,ctrl-@,ctrl-[,ctrl-_,ctrl-\\,Z").0, [b'a', 0, 27, 31, 28, b'Z']);
        for wrong in ["ab", "ctrl-", "ctrl-1", "a,,b", "ctrl-pq", "é"] {
            assert!(wrong.parse::<DetachKeys>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_that_is_typed_before_the_keys_reaches_the_guest() {
        assert_eq!(pass("x,y", &[b"abc"]), (b"abc".to_vec(), false));
        assert_eq!(pass("x,y", &[b"axyb"]), (b"a".to_vec(), true));
        assert_eq!(pass("x,y", &[b"ax", b"yb"]), (b"a".to_vec(), true));
    }

    #[test]
    fn keys_that_only_begin_the_row_reach_the_guest_with_the_next() {
        assert_eq!(pass("x,y", &[b"x"]), (Vec::new(), false));
        assert_eq!(pass("x,y", &[b"x", b"a"]), (b"xa".to_vec(), false));
        assert_eq!(pass("x,y", &[b"xxy"]), (b"x".to_vec(), true));
        assert_eq!(pass("x,x,y", &[b"xxxy"]), (b"x".to_vec(), true));
    }
}
