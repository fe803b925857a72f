//! `wasi:sockets` with peers on this machine. The guest is `tests/guests/wasm`.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use silo_isolation::{Error, IsolationBackend as _, Network, Signal, Stdio};

use super::harness::{Container, program};

/// A container that does these things to the network.
fn guest(commands: &[&str]) -> Option<Container> {
    Some(Container::new(program("network.wasm")?).args(commands.iter().copied()))
}

/// What a guest says that does `commands` and is allowed `peers`.
fn says(commands: &[&str], peers: &[String]) -> Option<String> {
    Some(guest(commands)?.allow(peers).run().ok())
}

/// A server on this machine that gives back what it gets, and where it is.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    address
}

/// Connects as soon as somebody listens.
fn connect(address: SocketAddr) -> TcpStream {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && Instant::now() < end => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{address}: {error}"),
        }
    }
}

fn ask(address: SocketAddr, text: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    let mut writing = stream.try_clone().unwrap();
    let sent = text.to_vec();
    let writer = thread::spawn(move || {
        writing.write_all(&sent).unwrap();
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    writer.join().unwrap();
    answer
}

#[test]
fn a_guest_without_a_network_reaches_nobody_and_listens_nowhere() {
    let server = echo_server().to_string();
    let commands = [
        "connect",
        &server,
        "bind",
        "0.0.0.0:0",
        "bind",
        "127.0.0.1:8080",
        "listen",
        "0.0.0.0:80",
        "udp-bind",
        "0.0.0.0:0",
        "udp-send",
        &server,
        "x",
        "lookup",
        "localhost",
        "lookup",
        "127.0.0.1",
    ];
    let Some(said) = says(&commands, &[]) else { return };
    assert!(said.lines().all(|line| line == "access-denied"), "{said}");
    assert_eq!(said.lines().count(), 8);
}

#[test]
fn an_allowed_peer_is_reached_and_no_other() {
    let (friend, other) = (echo_server(), echo_server());
    let elsewhere = format!("127.0.0.2:{}", friend.port());
    let (friend, other) = (friend.to_string(), other.to_string());
    let commands = [
        "say",
        &friend,
        "hello",
        "connect",
        &other,
        "connect",
        &elsewhere,
        "from",
        "0.0.0.0:0",
        &friend,
        "from",
        "0.0.0.0:0",
        &other,
        "bind",
        "127.0.0.1:8080",
        "listen",
        "0.0.0.0:0",
    ];
    let Some(said) = says(&commands, std::slice::from_ref(&friend)) else { return };
    let denied = "access-denied";
    let expected = ["ok hello", denied, denied, "ok ", denied, denied, denied];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    // By a block of addresses, by any, and by a name.
    for peer in ["127.0.0.0/8", "*", "localhost"] {
        let port = friend.rsplit_once(':').unwrap().1;
        let commands = ["lookup", "localhost", "say", &friend, "hello", "connect", &other];
        let Some(said) = says(&commands, &[format!("{peer}:{port}/tcp")]) else { return };
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[1..], ["ok hello", denied], "{peer}");
        assert_eq!(lines[0] == denied, peer == "127.0.0.0/8", "{said}");
    }
}

#[test]
fn a_peer_that_is_not_there_is_told_from_one_that_is_denied() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let Some(said) = says(&["connect", &gone], &["127.0.0.1".to_owned()]) else { return };
    assert_eq!(said, "connection-refused\n");
}

#[test]
fn names_that_are_allowed_are_looked_up_and_no_others() {
    let allowed = ["localhost:1".to_owned(), "nobody.invalid".to_owned()];
    let commands = [
        "lookup",
        "localhost",
        "lookup",
        "LOCALHOST.",
        "lookup",
        "example.com",
        "lookup",
        "nobody.invalid",
        "lookup",
        "10.0.0.1",
        "lookup",
        "a b",
        "lookup",
        "127.1",
    ];
    let Some(said) = says(&commands, &allowed) else { return };
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].contains("127.0.0.1") || lines[0].contains("::1"), "{said}");
    assert_eq!(lines[1], lines[0]);
    let invalid = "invalid-argument";
    assert_eq!(lines[2..], ["access-denied", "name-unresolvable", "ok 10.0.0.1", invalid, invalid]);
}

