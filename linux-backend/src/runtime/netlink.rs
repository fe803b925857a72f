//! Network devices, as the kernel is asked about them and told what to do with them (rtnetlink(7)).

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    thread,
};

use rustix::{
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::SocketAddrNetlink,
    },
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

const NEW_LINK: u16 = 16; // RTM_NEWLINK
const GET_LINK: u16 = 18; // RTM_GETLINK
const NEW_ADDRESS: u16 = 20; // RTM_NEWADDR
const GET_ADDRESS: u16 = 22; // RTM_GETADDR

const REQUEST: u16 = 0x1; // NLM_F_REQUEST
const ACKNOWLEDGE: u16 = 0x4; // NLM_F_ACK
const ALL: u16 = 0x300; // NLM_F_DUMP
const CREATE: u16 = 0x600; // NLM_F_CREATE | NLM_F_EXCL

const FAILED: u16 = 2; // NLMSG_ERROR
const DONE: u16 = 3; // NLMSG_DONE

const LINK_NAME: u16 = 3; // IFLA_IFNAME
const LINK_NAMESPACE: u16 = 28; // IFLA_NET_NS_FD
const UP: u32 = 1; // IFF_UP

// Of an address: that of a peer, the own, that of all, and flags.
const ADDRESS: u16 = 1; // IFA_ADDRESS
const LOCAL: u16 = 2; // IFA_LOCAL
const BROADCAST: u16 = 4; // IFA_BROADCAST
const FLAGS: u16 = 8; // IFA_FLAGS
const PERMANENT: u32 = 0x80; // IFA_F_PERMANENT
/// `RT_SCOPE_UNIVERSE`.
const EVERYWHERE: u8 = 0;

/// The size of a message's head, and of what tells of a link and of an address.
const HEAD: usize = 16;
const LINK: usize = 16;
const OF_ADDRESS: usize = 8;

/// An address of a device: what is told of it, without the device, and its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A conversation with the kernel about the devices of one network namespace.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// About those of this process.
    pub(super) fn open() -> io::Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let flags = SocketFlags::CLOEXEC;
        // The protocol 0 is that of devices, addresses and routes.
        let socket = rustix::net::socket_with(family, kind, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// About those of another namespace: a socket stays in that in which it was made.
    pub(super) fn within(namespace: &OwnedFd) -> io::Result<Self> {
        let namespace = namespace.try_clone()?;
        let open = move || {
            // Of this thread alone, which ends.
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind)?;
            Self::open()
        };
        let opened = thread::spawn(open).join();
        opened.unwrap_or_else(|_| Err(io::Error::other("the thread that opens a socket ended")))
    }

    /// Sends a request; gives the kinds and bodies of the answers.
    fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<(u16, Vec<u8>)>> {
        self.sequence += 1;
        // All of several, or the only one and that it was done.
        let flags = REQUEST | flags | if flags & ALL == ALL { 0 } else { ACKNOWLEDGE };
        let length = u32::try_from(HEAD + body.len()).map_err(io::Error::other)?;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        rustix::net::send(&self.socket, &message, SendFlags::empty())?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let receive = || rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty());
            let (count, _) = rustix::io::retry_on_intr(receive)?;
            let mut rest = buffer.get(..count).unwrap_or_default();
            while let Some((kind, body, after)) = message_of(rest) {
                match kind {
                    DONE => return Ok(answers),
                    FAILED => {
                        return match number(body, 0).map(u32::cast_signed) {
                            Some(0) => Ok(answers),
                            Some(errno) => Err(io::Error::from_raw_os_error(-errno)),
                            None => Err(io::ErrorKind::InvalidData.into()),
                        };
                    }
                    kind => answers.push((kind, body.to_vec())),
                }
                rest = after;
            }
        }
    }

    /// The number of the device `name`.
    pub(super) fn find(&mut self, name: &str) -> io::Result<u32> {
        let body = [link(0, 0, 0), attribute(LINK_NAME, &text(name))].concat();
        let answers = self.request(GET_LINK, 0, &body)?;
        answers
            .first()
            .and_then(|(_, body)| number(body, 4))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The numbers of all devices.
    pub(super) fn all(&mut self) -> io::Result<Vec<u32>> {
        let answers = self.request(GET_LINK, ALL, &link(0, 0, 0))?;
        Ok(answers.iter().filter_map(|(_, body)| number(body, 4)).collect())
    }

    /// Has a device be up, or down.
    pub(super) fn switch(&mut self, device: u32, up: bool) -> io::Result<()> {
        let flags = if up { UP } else { 0 };
        self.request(NEW_LINK, 0, &link(device, flags, UP)).map(drop)
    }

    /// The addresses of a device that are for good and known everywhere.
    pub(super) fn addresses(&mut self, device: u32) -> io::Result<Vec<Address>> {
        let answers = self.request(GET_ADDRESS, ALL, &[0; OF_ADDRESS])?;
        let own = answers.iter().filter(|(_, body)| number(body, 4) == Some(device));
        Ok(own.filter_map(|(_, body)| lasting(body)).collect())
    }

    /// Gives a device an address.
    pub(super) fn add(&mut self, device: u32, address: &Address) -> io::Result<()> {
        let mut body = vec![address.family, address.prefix, 0, EVERYWHERE];
        body.extend(device.to_ne_bytes());
        for (kind, value) in &address.attributes {
            body.extend(attribute(*kind, value));
        }
        self.request(NEW_ADDRESS, CREATE, &body).map(drop)
    }

    /// Moves a device into a namespace, where it is called `name`.
    pub(super) fn give(
        &mut self,
        device: u32,
        name: &str,
        namespace: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let body = [
            link(device, 0, 0),
            attribute(LINK_NAME, &text(name)),
            attribute(LINK_NAMESPACE, &namespace.as_raw_fd().to_ne_bytes()),
        ];
        self.request(NEW_LINK, 0, &body.concat()).map(drop)
    }
}

