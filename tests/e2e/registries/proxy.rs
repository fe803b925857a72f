//! A proxy of HTTP/1.1 between a client and a registry, which notes what is asked and does to answers
//! and requests what a test tells it to. One request a connection.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    length: u64,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether it is about the content of a blob.
    pub(super) fn is_blob(&self) -> bool {
        self.path.contains("/blobs/sha256:")
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is passed on, and the answer passed back.
    Pass,
    /// The connection is closed without an answer.
    Drop,
    /// The answer ends after so many bytes, headers counted.
    CutAnswer(u64),
    /// What is sent with the request ends after so many bytes.
    CutRequest(u64),
    /// The byte of the answer at this place is another.
    SpoilAnswer(u64),
    /// The byte of what is sent with the request.
    SpoilRequest(u64),
    /// The answer stands still after so many bytes, for so long.
    Pause(u64, Duration),
    /// The proxy answers by itself, with this.
    Answer(String),
}

type Decide = dyn Fn(&Asked) -> Fate + Send + Sync;

/// Ends when it is dropped.
pub(super) struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    ended: Arc<AtomicBool>,
}

impl Proxy {
    /// In front of the registry at `target`.
    pub(super) fn start(
        target: &str,
        decide: impl Fn(&Asked) -> Fate + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (asked, ended) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<AtomicBool>::default());
        let decide: Arc<Decide> = Arc::new(decide);
        let (target, notes, over) = (target.to_owned(), Arc::clone(&asked), Arc::clone(&ended));
        thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let (target, decide, notes) =
                    (target.clone(), Arc::clone(&decide), Arc::clone(&notes));
                // Either side may go at any time, which is what is tested.
                thread::spawn(move || drop(serve(client, &target, &*decide, &notes)));
            }
        });
        Self { address, asked, ended }
    }

    /// One that only looks on.
    pub(super) fn watching(target: &str) -> Self {
        Self::start(target, |_| Fate::Pass)
    }

    pub(super) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// What was asked for since this was last called.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes who waits for a client.
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(
    client: TcpStream,
    target: &str,
    decide: &Decide,
    notes: &Mutex<Vec<Asked>>,
) -> io::Result<()> {
    let mut from_client = BufReader::new(client.try_clone()?);
    let Some((asked, head)) = read_head(&mut from_client)? else { return Ok(()) };
    notes.lock().unwrap().push(asked.clone());
    let fate = decide(&asked);
    let mut client = client;
    match &fate {
        Fate::Drop => return Ok(()),
        Fate::Answer(answer) => {
            io::copy(&mut from_client.take(asked.length), &mut io::sink())?;
            client.write_all(answer.as_bytes())?;
            return client.shutdown(Shutdown::Write);
        }
        _ => {}
    }
    let server = TcpStream::connect(target)?;
    let mut to_server = server.try_clone()?;
    to_server.write_all(head.as_bytes())?;
    let body = from_client.take(asked.length);
    let sent = match fate {
        Fate::CutRequest(length) => {
            let sent = io::copy(&mut body.take(length), &mut to_server);
            to_server.shutdown(Shutdown::Both)?;
            sent?;
            return Ok(());
        }
        Fate::SpoilRequest(place) => copy_spoilt(body, &mut to_server, place),
        _ => copy_spoilt(body, &mut to_server, u64::MAX),
    };
    // A registry may answer before it has read all.
    drop(sent);
    let mut answer = server;
    match fate {
        Fate::CutAnswer(length) => io::copy(&mut answer.take(length), &mut client).map(drop),
        Fate::SpoilAnswer(place) => copy_spoilt(answer, &mut client, place),
        Fate::Pause(length, time) => {
            io::copy(&mut (&mut answer).take(length), &mut client)?;
            thread::sleep(time);
            io::copy(&mut answer, &mut client).map(drop)
        }
        _ => io::copy(&mut answer, &mut client).map(drop),
    }
}

/// Copies with the byte at `place` changed.
fn copy_spoilt(mut from: impl Read, to: &mut impl Write, place: u64) -> io::Result<()> {
    io::copy(&mut (&mut from).take(place), to)?;
    let mut byte = [0];
    if from.read(&mut byte)? == 1 {
        to.write_all(&[byte[0] ^ 1])?;
        io::copy(&mut from, to)?;
    }
    Ok(())
}

/// A request's head, as it was and as it is passed on.
fn read_head(client: &mut impl BufRead) -> io::Result<Option<(Asked, String)>> {
    let mut line = String::new();
    if client.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut asked = Asked {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        ..Asked::default()
    };
    let mut head = line.clone();
    loop {
        line.clear();
        client.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            asked.length = value.parse().unwrap_or(0);
        }
        if name != "connection" {
            head += &line;
        }
        asked.headers.push((name, value));
    }
    head += "Connection: close\r\n\r\n";
    Ok(Some((asked, head)))
}