#[test]
fn a_published_port_leads_to_the_guest_and_is_its_own() {
    let Some(container) = guest(&["echo", "0.0.0.0:80", "2"]) else { return };
    let container = container.publish(&["127.0.0.1::80"]);
    let running = container.start();
    let [port] = running.sandbox.ports()[..] else { panic!("{:?}", running.sandbox.ports()) };
    assert_ne!(port.host_port, 0);
    assert_eq!(ask(port.host(), b"hello"), b"hello");
    let much: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    assert!(ask(port.host(), &much) == much);
    let from = "from 127.0.0.1 to 0.0.0.0:80\n";
    assert_eq!(running.finish().ok(), format!("listening 0.0.0.0:80\n{from}{from}ok \n"));
}

#[test]
fn ports_that_are_not_published_cannot_be_listened_on() {
    let commands = [
        "listen",
        "0.0.0.0:80",
        "listen",
        "0.0.0.0:81",
        "listen",
        "127.0.0.1:80",
        "listen",
        "127.0.0.2:80",
        "listen",
        "8.8.8.8:80",
        "listen",
        "[::]:80",
        "listen",
        "[::1]:81",
        "bind",
        "0.0.0.0:0",
        "twice",
        "0.0.0.0:80",
        "udp-bind",
        "0.0.0.0:80",
        "connect",
        "127.0.0.1:80",
    ];
    let Some(container) = guest(&commands) else { return };
    let said = container.publish(&["127.0.0.1::80"]).run().ok();
    let denied = "access-denied";
    let expected = [
        "ok 0.0.0.0:80",
        denied,
        "ok 127.0.0.1:80",
        "ok 127.0.0.2:80",
        "address-not-bindable",
        "ok [::]:80",
        denied,
        denied,
        "ok address-in-use ok",
        denied,
        denied,
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_port_of_the_host_that_is_taken_is_told_before_the_guest_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let Some(container) = guest(&["connect", "127.0.0.1:1"]) else { return };
    let error = container.publish(&[&format!("{address}:80")]).refused();
    assert_eq!(error.exit_code(), 125);
    assert_eq!(error.to_string(), format!("cannot publish {address}/tcp"));
    let Error::Step { source, .. } = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("in use"), "{source}");
}

#[test]
fn several_addresses_lead_to_one_port() {
    let Some(container) = guest(&["echo", "[::]:80", "2"]) else { return };
    let running = container.publish(&["127.0.0.1::80", "127.0.0.2::80"]).start();
    for port in running.sandbox.ports() {
        assert_eq!(ask(port.host(), b"hello"), b"hello");
    }
    let said = running.finish().ok();
    assert_eq!(said.matches("from ::ffff:127.0.0.1 to [::]:80").count(), 2, "{said}");
}

#[test]
fn on_the_hosts_network_a_guest_does_what_a_program_of_the_host_does() {
    let server = echo_server().to_string();
    let Some(mut container) = guest(&["say", &server, "x", "echo", "127.0.0.1:0", "1"]) else {
        return;
    };
    container.bundle.network = Network::Host;
    let (_stdin, mut out, sandbox) = start(&container);
    let mut said = String::new();
    while !said.ends_with('\n') || said.lines().count() < 2 {
        let mut byte = [0];
        out.read_exact(&mut byte).unwrap();
        said.push(byte[0].into());
    }
    let (first, listening) = said.trim().split_once('\n').unwrap();
    assert_eq!(first, "ok x");
    let address: SocketAddr = listening.strip_prefix("listening ").unwrap().parse().unwrap();
    assert_eq!(ask(address, b"hello"), b"hello");
    assert_eq!(sandbox.wait().unwrap().code(), 0);
    sandbox.delete().unwrap();
}

type Started = (std::io::PipeWriter, std::io::PipeReader, Box<dyn silo_isolation::Sandbox>);

/// Starts a guest whose output the test reads itself.
fn start(container: &Container) -> Started {
    assert_eq!(container.backend.admit(&container.bundle), []);
    let (stdin, writer) = std::io::pipe().unwrap();
    let (out, stdout) = std::io::pipe().unwrap();
    let stderr = stdout.try_clone().unwrap();
    let stdio = Stdio::Pipes { stdin: Some(stdin), stdout, stderr };
    let sandbox = container.backend.create(&container.bundle, stdio).unwrap();
    sandbox.start().unwrap();
    (writer, out, sandbox)
}

