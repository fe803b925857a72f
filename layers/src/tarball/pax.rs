//! The records of a pax archive (POSIX, pax, "pax Extended Header").

use super::Fault;

const MALFORMED: Fault = Fault::Malformed("a pax record is malformed");

/// Keywords with values, in the archive's order.
#[derive(Debug, Default)]
pub(crate) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    /// Reads records: the length of the whole in decimal digits, a blank, the keyword, `=`, the value
    /// and a newline. A value may hold any bytes.
    pub(super) fn parse(mut content: &[u8]) -> Result<Self, Fault> {
        let mut records = Vec::new();
        // Some writers fill up with NULs.
        while content.first().is_some_and(|byte| *byte != 0) {
            let blank = content.iter().take(20).position(|byte| *byte == b' ').ok_or(MALFORMED)?;
            let length = decimal(&content[..blank]).ok_or(MALFORMED)?;
            let length = usize::try_from(length).map_err(|_| MALFORMED)?;
            let record = content.get(blank + 1..length).ok_or(MALFORMED)?;
            let record = record.strip_suffix(b"\n").ok_or(MALFORMED)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(MALFORMED)?;
            records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
            content = &content[length..];
        }
        Ok(Self(records))
    }

    /// All of them, by keyword and value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// The value that counts for a keyword: the last one. An empty one takes those before it back.
    pub(crate) fn last(&self, key: &[u8]) -> Option<&[u8]> {
        let found = self.iter().filter(|(known, _)| *known == key).last();
        found.map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    /// The same of a keyword with decimal values.
    pub(crate) fn number(&self, key: &[u8]) -> Result<Option<u64>, Fault> {
        self.last(key).map(|value| decimal(value).ok_or(MALFORMED)).transpose()
    }
}

/// A number of decimal digits alone.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}
