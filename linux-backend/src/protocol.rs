//! What parent and child say to each other.
//!
//! ```text
//!   parent                              child
//!     │ clone3 ─────────────────────────▶ │
//!     │ Given (moves into its cgroup) ──▶ │    where systemd makes that
//!     │ Given (maps ids) ───────────────▶ │    in a user namespace only
//!     │ Given (+ mount) ────────────────▶ │    for each that the parent opens
//!     │                                   │ does as the plan says
//!     │                                   │
//!     │ ◀─────────── Ready (+ terminal) ─ │    or Failed, and it ends
//!     │                                   │ waits
//!     │ Go ─────────────────────────────▶ │
//!     │                                   │ execve
//!     │ ◀──────────────── end of stream ─ │    or Failed, and it ends
//! ```
//!
//! A sequenced-packet socket, closed by execve(2), carries one fixed-size message at a time.
//! The parent's side is a chain of types, so that the order cannot be mistaken: [`Setup`]
//! becomes [`Waiting`] becomes nothing. When the parent dies, the child reads the end of the
//! stream instead of `Go` and ends.
//!
//! The first process of an OCI container says `Hooks` when its root is set up, and is given what
//! hooks read before it goes on to `Ready`. It does not wait for `Go`: it listens ([`Gate`]), as
//! who lets it go is another process than the one that made it.
//!
//! Where a program outside answers some calls (`seccomp_unotify(2)`), `Listener` comes before `Ready`, with
//! what that program listens to.
//!
//! A process that joins a running sandbox is cloned by a helper inside it, which sends
//! `Made` (the number of the new process's pidfd, in the table that parent and helper
//! share), or `Failed`, and ends. From there on it is as above. The helper has a connection of
//! its own: the process that it cloned may be faster to speak than itself.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    },
};

use crate::sys;

/// What the child does, in the order of doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Step {
    JoinCgroup = 1,
    JoinNamespaces,
    JoinKeyring,
    CloneInside,
    MapIds,
    Unshare,
    SetClocks,
    SetOomScore,
    SetSysctl,
    PrivateMounts,
    EnterStore,
    OpenOverlay,
    SetOverlay,
    AddLayer,
    MountOverlay,
    AttachRoot,
    OpenMount,
    SetMount,
    CopyUp,
    MapMountIds,
    FindTarget,
    AttachMount,
    MakeDevice,
    MakeLink,
    Mask,
    ReadOnly,
    OpenTerminal,
    ReadOnlyRoot,
    RunHook,
    ChangeRoot,
    SetPropagation,
    SetHostname,
    SetDomainName,
    RaiseLoopback,
    SetPersonality,
    ConnectStreams,
    NewSession,
    WorkingDirectory,
    SetPriority,
    SetMemoryPolicy,
    SetLimit,
    DropBounding,
    SetGroups,
    SetGroup,
    SetUser,
    SetCapabilities,
    DieWithParent,
    AppArmor,
    Selinux,
    NoNewPrivileges,
    Landlock,
    InstallFilter,
    CloseDescriptors,
    Report,
    BecomeInit,
    Execute,
    /// The program is there, but what it names as its interpreter is not.
    Interpret,
}

impl Step {
    const LAST: u32 = Self::Interpret as u32;

    fn from_number(number: u32) -> Option<Self> {
        const ALL: [Step; Step::LAST as usize] = [
            Step::JoinCgroup,
            Step::JoinNamespaces,
            Step::JoinKeyring,
            Step::CloneInside,
            Step::MapIds,
            Step::Unshare,
            Step::SetClocks,
            Step::SetOomScore,
            Step::SetSysctl,
            Step::PrivateMounts,
            Step::EnterStore,
            Step::OpenOverlay,
            Step::SetOverlay,
            Step::AddLayer,
            Step::MountOverlay,
            Step::AttachRoot,
            Step::OpenMount,
            Step::SetMount,
            Step::CopyUp,
            Step::MapMountIds,
            Step::FindTarget,
            Step::AttachMount,
            Step::MakeDevice,
            Step::MakeLink,
            Step::Mask,
            Step::ReadOnly,
            Step::OpenTerminal,
            Step::ReadOnlyRoot,
            Step::RunHook,
            Step::ChangeRoot,
            Step::SetPropagation,
            Step::SetHostname,
            Step::SetDomainName,
            Step::RaiseLoopback,
            Step::SetPersonality,
            Step::ConnectStreams,
            Step::NewSession,
            Step::WorkingDirectory,
            Step::SetPriority,
            Step::SetMemoryPolicy,
            Step::SetLimit,
            Step::DropBounding,
            Step::SetGroups,
            Step::SetGroup,
            Step::SetUser,
            Step::SetCapabilities,
            Step::DieWithParent,
            Step::AppArmor,
            Step::Selinux,
            Step::NoNewPrivileges,
            Step::Landlock,
            Step::InstallFilter,
            Step::CloseDescriptors,
            Step::Report,
            Step::BecomeInit,
            Step::Execute,
            Step::Interpret,
        ];
        ALL.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
    }
}

