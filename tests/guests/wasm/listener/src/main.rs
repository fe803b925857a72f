//! For WASI 0.1: serves the socket that it was given, as programs do that systemd starts.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener},
    os::fd::FromRawFd as _,
};

fn main() {
    let sockets: i32 = env::var("LISTEN_FDS").map_or(0, |count| count.parse().expect("a number"));
    let clients: usize = env::args().nth(1).map_or(1, |count| count.parse().expect("a number"));
    println!("sockets {sockets}");
    for number in 0..sockets {
        // SAFETY: who sets LISTEN_FDS says that these are listening sockets and this program's.
        let listener = unsafe { TcpListener::from_raw_fd(3 + number) };
        for _ in 0..clients {
            let (mut client, _) = listener.accept().expect("a client");
            let mut text = String::new();
            let mut buffer = [0; 1024];
            while !text.ends_with('\n') {
                match client.read(&mut buffer).expect("to read") {
                    0 => break,
                    count => text.push_str(std::str::from_utf8(&buffer[..count]).expect("text")),
                }
            }
            client.write_all(text.to_uppercase().as_bytes()).expect("to write");
            client.shutdown(Shutdown::Write).expect("to shut down");
            println!("served {}", text.trim());
        }
    }
}
