//! Names and ids of containers.

use crate::{Error, Result};

const ADJECTIVES: [&str; 48] = [
    "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "coral", "crisp",
    "daring", "deep", "eager", "early", "fair", "fleet", "fresh", "gentle", "glad", "golden",
    "grand", "green", "happy", "honest", "hushed", "jolly", "keen", "kind", "late", "lively",
    "loyal", "lucid", "mellow", "merry", "mild", "modest", "nimble", "noble", "patient", "plain",
    "proud", "quick", "quiet", "rapid", "ready", "steady", "tidy", "warm",
];
const NOUNS: [&str; 48] = [
    "acorn", "alder", "anchor", "badger", "barley", "beacon", "birch", "brook", "cedar", "clover",
    "comet", "cove", "crane", "delta", "falcon", "fern", "finch", "fjord", "garnet", "harbor",
    "hazel", "heron", "island", "ivy", "juniper", "lark", "linden", "maple", "meadow", "millet",
    "moss", "oak", "otter", "pebble", "pine", "plover", "quartz", "reed", "ridge", "river",
    "robin", "rowan", "sparrow", "stone", "thistle", "tundra", "willow", "wren",
];

/// `N` bytes from the operating system's random source.
fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::Supervisor {
        step: "read random bytes",
        source: std::io::Error::other(error),
    })?;
    Ok(bytes)
}

/// A new container's id: 64 lower-case hexadecimal digits.
pub(crate) fn random_id() -> Result<String> {
    // A digest is 32 bytes too, and writes itself in just these digits.
    random_bytes::<32>().map(|bytes| silo_layers::Digest::from_bytes(bytes).hex())
}

/// A random name: `quiet_river`.
pub(crate) fn random() -> Result<String> {
    let [adjective, noun] = random_bytes::<2>()?.map(usize::from);
    let adjective = ADJECTIVES[adjective % ADJECTIVES.len()];
    Ok(format!("{adjective}_{}", NOUNS[noun % NOUNS.len()]))
}

/// `name` with a random number, for where the plain name is taken.
pub(crate) fn numbered(name: &str) -> Result<String> {
    Ok(format!("{name}_{}", u16::from_le_bytes(random_bytes()?)))
}

/// Whether `name` may be a container's: a letter or digit, then letters, digits, `_`, `.`, `-`.
pub(crate) fn is_valid(name: &str) -> bool {
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    match name.as_bytes() {
        [first, others @ ..] => {
            first.is_ascii_alphanumeric() && others.iter().copied().all(rest) && name.len() <= 128
        }
        [] => false,
    }
}

/// Refuses what [`is_valid`] does not hold for.
pub(crate) fn validate(name: &str) -> Result<()> {
    if is_valid(name) {
        return Ok(());
    }
    let why = "expected a letter or digit, then letters, digits, `_`, `.` or `-`, at most 128";
    Err(Error::invalid("container name", name, why))
}

/// Whether `text` is a whole id.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 64 && is_id_prefix(text)
}

/// Whether ids can begin with `text`.
pub(crate) fn is_id_prefix(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_names_and_ids_are_valid() {
        for _ in 0..100 {
            let name = random().unwrap();
            assert!(is_valid(&name) && is_valid(&numbered(&name).unwrap()), "{name}");
            assert!(is_id(&random_id().unwrap()));
        }
    }

    #[test]
    fn a_name_that_could_leave_its_directory_is_refused() {
        for name in ["", ".", "..", ".lock", "-x", "a/b", "a\\b", "a b", "é", &"x".repeat(129)] {
            assert!(validate(name).is_err(), "{name}");
        }
        for name in ["a", "0", "web-1", "a_b.c"] {
            assert!(validate(name).is_ok(), "{name}");
        }
    }
}