/// A step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    /// Which of the plan's list that the step works on.
    pub(crate) index: usize,
    pub(crate) errno: Errno,
}

/// Names the step of an error.
pub(crate) trait At<T> {
    fn at(self, step: Step, index: usize) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step, index: usize) -> Result<T, Failure> {
        self.map_err(|errno| Failure { step, index, errno })
    }
}

/// What the child says.
enum Message {
    Ready,
    Listener,
    Hooks,
    Made(RawFd),
    Failed(Failure),
}

const READY: u32 = 0;
const MADE: u32 = u32::MAX;
const HOOKS: u32 = u32::MAX - 1;
const LISTENER: u32 = u32::MAX - 2;
const SIZE: usize = 12;

impl Message {
    fn encode(&self) -> [u8; SIZE] {
        let (kind, index, number) = match self {
            Self::Ready => (READY, 0, 0),
            Self::Hooks => (HOOKS, 0, 0),
            Self::Listener => (LISTENER, 0, 0),
            Self::Made(descriptor) => (MADE, 0, *descriptor),
            Self::Failed(Failure { step, index, errno }) => {
                (*step as u32, u32::try_from(*index).unwrap_or(u32::MAX), errno.raw_os_error())
            }
        };
        let mut bytes = [0; SIZE];
        let words = [kind.to_ne_bytes(), index.to_ne_bytes(), number.to_ne_bytes()];
        for (to, from) in bytes.iter_mut().zip(words.as_flattened()) {
            *to = *from;
        }
        bytes
    }

    fn decode(bytes: [u8; SIZE]) -> Option<Self> {
        let ([kind, index, number], []) = bytes.as_chunks::<4>() else { return None };
        let number = i32::from_ne_bytes(*number);
        match u32::from_ne_bytes(*kind) {
            READY => Some(Self::Ready),
            HOOKS => Some(Self::Hooks),
            LISTENER => Some(Self::Listener),
            MADE => Some(Self::Made(number)),
            step => Some(Self::Failed(Failure {
                step: Step::from_number(step)?,
                index: usize::try_from(u32::from_ne_bytes(*index)).ok()?,
                errno: Errno::from_raw_os_error(number),
            })),
        }
    }
}

/// A failure to speak with the child, or the child's own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Broken {
    /// The child says which step failed.
    Failed(Failure),
    /// The child ended without a word.
    Silent,
    /// The socket failed.
    Socket(Errno),
}

/// Both ends of a new connection.
pub(crate) fn connect() -> Result<(Setup, ChildEnd), Errno> {
    let (parent, child) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((Setup(parent), ChildEnd(child)))
}

/// Both ends of a new connection with a helper.
pub(crate) fn connect_helper() -> Result<(Helping, ChildEnd), Errno> {
    let (Setup(parent), child) = connect()?;
    Ok((Helping(parent), child))
}

/// The parent's end while a helper works.
#[derive(Debug)]
pub(crate) struct Helping(OwnedFd);

impl Helping {
    /// Takes the number of the descriptor that the helper has made. The helper's end must be
    /// closed here.
    pub(crate) fn made(self) -> Result<RawFd, Broken> {
        match receive(self.0.as_fd())? {
            Some((Message::Made(descriptor), _)) => Ok(descriptor),
            Some((Message::Failed(failure), _)) => Err(Broken::Failed(failure)),
            Some((Message::Ready | Message::Hooks | Message::Listener, _)) | None => {
                Err(Broken::Silent)
            }
        }
    }
}

/// The parent's end while the child sets up.
#[derive(Debug)]
pub(crate) struct Setup(OwnedFd);

impl Setup {
    /// Waits until the child is ready, and takes the terminal that it sends.
    pub(crate) fn ready(self) -> Result<(Waiting, Option<OwnedFd>), Broken> {
        match self.receive()? {
            (Message::Ready, terminal) => Ok((Waiting(self.0), terminal)),
            (Message::Failed(failure), _) => Err(Broken::Failed(failure)),
            (Message::Made(_) | Message::Hooks | Message::Listener, _) => Err(Broken::Silent),
        }
    }

