//! A connection to a bus (D-Bus Specification, "Authentication Protocol", "Message Bus Specification").
//! Whatever is waited for has a time by which it must have come.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixStream},
    },
    time::{Duration, Instant},
};

use super::message::{Call, HEAD, Message, Reader, Writer, decode, sizes};

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing came of a call.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    /// The other side says so.
    Refused {
        name: String,
        text: String,
    },
}

impl Failure {
    /// Whether the other side says `name`, of its errors.
    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Refused { name: said, .. } if said.ends_with(name))
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Io(error) => error,
            Failure::Refused { name, text } if text.is_empty() => Self::other(name),
            Failure::Refused { text, .. } => Self::other(text),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
    /// Signals that came while something else was waited for.
    signals: VecDeque<(String, Vec<u8>)>,
}

impl Bus {
    /// The bus at one of the addresses that `addresses` lists, by a socket of this machine.
    pub(super) fn connect(addresses: &str) -> Result<Self> {
        let mut failure = io::Error::other(format!("`{addresses}` is no address of a bus"));
        for address in addresses.split(';').filter_map(socket) {
            match address.and_then(|address| UnixStream::connect_addr(&address)) {
                Ok(stream) => {
                    let mut bus = Self { stream, serial: 0, signals: VecDeque::new() };
                    bus.authenticate()?;
                    bus.call(bus_call("Hello", "", Writer::default()))?;
                    return Ok(bus);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure.into())
    }

    /// Says who this is by what the socket tells of it: that holds in a user namespace, too.
    fn authenticate(&mut self) -> Result<()> {
        self.stream.set_write_timeout(Some(PATIENCE))?;
        self.stream.write_all(b"\0AUTH EXTERNAL\r\n")?;
        let end = Instant::now() + PATIENCE;
        if self.line(end)?.starts_with("DATA") {
            self.stream.write_all(b"DATA\r\n")?;
            let answer = self.line(end)?;
            if answer.starts_with("OK") {
                self.stream.write_all(b"BEGIN\r\n")?;
                return Ok(());
            }
        }
        let why = "the bus does not take this process for who it is";
        Err(io::Error::new(io::ErrorKind::PermissionDenied, why).into())
    }

    fn line(&mut self, end: Instant) -> Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") && line.len() < 512 {
            let mut byte = [0];
            self.fill(&mut byte, end)?;
            line.extend(byte);
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Reads as much as `bytes` holds before `end`.
    fn fill(&mut self, bytes: &mut [u8], end: Instant) -> Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::from(io::ErrorKind::TimedOut).into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(bytes.get_mut(filled..).unwrap_or_default()) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, end: Instant) -> Result<Message> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the bus sent no message");
        let mut head = [0; HEAD];
        self.fill(&mut head, end)?;
        let (fields, body) = sizes(&head).ok_or_else(wrong)?;
        let (mut fields, mut body) = (vec![0; fields], vec![0; body]);
        self.fill(&mut fields, end)?;
        self.fill(&mut body, end)?;
        Ok(decode(&head, &fields, body).ok_or_else(wrong)?)
    }

    /// Calls a method; gives the body of the answer.
    pub(super) fn call(&mut self, call: Call<'_>) -> Result<Vec<u8>> {
        self.serial += 1;
        let serial = self.serial;
        self.stream.write_all(&call.encode(serial))?;
        let end = Instant::now() + PATIENCE;
        loop {
            match self.receive(end)? {
                Message::Return { to, body } if to == serial => return Ok(body),
                Message::Error { to, name, body } if to == serial => {
                    let text = Reader::new(&body).text().unwrap_or_default().to_owned();
                    return Err(Failure::Refused { name, text });
                }
                Message::Signal { member, body } => self.signals.push_back((member, body)),
                _ => {}
            }
        }
    }

    /// Asks for the signals that `rule` describes.
    pub(super) fn listen(&mut self, rule: &str) -> Result<()> {
        let mut body = Writer::default();
        body.text(rule);
        self.call(bus_call("AddMatch", "s", body)).map(drop)
    }

    /// The next signal that came or comes: its name, and what it says.
    pub(super) fn signal(&mut self, end: Instant) -> Result<(String, Vec<u8>)> {
        if let Some(signal) = self.signals.pop_front() {
            return Ok(signal);
        }
        loop {
            if let Message::Signal { member, body } = self.receive(end)? {
                return Ok((member, body));
            }
        }
    }
}

/// A call of the bus's own.
const fn bus_call<'a>(member: &'a str, signature: &'a str, body: Writer) -> Call<'a> {
    Call {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member,
        signature,
        body,
    }
}

/// The socket of one address: `unix:path=/run/bus,guid=...`. None where it is of another kind.
fn socket(address: &str) -> Option<io::Result<SocketAddr>> {
    let keys = address.strip_prefix("unix:")?;
    keys.split(',').find_map(|key| match key.split_once('=')? {
        ("path", path) => Some(SocketAddr::from_pathname(unescape(path))),
        ("abstract", name) => Some(SocketAddr::from_abstract_name(unescape(name).as_bytes())),
        _ => None,
    })
}

/// A value of an address, in which `%20` is a blank.
fn unescape(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().as_bytes().to_vec();
    let plain = parts.fold(first, |mut plain, part| {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                plain.extend(&part.as_bytes()[2..]);
            }
            None => plain.extend([b"%", part.as_bytes()].concat()),
        }
        plain
    });
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_or_a_name_in_nobodys_directory() {
        let of = |text| socket(text).map(|it| format!("{:?}", it.unwrap()));
        assert!(of("unix:path=/run/a%20b,guid=1").unwrap().contains("/run/a b"));
        assert!(of("unix:guid=1,abstract=x").unwrap().contains('x'));
        assert_eq!(of("tcp:host=h,port=1"), None);
        assert_eq!(unescape("a%2"), "a%2");
    }
}
