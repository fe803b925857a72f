//! The fields of a header.

use tar::Header;

use super::Fault;

/// A numeric field: octal digits, or GNU's form for what they cannot hold, a binary number with the
/// highest bit set and perhaps a sign (GNU tar manual, "Extensions to the ustar format"). One that
/// was left empty is zero, as other readers have it.
pub(crate) fn number(field: &[u8]) -> Option<i128> {
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        // The sign is the next bit.
        let high = i128::from(first & 0x7f) - if first & 0x40 == 0 { 0 } else { 0x80 };
        return (rest.len() < 15)
            .then(|| rest.iter().fold(high, |value, byte| value << 8 | i128::from(*byte)));
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let digits = field.iter().skip_while(|byte| blank(byte)).take_while(|byte| !blank(byte));
    digits.into_iter().try_fold(0, |value, byte| match byte {
        b'0'..=b'7' => Some(value << 3 | i128::from(byte - b'0')),
        _ => None,
    })
}

/// Bytes of content in the archive, by the header alone.
pub(super) fn size(header: &Header) -> Result<u64, Fault> {
    number(&header.as_old().size)
        .and_then(|size| u64::try_from(size).ok())
        .ok_or(Fault::Malformed("its size is unreadable"))
}

/// Whether the bytes add up, with those of the checksum itself taken for blanks. Writers of old took
/// bytes for signed.
pub(super) fn has_valid_checksum(header: &Header) -> bool {
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    let bytes = header.as_bytes();
    let Some(expected) = number(&bytes[CHECKSUM]) else { return false };
    let blanks = i32::from(b' ') * 8;
    let counted = || bytes[..CHECKSUM.start].iter().chain(&bytes[CHECKSUM.end..]);
    let unsigned: i32 = counted().map(|byte| i32::from(*byte)).sum();
    let signed = || counted().map(|byte| i32::from(byte.cast_signed())).sum::<i32>();
    expected == i128::from(unsigned + blanks) || expected == i128::from(signed() + blanks)
}