    /// Waits for what a program that answers the child's calls listens to.
    pub(crate) fn listener(&self) -> Result<OwnedFd, Broken> {
        match self.receive()? {
            (Message::Listener, Some(listener)) => Ok(listener),
            (Message::Failed(failure), _) => Err(Broken::Failed(failure)),
            _ => Err(Broken::Silent),
        }
    }

    /// Waits until the child's hooks are to be run.
    pub(crate) fn hooks(&self) -> Result<(), Broken> {
        match self.receive()? {
            (Message::Hooks, _) => Ok(()),
            (Message::Failed(failure), _) => Err(Broken::Failed(failure)),
            (Message::Made(_) | Message::Ready | Message::Listener, _) => Err(Broken::Silent),
        }
    }

    /// Tells the child that something was done for it, and hands it over.
    pub(crate) fn give(&self, given: Option<BorrowedFd<'_>>) -> Result<(), Broken> {
        match send(self.0.as_fd(), [0; SIZE], given) {
            // The child is gone: what it said last, if anything, is still to be read.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(Broken::Socket(errno)),
        }
    }

    /// Closes the child's copy of this end, so that it learns when the parent is gone.
    pub(crate) fn close_copy(&self) {
        sys::close_copy(self.0.as_fd());
    }

    fn receive(&self) -> Result<(Message, Option<OwnedFd>), Broken> {
        receive(self.0.as_fd())?.ok_or(Broken::Silent)
    }
}

/// The parent's end while the child waits to execute the program.
#[derive(Debug)]
pub(crate) struct Waiting(OwnedFd);

impl Waiting {
    /// Lets the child go on, and learns whether the program runs.
    pub(crate) fn go(self) -> Result<(), Broken> {
        self.go_with(None)
    }

    /// The same, with what hooks read.
    pub(crate) fn go_with(self, given: Option<BorrowedFd<'_>>) -> Result<(), Broken> {
        match send(self.0.as_fd(), [0; SIZE], given) {
            // The child is gone: what it said last, if anything, is still to be read.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(errno) => return Err(Broken::Socket(errno)),
        }
        match receive(self.0.as_fd())? {
            None => Ok(()),
            Some((Message::Failed(failure), _)) => Err(Broken::Failed(failure)),
            Some(_) => Err(Broken::Silent),
        }
    }
}

/// Where the first process of an OCI container listens until it is let go.
#[derive(Debug)]
pub(crate) struct Gate(OwnedFd);

impl Gate {
    /// A gate at `address`, where there is none yet.
    pub(crate) fn open(address: &SocketAddrUnix) -> Result<Self, Errno> {
        let socket = sequenced()?;
        rustix::net::bind(&socket, address)?;
        rustix::net::listen(&socket, 1)?;
        Ok(Self(socket))
    }

    /// The starter's end of a connection to whoever listens at `address`.
    pub(crate) fn reach(address: &SocketAddrUnix) -> Result<Waiting, Errno> {
        let socket = sequenced()?;
        rustix::net::connect(&socket, address)?;
        Ok(Waiting(socket))
    }

    /// Where it listens.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Waits to be let go, in the child: where failures are told then, and what hooks read.
    pub(crate) fn wait(&self) -> Result<(ChildEnd, OwnedFd), Errno> {
        loop {
            let accept = || rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC);
            let connection = rustix::io::retry_on_intr(accept)?;
            let mut bytes = [0; SIZE];
            // Who came and went has not let it go.
            if let Ok((SIZE, Some(given))) = read(connection.as_fd(), &mut bytes) {
                return Ok((ChildEnd(connection), given));
            }
        }
    }
}

fn sequenced() -> Result<OwnedFd, Errno> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)
}

fn receive(socket: BorrowedFd<'_>) -> Result<Option<(Message, Option<OwnedFd>)>, Broken> {
    let mut bytes = [0; SIZE];
    let (length, passed) = read(socket, &mut bytes).map_err(Broken::Socket)?;
    match length {
        0 => Ok(None),
        SIZE => Message::decode(bytes).map(|message| Some((message, passed))).ok_or(Broken::Silent),
        _ => Err(Broken::Silent),
    }
}

