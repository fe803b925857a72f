//! What a supervisor and its clients say to each other.
//!
//! A frame is the length of the rest (4 bytes, little-endian), one byte of kind, and the body.
//! The bytes of streams travel as they are; everything else is JSON.
//!
//! ```text
//! starter ── Start ──► supervisor        over the supervisor's stdin and stdout
//!         ◄─ Started | Failed
//!         ── Stdin*, StdinClosed ──►     where it is attached
//!         ◄─ Stdout*, Stderr*, Exited
//!         ── Detach ──►                  where it is attached, as the last of its words
//!         ◄─ Detached
//!
//! client  ── Exec | Attach ──►           over a local socket, one connection each, and
//!         ◄─ Started | Failed            then as the starter
//!         ── Signal | Resize | Stats | Processes ──►
//!         ◄─ Done | Stats | Processes | Failed
//!         ── Stop | Wait ──►
//!         ◄─ Exited | Failed             when the container has ended and is put away
//!         ── CopyOut ──►
//!         ◄─ Stdout*, Copied | Failed    an archive of files
//!         ── CopyIn, Stdin*, StdinClosed ──►
//!         ◄─ Copied | Failed             the same the other way; a failure does not wait for its end
//!         ── Pause | Unpause ──►
//!         ◄─ Done | Unchanged | Failed
//!         ── Update ──►
//!         ◄─ Done | Failed               nothing where the container ended first
//!         ── Hold ──►
//!         ◄─ Done | Failed               it stands still until the client closes the connection
//!         ── Follow ──►
//!         ◄─ Logged*, Exited             whenever the log has grown
//! ```
//!
//! A signal to an attached container takes a connection of its own: it must arrive while the
//! guest reads none of the stdin that was sent before it.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use silo_isolation::{Exit, Limits, Process, Signal, Stats, TerminalSize};
use silo_layers::copy::{CopyIn, CopyOut};

use crate::{Attach, Failure, Stream};

/// The most that a frame holds, in bytes. What says it holds more is no frame.
pub(crate) const MAX_FRAME: usize = 1 << 20;
/// The most that a frame of stream bytes is made of.
pub(crate) const CHUNK: usize = 32 << 10;

/// From a client to a supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first frame of who started the supervisor.
    Start(Attach),
    /// The same where the container lives no longer than its starter: when that closes this stream, it is
    /// killed and removed. Until then it stays, with its files, though its guest has ended.
    StartBound(Attach),
    /// Take part in the streams from now on.
    Attach(Attach),
    /// What the guest is to read.
    #[serde(skip)]
    Stdin(Vec<u8>),
    /// The end of that.
    StdinClosed,
    /// Take part no more, and leave the guest what it has to read open.
    Detach,
    /// Send a signal to the guest, or to the exec session of this number.
    Signal { session: Option<u64>, signal: Signal },
    /// Set the terminal's size, of the guest or of an exec session.
    Resize { session: Option<u64>, size: TerminalSize },
    /// Send this signal, and KILL when that has not ended the guest in time. The container stays
    /// where it is to be kept, even one that is to be removed at its end.
    Stop { signal: Signal, timeout: Duration, keep: bool },
    /// Run a process beside the guest's first.
    Exec { process: Process, interactive: bool, size: Option<TerminalSize> },
    /// Tell what the guest uses.
    Stats,
    /// Tell which processes of the host are the guest's.
    Processes,
    /// Send an archive of what is at this path of the guest.
    CopyOut { path: String, how: CopyOut },
    /// Unpack the archive that follows at this path of the guest.
    CopyIn { path: String, what: CopyIn },
    /// Let the guest stand still until it is asked for that no more.
    Pause,
    /// Let a paused guest go on.
    Unpause,
    /// Change what the guest may use up, to what these limits have.
    Update(Box<Limits>),
    /// Let the guest stand still as long as this connection is open.
    Hold,
    /// Tell when it has ended.
    Wait,
    /// Tell whenever the log has grown.
    Follow,
}

/// From a supervisor to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The guest runs; or the exec session of this number does.
    Started { session: Option<u64> },
    /// What it wrote as its output.
    #[serde(skip)]
    Stdout(Vec<u8>),
    /// What it wrote as its errors.
    #[serde(skip)]
    Stderr(Vec<u8>),
    /// It has ended, and nothing of it is left but its record. The last frame.
    Exited(Exit),
    /// The client takes part no more. The last frame.
    Detached,
    /// What was asked for could not be done. The last frame.
    Failed(Failure),
    /// What the guest uses.
    Stats(Stats),
    /// The guest's processes, where the host has them.
    Processes(Option<Vec<u32>>),
    /// All is copied, but for these paths.
    Copied { skipped: Vec<String> },
    /// What was asked for is done.
    Done,
    /// It was so already.
    Unchanged,
    /// The log has grown.
    Logged,
}

