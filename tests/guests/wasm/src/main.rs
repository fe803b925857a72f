//! Does to the network what its arguments say, one command after the other, and prints what came of it:
//! `ok ...`, or the error code by its name.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr},
};

use wasip2::sockets::{
    instance_network::instance_network,
    ip_name_lookup::resolve_addresses,
    network::{
        ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
    },
    tcp::{InputStream, OutputStream, ShutdownType, TcpSocket},
    tcp_create_socket::create_tcp_socket,
    udp::{OutgoingDatagram, UdpSocket},
    udp_create_socket::create_udp_socket,
};

fn main() {
    let mut args = env::args().skip(1);
    while let Some(command) = args.next() {
        let mut next = || args.next().expect("another argument");
        let done = match command.as_str() {
            "connect" => connect(address(&next()), None),
            "say" => connect(address(&next()), Some(next())),
            "from" => connect_from(address(&next()), address(&next())),
            "bind" => bind(address(&next())).map(|socket| at(&socket)),
            "listen" => listen(address(&next())).map(|socket| at(&socket)),
            "echo" => echo(address(&next()), next().parse().expect("a number")),
            "twice" => twice(address(&next())),
            "lookup" => lookup(&next()),
            "udp-bind" => udp_bind(address(&next())).map(|socket| udp_at(&socket)),
            "udp-send" => udp_send(address(&next()), &next(), false),
            "udp-ask" => udp_send(address(&next()), &next(), true),
            "udp-connect" => udp_connect(address(&next())),
            "udp-echo" => udp_echo(address(&next()), next().parse().expect("a number")),
            "udp-turn" => udp_turn(address(&next()), address(&next())),
            "many" => many(next().parse().expect("a number")),
            other => panic!("no command {other}"),
        };
        match done {
            Ok(text) => println!("ok {text}"),
            Err(code) => println!("{}", code.name()),
        }
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

fn wasi(address: SocketAddr) -> IpSocketAddress {
    match address {
        SocketAddr::V4(v4) => IpSocketAddress::Ipv4(Ipv4SocketAddress {
            port: v4.port(),
            address: v4.ip().octets().into(),
        }),
        SocketAddr::V6(v6) => IpSocketAddress::Ipv6(Ipv6SocketAddress {
            port: v6.port(),
            flow_info: 0,
            address: v6.ip().segments().into(),
            scope_id: 0,
        }),
    }
}

fn host(address: IpSocketAddress) -> SocketAddr {
    match address {
        IpSocketAddress::Ipv4(v4) => (<[u8; 4]>::from(v4.address), v4.port).into(),
        IpSocketAddress::Ipv6(v6) => (<[u16; 8]>::from(v6.address), v6.port).into(),
    }
}

fn family(address: SocketAddr) -> IpAddressFamily {
    if address.is_ipv4() { IpAddressFamily::Ipv4 } else { IpAddressFamily::Ipv6 }
}

fn at(socket: &TcpSocket) -> String {
    socket.local_address().map_or_else(|code| code.name().to_owned(), |own| host(own).to_string())
}

/// Tries until it does not have to wait.
fn wait<T>(
    socket: &TcpSocket,
    mut finish: impl FnMut() -> Result<T, ErrorCode>,
) -> Result<T, ErrorCode> {
    loop {
        match finish() {
            Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
            done => return done,
        }
    }
}

fn bind(address: SocketAddr) -> Result<TcpSocket, ErrorCode> {
    let socket = create_tcp_socket(family(address))?;
    socket.start_bind(&instance_network(), wasi(address))?;
    socket.finish_bind()?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> Result<TcpSocket, ErrorCode> {
    let socket = bind(address)?;
    socket.start_listen()?;
    socket.finish_listen()?;
    Ok(socket)
}

fn talk(input: &mut InputStream, output: &mut OutputStream, text: &str) -> String {
    output.write_all(text.as_bytes()).expect("to send");
    output.flush().expect("to flush");
    let mut answer = vec![0; text.len()];
    input.read_exact(&mut answer).expect("an answer");
    String::from_utf8(answer).expect("text")
}

fn connect(to: SocketAddr, text: Option<String>) -> Result<String, ErrorCode> {
    let socket = create_tcp_socket(family(to))?;
    socket.start_connect(&instance_network(), wasi(to))?;
    let (mut input, mut output) = wait(&socket, || socket.finish_connect())?;
    let remote = host(socket.remote_address()?);
    assert_eq!(remote, to);
    let answer = text.map(|text| talk(&mut input, &mut output, &text)).unwrap_or_default();
    socket.shutdown(ShutdownType::Both)?;
    Ok(answer)
}

/// Connects from an address of its choice.
fn connect_from(from: SocketAddr, to: SocketAddr) -> Result<String, ErrorCode> {
    let socket = bind(from)?;
    socket.start_connect(&instance_network(), wasi(to))?;
    wait(&socket, || socket.finish_connect())?;
    Ok(String::new())
}

/// Gives so many clients back what they send, until they end.
fn echo(own: SocketAddr, clients: usize) -> Result<String, ErrorCode> {
    let socket = listen(own)?;
    println!("listening {}", at(&socket));
    for _ in 0..clients {
        let (client, mut input, mut output) = wait(&socket, || socket.accept())?;
        let (local, remote) = (host(client.local_address()?), host(client.remote_address()?));
        println!("from {} to {local}", remote.ip());
        let mut buffer = vec![0; 65536];
        loop {
            match std::io::Read::read(&mut input, &mut buffer).expect("to read") {
                0 => break,
                count => output.write_all(&buffer[..count]).expect("to send"),
            }
        }
        output.flush().expect("to flush");
        client.shutdown(ShutdownType::Send)?;
    }
    Ok(String::new())
}

/// Listens, and again meanwhile and afterwards.
fn twice(own: SocketAddr) -> Result<String, ErrorCode> {
    let first = listen(own)?;
    let meanwhile = bind(own).map_or_else(|code| code.name().to_owned(), |_| "ok".to_owned());
    drop(first);
    let afterwards = listen(own).map_or_else(|code| code.name().to_owned(), |_| "ok".to_owned());
    Ok(format!("{meanwhile} {afterwards}"))
}

fn lookup(name: &str) -> Result<String, ErrorCode> {
    let stream = resolve_addresses(&instance_network(), name)?;
    let mut found = Vec::new();
    loop {
        match stream.resolve_next_address() {
            Err(ErrorCode::WouldBlock) => stream.subscribe().block(),
            Err(code) => return Err(code),
            Ok(None) => break,
            Ok(Some(IpAddress::Ipv4(v4))) => found.push(IpAddr::from(<[u8; 4]>::from(v4)).to_string()),
            Ok(Some(IpAddress::Ipv6(v6))) => found.push(IpAddr::from(<[u16; 8]>::from(v6)).to_string()),
        }
    }
    Ok(found.join(" "))
}

fn udp_bind(address: SocketAddr) -> Result<UdpSocket, ErrorCode> {
    let socket = create_udp_socket(family(address))?;
    socket.start_bind(&instance_network(), wasi(address))?;
    socket.finish_bind()?;
    Ok(socket)
}

fn udp_at(socket: &UdpSocket) -> String {
    socket.local_address().map_or_else(|code| code.name().to_owned(), |own| host(own).to_string())
}

fn any(peer: SocketAddr) -> SocketAddr {
    if peer.is_ipv4() { address("0.0.0.0:0") } else { address("[::]:0") }
}

fn udp_send(to: SocketAddr, text: &str, ask: bool) -> Result<String, ErrorCode> {
    let socket = udp_bind(any(to))?;
    let (input, output) = socket.stream(None)?;
    output.check_send()?;
    let datagram =
        OutgoingDatagram { data: text.as_bytes().to_vec(), remote_address: Some(wasi(to)) };
    let sent = output.send(&[datagram])?;
    if !ask {
        return Ok(sent.to_string());
    }
    loop {
        if let Some(answer) = input.receive(1)?.pop() {
            return Ok(String::from_utf8(answer.data).expect("text"));
        }
        input.subscribe().block();
    }
}

fn udp_connect(to: SocketAddr) -> Result<String, ErrorCode> {
    udp_bind(any(to))?.stream(Some(wasi(to)))?;
    Ok(String::new())
}

/// Answers so many datagrams.
fn udp_echo(own: SocketAddr, count: usize) -> Result<String, ErrorCode> {
    let socket = udp_bind(own)?;
    println!("listening {}", udp_at(&socket));
    let (input, output) = socket.stream(None)?;
    let mut answered = 0;
    while answered < count {
        for datagram in input.receive(1)? {
            output.check_send()?;
            let answer = OutgoingDatagram {
                data: datagram.data,
                remote_address: Some(datagram.remote_address),
            };
            output.send(&[answer])?;
            answered += 1;
        }
        input.subscribe().block();
    }
    Ok(String::new())
}

/// Waits for a datagram, and sends it to someone else.
fn udp_turn(own: SocketAddr, other: SocketAddr) -> Result<String, ErrorCode> {
    let socket = udp_bind(own)?;
    println!("listening {}", udp_at(&socket));
    let (input, output) = socket.stream(None)?;
    loop {
        if let Some(datagram) = input.receive(1)?.pop() {
            output.check_send()?;
            let turned =
                OutgoingDatagram { data: datagram.data, remote_address: Some(wasi(other)) };
            return output.send(&[turned]).map(|sent| sent.to_string());
        }
        input.subscribe().block();
    }
}

/// Makes sockets until one more is refused, or so many.
fn many(most: usize) -> Result<String, ErrorCode> {
    let mut sockets = Vec::new();
    while sockets.len() < most {
        match create_tcp_socket(IpAddressFamily::Ipv4) {
            Ok(socket) => sockets.push(socket),
            Err(code) => return Ok(format!("{} {}", sockets.len(), code.name())),
        }
    }
    Ok(sockets.len().to_string())
}