/// The first message of `bytes`: its kind and its body; and what follows it.
fn message_of(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(number(bytes, 0)?).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEAD..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// What is told of a link: its number, its flags, and which of them are to be changed.
fn link(device: u32, flags: u32, change: u32) -> Vec<u8> {
    let numbers = [0, device, flags, change].map(u32::to_ne_bytes);
    numbers.concat()
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attributes(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((&[a, b, c, d], _)) = bytes.split_first_chunk::<4>() {
        let (length, kind) = (u16::from_ne_bytes([a, b]).into(), u16::from_ne_bytes([c, d]));
        let Some(value) = bytes.get(4..length) else { break };
        found.push((kind, value.to_vec()));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The address that a message tells of, where it is for good and known everywhere.
fn lasting(body: &[u8]) -> Option<Address> {
    let &[family, prefix, flags, scope] = body.first_chunk::<4>()?;
    let attributes = attributes(body.get(OF_ADDRESS..)?);
    let more = attributes.iter().find(|(kind, _)| *kind == FLAGS);
    let flags = more.and_then(|(_, value)| number(value, 0)).unwrap_or_else(|| flags.into());
    (scope == EVERYWHERE && flags & PERMANENT != 0).then(|| {
        let kept = [ADDRESS, LOCAL, BROADCAST];
        let attributes = attributes.into_iter().filter(|(kind, _)| kept.contains(kind)).collect();
        Address { family, prefix, attributes }
    })
}

const _: () = assert!(LINK == 16 && HEAD == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_found_by_its_name() {
        let mut netlink = Netlink::open().unwrap();
        let loopback = netlink.find("lo").unwrap();
        assert!(netlink.all().unwrap().contains(&loopback));
        assert!(netlink.find("no-such-device").is_err());
        // Its own addresses are known to the machine alone.
        assert_eq!(netlink.addresses(loopback).unwrap(), []);
    }

    #[test]
    fn addresses_that_last_are_kept_without_their_device() {
        let of = |flags: u32, scope: u8| {
            let mut body = vec![2, 24, 0, scope, 9, 0, 0, 0];
            body.extend(attribute(LOCAL, &[10, 0, 0, 1]));
            body.extend(attribute(3, b"eth0\0"));
            body.extend(attribute(FLAGS, &flags.to_ne_bytes()));
            lasting(&body)
        };
        let attributes = vec![(LOCAL, vec![10, 0, 0, 1])];
        assert_eq!(of(PERMANENT, EVERYWHERE), Some(Address { family: 2, prefix: 24, attributes }));
        assert_eq!(of(0, EVERYWHERE), None);
        assert_eq!(of(PERMANENT, 254), None);
    }

    #[test]
    fn messages_that_lie_about_their_length_end_the_reading() {
        assert_eq!(message_of(&[255, 0, 0, 0, 2, 0, 0, 0]), None);
        assert_eq!(message_of(&[0; 16]), None);
        assert_eq!(attributes(&[200, 0, 1, 0, 9]), []);
        assert_eq!(attributes(&[0, 0, 1, 0, 9, 9, 9, 9]), []);
    }
}