impl Reply {
    /// What the guest wrote to one of its streams.
    pub(crate) fn written(stream: Stream, bytes: &[u8]) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout(bytes.to_vec()),
            Stream::Stderr => Self::Stderr(bytes.to_vec()),
        }
    }
}

/// One side's messages as frames.
pub(crate) trait Message: Sized {
    /// The kind and the body of a message that travels as raw bytes.
    fn raw(&self) -> Option<(u8, &[u8])>;
    /// The message of raw bytes of that kind.
    fn from_raw(kind: u8, body: Vec<u8>) -> Option<Self>;
}

const JSON: u8 = 0;
const FIRST: u8 = 1;
const SECOND: u8 = 2;

impl Message for Request {
    fn raw(&self) -> Option<(u8, &[u8])> {
        match self {
            Self::Stdin(bytes) => Some((FIRST, bytes)),
            _ => None,
        }
    }

    fn from_raw(kind: u8, body: Vec<u8>) -> Option<Self> {
        (kind == FIRST).then_some(Self::Stdin(body))
    }
}

impl Message for Reply {
    fn raw(&self) -> Option<(u8, &[u8])> {
        match self {
            Self::Stdout(bytes) => Some((FIRST, bytes)),
            Self::Stderr(bytes) => Some((SECOND, bytes)),
            _ => None,
        }
    }

