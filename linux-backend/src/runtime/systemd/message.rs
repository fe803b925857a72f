//! Messages of D-Bus, as far as systemd is spoken to (D-Bus Specification, "Marshaling").

/// What a property of a unit holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Bool(bool),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Text(String),
    Bytes(Vec<u8>),
    U32s(Vec<u32>),
    Texts(Vec<String>),
}

impl Value {
    /// Its type, as D-Bus writes it.
    const fn signature(&self) -> &'static str {
        match self {
            Self::Bool(_) => "b",
            Self::I32(_) => "i",
            Self::U32(_) => "u",
            Self::I64(_) => "x",
            Self::U64(_) => "t",
            Self::Text(_) => "s",
            Self::Bytes(_) => "ay",
            Self::U32s(_) => "au",
            Self::Texts(_) => "as",
        }
    }
}

/// A property: its name and its value.
pub(crate) type Property = (String, Value);

/// Bytes as they are written, each value at a multiple of its size.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.align(8);
        self.0.extend(number.to_le_bytes());
    }

    pub(super) fn bool(&mut self, yes: bool) {
        self.u32(yes.into());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.u32(length(text.len()));
        self.0.extend(text.as_bytes());
        self.byte(0);
    }

    fn signature(&mut self, text: &str) {
        self.byte(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.as_bytes());
        self.byte(0);
    }

    /// An array of what `write` writes, whose elements start at multiples of `align`. Its length counts
    /// from the first of them on.
    pub(super) fn array(&mut self, align: usize, write: impl FnOnce(&mut Self)) {
        self.u32(0);
        let at = self.0.len() - 4;
        self.align(align);
        let start = self.0.len();
        write(self);
        let count = length(self.0.len() - start).to_le_bytes();
        if let Some(place) = self.0.get_mut(at..at + 4) {
            place.copy_from_slice(&count);
        }
    }

    fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Bool(yes) => self.bool(*yes),
            Value::I32(number) => self.u32(number.cast_unsigned()),
            Value::U32(number) => self.u32(*number),
            Value::I64(number) => self.u64(number.cast_unsigned()),
            Value::U64(number) => self.u64(*number),
            Value::Text(text) => self.text(text),
            Value::Bytes(bytes) => self.array(1, |array| array.0.extend(bytes)),
            Value::U32s(numbers) => {
                self.array(4, |array| numbers.iter().for_each(|number| array.u32(*number)));
            }
            Value::Texts(texts) => {
                self.array(4, |array| texts.iter().for_each(|text| array.text(text)));
            }
        }
    }

    /// `a(sv)`.
    pub(super) fn properties(&mut self, properties: &[Property]) {
        self.array(8, |array| {
            for (name, value) in properties {
                array.align(8);
                array.text(name);
                array.variant(value);
            }
        });
    }
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The call of a method.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    /// The types of what is in `body`.
    pub(super) signature: &'a str,
    pub(super) body: Writer,
}

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

// Fields of a header.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

impl Call<'_> {
    /// The message with the number `serial`.
    pub(super) fn encode(self, serial: u32) -> Vec<u8> {
        let body = self.body.into_bytes();
        let mut message = Writer::default();
        message.0.extend([b'l', METHOD_CALL, 0, 1]);
        message.u32(length(body.len()));
        message.u32(serial);
        message.array(8, |fields| {
            let texts = [
                (PATH, "o", self.path),
                (INTERFACE, "s", self.interface),
                (MEMBER, "s", self.member),
                (DESTINATION, "s", self.destination),
            ];
            for (code, kind, text) in texts {
                fields.align(8);
                fields.byte(code);
                fields.signature(kind);
                fields.text(text);
            }
            if !self.signature.is_empty() {
                fields.align(8);
                fields.byte(SIGNATURE);
                fields.signature("g");
                fields.signature(self.signature);
            }
        });
        message.align(8);
        message.0.extend(body);
        message.into_bytes()
    }
}

/// A message that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The answer to the call of that number.
    Return {
        to: u32,
        body: Vec<u8>,
    },
    /// That the call of that number failed.
    Error {
        to: u32,
        name: String,
        body: Vec<u8>,
    },
    Signal {
        member: String,
        body: Vec<u8>,
    },
    Other,
}

/// The size of what tells the size of the rest.
pub(super) const HEAD: usize = 16;
/// What no message is larger than (D-Bus Specification, "Message Format").
const LARGEST: usize = 1 << 27;

/// The size of the message that begins with `head`: of its fields with their padding, and of its body.
pub(super) fn sizes(head: &[u8]) -> Option<(usize, usize)> {
    (head.first() == Some(&b'l')).then_some(())?;
    let mut reader = Reader { bytes: head, at: 4 };
    let body = usize::try_from(reader.u32()?).ok()?;
    reader.at = 12;
    let fields = usize::try_from(reader.u32()?).ok()?;
    (body <= LARGEST && fields <= LARGEST).then_some((fields.next_multiple_of(8), body))
}