#[test]
fn a_guest_that_waits_for_clients_ends_when_it_is_told_to() {
    let Some(container) = guest(&["echo", "0.0.0.0:80", "1"]) else { return };
    let running = container.publish(&["127.0.0.1::80"]).start();
    let _client = connect(running.sandbox.ports()[0].host());
    let begin = Instant::now();
    running.sandbox.signal(Signal::TERM).unwrap();
    assert_eq!(running.finish().exit.code(), 143);
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[test]
fn datagrams_go_to_allowed_peers_alone() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (peer_at, stranger_at) =
        (peer.local_addr().unwrap().to_string(), stranger.local_addr().unwrap().to_string());
    let answering = peer.try_clone().unwrap();
    let thread = thread::spawn(move || {
        let mut buffer = [0; 64];
        let (count, from) = answering.recv_from(&mut buffer).unwrap();
        // A stranger's answer is not heard.
        stranger.send_to(b"forged", from).unwrap();
        answering.send_to(&buffer[..count], from).unwrap();
        stranger.set_nonblocking(true).unwrap();
        stranger.recv_from(&mut buffer).map(|_| ()).unwrap_err().kind()
    });
    let commands = [
        "udp-send",
        &stranger_at,
        "x",
        "udp-connect",
        &stranger_at,
        "udp-connect",
        &peer_at,
        "udp-ask",
        &peer_at,
        "question",
        "udp-bind",
        "0.0.0.0:53",
    ];
    let Some(said) = says(&commands, std::slice::from_ref(&peer_at)) else { return };
    let denied = "access-denied";
    assert_eq!(said.lines().collect::<Vec<_>>(), [denied, denied, "ok ", "ok question", denied]);
    assert_eq!(thread.join().unwrap(), ErrorKind::WouldBlock);
}

#[test]
fn a_published_datagram_port_answers_who_asked_and_nobody_else() {
    let Some(container) = guest(&["udp-echo", "0.0.0.0:53", "1"]) else { return };
    let running = container.publish(&["127.0.0.1::53/udp"]).start();
    let server = running.sandbox.ports()[0].host();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"question", server).unwrap();
    let mut buffer = [0; 64];
    let (count, from) = client.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..count], from), (&b"question"[..], server));
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
    // Who listens by IPv6 answers those who come by IPv4.
    let Some(container) = guest(&["udp-echo", "[::]:53", "1"]) else { return };
    let running = container.publish(&["127.0.0.1::53/udp"]).start();
    client.send_to(b"again", running.sandbox.ports()[0].host()).unwrap();
    assert_eq!(client.recv_from(&mut buffer).unwrap().0, 5);
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();

    let victim = UdpSocket::bind("127.0.0.1:0").unwrap();
    let victim_at = victim.local_addr().unwrap().to_string();
    let Some(container) = guest(&["udp-turn", "0.0.0.0:53", &victim_at]) else { return };
    let running = container.publish(&["127.0.0.1::53/udp"]).start();
    client.send_to(b"reflect", running.sandbox.ports()[0].host()).unwrap();
    assert_eq!(running.finish().ok(), "listening 0.0.0.0:53\naccess-denied\n");
    victim.set_nonblocking(true).unwrap();
    assert!(victim.recv_from(&mut buffer).is_err());
}

#[test]
fn a_guest_has_so_many_sockets_and_no_more() {
    let Some(said) = says(&["many", "5000"], &["127.0.0.1".to_owned()]) else { return };
    assert_eq!(said, "ok 1024 new-socket-limit\n");
}

#[test]
fn a_program_for_wasi_0_1_is_given_its_ports() {
    let Some(program) = program("listener.wasm") else { return };
    let mut container =
        Container::new(program).args(["2"]).publish(&["127.0.0.1::80", "127.0.0.1::81"]);
    container.bundle.process.env = vec!["LISTEN_FDS=7".to_owned()];
    let running = container.start();
    let ports = running.sandbox.ports();
    for (port, texts) in ports.iter().zip([["one\n", "two\n"], ["three\n", "four\n"]]) {
        for text in texts {
            let mut stream = connect(port.host());
            stream.write_all(text.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, text.to_uppercase());
        }
    }
    let served = "served one\nserved two\nserved three\nserved four\n";
    assert_eq!(running.finish().ok(), format!("sockets 2\n{served}"));
}

#[test]
fn a_program_for_wasi_0_1_without_ports_has_no_sockets() {
    let Some(program) = program("listener.wasm") else { return };
    assert_eq!(Container::new(program).run().ok(), "sockets 0\n");
}