    fn from_raw(kind: u8, body: Vec<u8>) -> Option<Self> {
        match kind {
            FIRST => Some(Self::Stdout(body)),
            SECOND => Some(Self::Stderr(body)),
            _ => None,
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Writes one frame, in one write where the writer takes it whole.
pub(crate) fn write<M: Message + Serialize>(writer: &mut dyn Write, message: &M) -> io::Result<()> {
    let json;
    let (kind, body) = if let Some(raw) = message.raw() {
        raw
    } else {
        json = serde_json::to_vec(message)?;
        (JSON, json.as_slice())
    };
    let length = u32::try_from(body.len() + 1).ok().filter(|&n| n as usize <= MAX_FRAME);
    let length = length.ok_or_else(|| invalid("the message is too long for a frame"))?;
    let mut frame = Vec::with_capacity(5 + body.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.push(kind);
    frame.extend_from_slice(body);
    writer.write_all(&frame)?;
    writer.flush()
}

/// Reads one frame; `None` where the other side has closed between two frames.
pub(crate) fn read<M: Message + DeserializeOwned>(reader: &mut dyn Read) -> io::Result<Option<M>> {
    let mut head = [0; 4];
    if !read_or_end(reader, &mut head)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(head) as usize;
    if length == 0 || length > MAX_FRAME {
        return Err(invalid("not a frame: its length is out of bounds"));
    }
    let mut kind = [0];
    reader.read_exact(&mut kind)?;
    let mut body = vec![0; length - 1];
    reader.read_exact(&mut body)?;
    if kind[0] == JSON {
        return Ok(Some(serde_json::from_slice(&body)?));
    }
    M::from_raw(kind[0], body).map(Some).ok_or_else(|| invalid("not a frame: unknown kind"))
}

/// Fills `buffer`, or says `false` where there is not even a first byte. A peer that died is
/// one that closed.
fn read_or_end(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<bool> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, Interrupted};
    loop {
        match reader.read(&mut buffer[..1]) {
            Ok(0) => return Ok(false),
            Ok(_) => break,
            Err(error) if error.kind() == Interrupted => {}
            Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    reader.read_exact(&mut buffer[1..]).map(|()| true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use silo_isolation::{ExitStatus, User};
    use silo_layers::copy::Source;

    use super::*;

    fn signal() -> impl Strategy<Value = Signal> {
        (1..=64u8).prop_map(|number| Signal::from_number(number).unwrap())
    }

    fn size() -> impl Strategy<Value = TerminalSize> {
        any::<(u16, u16)>().prop_map(|(rows, columns)| TerminalSize { rows, columns })
    }

    fn attach() -> impl Strategy<Value = Attach> {
        (any::<[bool; 3]>(), proptest::option::of(size()))
            .prop_map(|([stdin, stdout, stderr], size)| Attach { stdin, stdout, stderr, size })
    }

    fn process() -> impl Strategy<Value = Process> {
        (any::<(Vec<String>, Vec<String>, String, bool)>(), any::<Option<(u32, u32, Vec<u32>)>>())
            .prop_map(|((args, env, cwd, terminal), user)| Process {
                args,
                env,
                cwd,
                terminal,
                user: user.map(|(uid, gid, additional_gids)| User { uid, gid, additional_gids }),
            })
    }

    fn request() -> impl Strategy<Value = Request> {
        prop_oneof![
            attach().prop_map(Request::Start),
            attach().prop_map(Request::StartBound),
            attach().prop_map(Request::Attach),
            any::<Vec<u8>>().prop_map(Request::Stdin),
            Just(Request::StdinClosed),
            Just(Request::Detach),
            (any::<Option<u64>>(), signal())
                .prop_map(|(session, signal)| Request::Signal { session, signal }),
            (any::<Option<u64>>(), size())
                .prop_map(|(session, size)| Request::Resize { session, size }),
            (signal(), any::<Duration>(), any::<bool>())
                .prop_map(|(signal, timeout, keep)| Request::Stop { signal, timeout, keep }),
            (process(), any::<bool>(), proptest::option::of(size())).prop_map(
                |(process, interactive, size)| Request::Exec { process, interactive, size }
            ),
            (any::<String>(), any::<[bool; 2]>()).prop_map(|(path, [follow, owners])| {
                Request::CopyOut { path, how: CopyOut { follow, owners } }
            }),
            (any::<[String; 2]>(), any::<[bool; 3]>()).prop_map(
                |([path, named], [is_directory, has_source, owners])| {
                    let source = has_source.then(|| Source::named(&named, is_directory));
                    Request::CopyIn { path, what: CopyIn { source, owners } }
                }
            ),
            any::<(Option<u64>, Option<String>)>().prop_map(|(memory, cpuset_cpus)| {
                let limits = Limits { memory, cpuset_cpus, ..Limits::default() };
                Request::Update(Box::new(limits))
            }),
            Just(Request::Stats),
            Just(Request::Processes),
            Just(Request::Pause),
            Just(Request::Unpause),
            Just(Request::Hold),
            Just(Request::Wait),
            Just(Request::Follow),
        ]
    }

    fn exit() -> impl Strategy<Value = Exit> {
        let status = prop_oneof![
            any::<u8>().prop_map(ExitStatus::Exited),
            signal().prop_map(ExitStatus::Signaled),
            any::<String>().prop_map(ExitStatus::Trapped),
        ];
        (status, any::<bool>()).prop_map(|(status, oom_killed)| Exit { status, oom_killed })
    }

    fn reply() -> impl Strategy<Value = Reply> {
        prop_oneof![
            any::<Option<u64>>().prop_map(|session| Reply::Started { session }),
            any::<Vec<u8>>().prop_map(Reply::Stdout),
            any::<Vec<u8>>().prop_map(Reply::Stderr),
            exit().prop_map(Reply::Exited),
            Just(Reply::Detached),
            any::<(String, Option<String>, u8)>().prop_map(|(message, hint, exit_code)| {
                Reply::Failed(Failure { message, source: None, hint, exit_code })
            }),
            any::<(Option<u64>, Option<u64>, Option<u64>)>().prop_map(
                |(memory, cpu_nanos, pids)| Reply::Stats(Stats { memory, cpu_nanos, pids })
            ),
            any::<Option<Vec<u32>>>().prop_map(Reply::Processes),
            any::<Vec<String>>().prop_map(|skipped| Reply::Copied { skipped }),
            Just(Reply::Done),
            Just(Reply::Unchanged),
            Just(Reply::Logged),
        ]
    }

    fn round_trip<M>(messages: &[M])
    where
        M: Message + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let mut bytes = Vec::new();
        for message in messages {
            write(&mut bytes, message).unwrap();
        }
        let mut reader = bytes.as_slice();
        for message in messages {
            assert_eq!(read::<M>(&mut reader).unwrap().as_ref(), Some(message));
        }
        assert_eq!(read::<M>(&mut reader).unwrap(), None);
    }

    proptest! {
        #[test]
        fn requests_arrive_as_they_were_sent(messages in prop::collection::vec(request(), 0..8)) {
            round_trip(&messages);
        }

        #[test]
        fn replies_arrive_as_they_were_sent(messages in prop::collection::vec(reply(), 0..8)) {
            round_trip(&messages);
        }

        #[test]
        fn whatever_comes_is_read_or_refused(bytes in any::<Vec<u8>>()) {
            let mut reader = bytes.as_slice();
            while let Ok(Some(_)) = read::<Request>(&mut reader) {}
        }
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused_before_it_is_read() {
        let mut bytes = u32::MAX.to_le_bytes().to_vec();
        bytes.push(FIRST);
        assert!(read::<Request>(&mut bytes.as_slice()).is_err());
        let long = Request::Stdin(vec![0; MAX_FRAME]);
        assert!(write(&mut Vec::new(), &long).is_err());
    }

    #[test]
    fn a_torn_frame_is_an_error() {
        let mut bytes = Vec::new();
        write(&mut bytes, &Request::Stdin(vec![1, 2, 3])).unwrap();
        bytes.pop();
        assert!(read::<Request>(&mut bytes.as_slice()).is_err());
    }
}