/// Reads one message and takes the descriptor that it carries. An end that is gone reads as empty.
fn read(socket: BorrowedFd<'_>, bytes: &mut [u8; SIZE]) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut receive = || {
        rustix::io::retry_on_intr(|| {
            let mut parts = [IoSliceMut::new(bytes)];
            rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        })
    };
    // That the other end went with something unread is told before what it said last.
    let received = match receive() {
        Err(Errno::CONNRESET) => receive(),
        received => received,
    };
    let length = match received {
        Ok(message) => message.bytes,
        Err(Errno::CONNRESET) => 0,
        Err(errno) => return Err(errno),
    };
    let passed = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((length, passed))
}

fn send(
    socket: BorrowedFd<'_>,
    bytes: [u8; SIZE],
    passed: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = passed.map(|passed| [passed]);
    if let Some(descriptors) = &descriptors {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let parts = [IoSlice::new(&bytes)];
    rustix::net::sendmsg(socket, &parts, &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// The child's end. Its methods neither allocate nor panic.
#[derive(Debug)]
pub(crate) struct ChildEnd(OwnedFd);

impl ChildEnd {
    /// Says that all is set up, and hands over the terminal.
    pub(crate) fn ready(&self, terminal: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        send(self.0.as_fd(), Message::Ready.encode(), terminal)
    }

    /// Hands over what a program that answers this process's calls listens to.
    pub(crate) fn listener(&self, listener: BorrowedFd<'_>) -> Result<(), Errno> {
        send(self.0.as_fd(), Message::Listener.encode(), Some(listener))
    }

    /// Closes a copy that another process's child has.
    pub(crate) fn close_copy(&self) {
        sys::close_copy(self.0.as_fd());
    }

    /// Says which descriptor is the parent's now.
    pub(crate) fn made(&self, descriptor: RawFd) {
        self.say(&Message::Made(descriptor));
    }

    /// Says what failed.
    pub(crate) fn failed(&self, failure: Failure) {
        self.say(&Message::Failed(failure));
    }

    fn say(&self, message: &Message) {
        // Nobody is left to hear of it when this fails.
        let _ = rustix::net::send(&self.0, &message.encode(), SendFlags::NOSIGNAL);
    }

    /// Waits to be let go; false when the parent is gone.
    pub(crate) fn wait(&self) -> bool {
        let mut bytes = [0; SIZE];
        matches!(read(self.0.as_fd(), &mut bytes), Ok((SIZE, _)))
    }

    /// Says that hooks are to be run, and waits until the parent's have been; gives what they read.
    pub(crate) fn hooks(&self) -> Result<OwnedFd, Errno> {
        self.say(&Message::Hooks);
        self.take()
    }

    /// Waits for a descriptor of the parent's.
    pub(crate) fn take(&self) -> Result<OwnedFd, Errno> {
        let mut bytes = [0; SIZE];
        read(self.0.as_fd(), &mut bytes)?.1.ok_or(Errno::BADMSG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_read_back_from_its_number() {
        for number in 1..=Step::LAST {
            assert_eq!(Step::from_number(number).unwrap() as u32, number);
        }
        assert_eq!(Step::from_number(0), None);
        assert_eq!(Step::from_number(Step::LAST + 1), None);
    }

    #[test]
    fn a_failure_arrives_as_it_was_sent() {
        let (setup, child) = connect().unwrap();
        let failure = Failure { step: Step::Mask, index: 7, errno: Errno::ACCESS };
        child.failed(failure);
        assert!(matches!(setup.ready(), Err(Broken::Failed(arrived)) if arrived == failure));
    }

    #[test]
    fn what_was_said_last_arrives_from_one_who_went_with_something_unread() {
        let (setup, child) = connect().unwrap();
        let failure = Failure { step: Step::Mask, index: 7, errno: Errno::ACCESS };
        setup.give(None).unwrap();
        child.failed(failure);
        drop(child);
        assert!(matches!(setup.hooks(), Err(Broken::Failed(arrived)) if arrived == failure));
    }

    #[test]
    fn the_end_of_the_stream_means_that_the_program_runs() {
        let (setup, child) = connect().unwrap();
        child.ready(None).unwrap();
        let (waiting, _) = setup.ready().unwrap();
        let child = std::thread::spawn(move || child.wait());
        waiting.go().unwrap();
        assert!(child.join().unwrap());
    }

    #[test]
    fn a_silent_child_is_told_from_a_ready_one() {
        let (setup, child) = connect().unwrap();
        drop(child);
        assert!(matches!(setup.ready(), Err(Broken::Silent)));
    }

    #[test]
    fn a_child_learns_that_its_parent_is_gone() {
        let (setup, child) = connect().unwrap();
        drop(setup);
        assert!(!child.wait());
    }
}
