//! What a program's first bytes say it is.

/// A kind of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A WebAssembly core module.
    Module,
    /// A WebAssembly component.
    Component,
    /// What may be WebAssembly's text format.
    Text,
    /// Something else, in words.
    Other(&'static str),
}

impl Format {
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes {
            // WebAssembly's preamble: magic, version, layer.
            [0, b'a', b's', b'm', _, _, 0, 0, ..] => Self::Module,
            [0, b'a', b's', b'm', _, _, 1, 0, ..] => Self::Component,
            [0x7f, b'E', b'L', b'F', ..] => Self::Other("an ELF file"),
            [b'#', b'!', ..] => Self::Other("a script"),
            [b'M', b'Z', ..] => Self::Other("a Windows program"),
            [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] => Self::Other("a macOS program"),
            [] => Self::Other("an empty file"),
            _ if is_text(bytes) => Self::Text,
            _ => Self::Other("a file of another kind"),
        }
    }
}

/// Whether the first thing after blanks and comments is an opening parenthesis.
fn is_text(bytes: &[u8]) -> bool {
    let Ok(mut text) = str::from_utf8(bytes) else { return false };
    loop {
        text = text.trim_start();
        if text.starts_with(";;") {
            text = text.split_once('\n').map_or("", |(_, rest)| rest);
        } else if text.starts_with("(;") {
            text = text.split_once(";)").map_or("", |(_, rest)| rest);
        } else {
            return text.starts_with('(');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_first_bytes() {
        for (bytes, format) in [
            (&b"\0asm\x01\0\0\0"[..], Format::Module),
            (b"\0asm\x0d\0\x01\0", Format::Component),
            (b"\x7fELF\x02", Format::Other("an ELF file")),
            (b"#!/bin/sh", Format::Other("a script")),
            (b"", Format::Other("an empty file")),
            (b"hello", Format::Other("a file of another kind")),
            (b"\0asm", Format::Other("a file of another kind")),
            (b" ;; (a) comment\n (; and (another ;) (module)", Format::Text),
        ] {
            assert_eq!(Format::of(bytes), format, "{bytes:?}");
        }
    }
}