/// The message of a head, and of what follows it.
pub(super) fn decode(head: &[u8], fields: &[u8], body: Vec<u8>) -> Option<Message> {
    let length = usize::try_from(Reader { bytes: head, at: 12 }.u32()?).ok()?;
    let mut reader = Reader { bytes: fields.get(..length)?, at: 0 };
    let (mut member, mut name, mut to) = (String::new(), String::new(), 0);
    while reader.at < length {
        reader.align(8);
        let code = reader.byte()?;
        match (code, reader.signature()?) {
            (_, "s" | "o") => {
                let text = reader.text()?;
                match code {
                    MEMBER => text.clone_into(&mut member),
                    ERROR_NAME => text.clone_into(&mut name),
                    _ => {}
                }
            }
            (_, "g") => {
                reader.signature()?;
            }
            (_, "u") => {
                let number = reader.u32()?;
                if code == REPLY_SERIAL {
                    to = number;
                }
            }
            _ => return None,
        }
    }
    Some(match *head.get(1)? {
        METHOD_RETURN => Message::Return { to, body },
        ERROR => Message::Error { to, name, body },
        SIGNAL => Message::Signal { member, body },
        _ => Message::Other,
    })
}

/// What is read from bytes, each value at a multiple of its size.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    const fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A text, or the path of an object.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.u32()?).ok()?;
        let text = self.take(length)?;
        self.byte()?;
        std::str::from_utf8(text).ok()
    }

    /// The types of what follows.
    pub(super) fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let text = self.take(length)?;
        self.byte()?;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_laid_out_as_the_specification_says() {
        let mut body = Writer::default();
        body.text("x");
        body.bool(true);
        let call = Call {
            destination: "a.b",
            path: "/p",
            interface: "a.c",
            member: "M",
            signature: "sb",
            body,
        };
        let bytes = call.encode(7);
        let mut expected = b"l\x01\x00\x01\x0c\0\0\0\x07\0\0\0\x43\0\0\0".to_vec();
        expected.extend(b"\x01\x01o\0\x02\0\0\0/p\0\0\0\0\0\0");
        expected.extend(b"\x02\x01s\0\x03\0\0\0a.c\0\0\0\0\0");
        expected.extend(b"\x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0");
        expected.extend(b"\x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0");
        expected.extend(b"\x08\x01g\0\x02sb\0");
        // The fields' length ends before their padding.
        let fields = expected.len() - HEAD;
        expected[12] = u8::try_from(fields).unwrap();
        expected.resize(expected.len().next_multiple_of(8), 0);
        expected.extend(b"\x01\0\0\0x\0\0\0\x01\0\0\0");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn properties_are_an_array_of_names_and_variants() {
        let mut body = Writer::default();
        body.properties(&[
            ("A".to_owned(), Value::U64(5)),
            ("B".to_owned(), Value::U32s(vec![1, 2])),
        ]);
        let bytes = body.into_bytes();
        let mut expected = vec![0; 8];
        // A name, the signature `t`, and the number at a multiple of 8.
        expected.extend(b"\x01\0\0\0A\0\x01t\0\0\0\0\0\0\0\0");
        expected.extend(5u64.to_le_bytes());
        expected.extend(b"\x01\0\0\0B\0\x02au\0\0\0\x08\0\0\0\x01\0\0\0\x02\0\0\0");
        expected[0] = u8::try_from(expected.len() - 8).unwrap();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn what_came_is_read_back() {
        // The layout of a signal is that of a call, but for the type.
        let mut body = Writer::default();
        body.u32(9);
        body.text("/job/9");
        let call = Call {
            destination: "d",
            path: "/p",
            interface: "i",
            member: "JobRemoved",
            signature: "uo",
            body,
        };
        let mut bytes = call.encode(3);
        bytes[1] = SIGNAL;
        let (head, rest) = bytes.split_at(HEAD);
        let (fields, size) = sizes(head).unwrap();
        let (fields, body) = rest.split_at(fields);
        assert_eq!(body.len(), size);
        let Some(Message::Signal { member, body }) = decode(head, fields, body.to_vec()) else {
            panic!("no signal");
        };
        assert_eq!(member, "JobRemoved");
        let mut reader = Reader::new(&body);
        assert_eq!((reader.u32(), reader.text(), reader.u32()), (Some(9), Some("/job/9"), None));
    }

    #[test]
    fn what_is_no_message_is_refused_whatever_lengths_it_tells() {
        assert_eq!(sizes(b"B123456789abcdef"), None);
        assert_eq!(sizes(b"l\x02\0\x01\xff\xff\xff\xff\0\0\0\0\x08\0\0\0"), None);
        let head = b"l\x02\0\x01\0\0\0\0\x01\0\0\0\x08\0\0\0";
        assert_eq!(decode(head, b"\x05\x01u\0\x01\0\0", Vec::new()), None);
        assert_eq!(decode(head, b"\x05\xffu\0\x01\0\0\0", Vec::new()), None);
        let body = Vec::new();
        let answer = Message::Return { to: 1, body: Vec::new() };
        assert_eq!(decode(head, b"\x05\x01u\0\x01\0\0\0", body), Some(answer));
    }
}
