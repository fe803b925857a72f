//! `wasi:http` with clients and servers on this machine. The guest is `tests/guests/wasm/http`.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use silo_isolation::{ExitStatus, Network, Signal};

use super::harness::{Container, Running, program};

/// A container that answers requests at a free port of this machine.
fn service() -> Option<Container> {
    Some(Container::new(program("http.wasm")?).publish(&["127.0.0.1::80"]))
}

fn at(running: &Running) -> SocketAddr {
    running.sandbox.ports()[0].host()
}

/// The whole answer to a request, its head in one piece.
fn send(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) if Instant::now() > end => panic!("{address}: {error}"),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Status and body of what is at `path`.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let answer = send(address, &request);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    (status, if chunked { unchunked(body) } else { body.to_owned() })
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = &rest[(size + 2).min(rest.len())..];
    }
    whole
}

#[test]
fn requests_are_answered_by_instances_that_know_nothing_of_each_other() {
    let Some(mut container) = service() else { return };
    container.bundle.process.env = vec!["WHO=silo".to_owned()];
    container.image_file("data/page.txt", "of the image\n");
    let running = container.start();
    let address = at(&running);
    assert_eq!(get(address, "/"), (200, "hello\n".to_owned()));
    assert_eq!(get(address, "/env?WHO"), (200, "silo".to_owned()));
    assert_eq!(get(address, "/file?/data/page.txt"), (200, "of the image\n".to_owned()));
    assert_eq!(get(address, "/file?/etc/passwd").0, 404);
    assert_eq!(get(address, "/nowhere").0, 404);
    // Files are the container's, and stay.
    assert_eq!(get(address, "/write?/new.txt").1, "Ok(())\n");
    assert_eq!(get(address, "/file?/new.txt").1, "written by a request\n");
    assert_eq!(get(address, "/big?5000").1.len(), 5000 * 1024);
    let echo =
        "POST /echo HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 5\r\n\r\nwords";
    assert!(send(address, echo).contains("words"));
    assert!(send(address, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400"));
    running.sandbox.signal(Signal::TERM).unwrap();
    let output = running.finish();
    assert_eq!(output.exit.status, ExitStatus::Exited(0), "{output:?}");
}

#[test]
fn what_a_request_says_goes_to_the_log_and_so_does_its_failure() {
    let Some(container) = service() else { return };
    let running = container.start();
    let address = at(&running);
    get(address, "/log?words");
    assert_eq!(get(address, "/trap"), (500, "internal server error\n".to_owned()));
    assert_eq!(get(address, "/silent").0, 500);
    assert_eq!(get(address, "/"), (200, "hello\n".to_owned()));
    running.sandbox.signal(Signal::INT).unwrap();
    let output = running.finish();
    assert_eq!((output.exit.code(), output.stdout.as_str()), (0, "out words\n"));
    assert!(output.stderr.starts_with("err words\n"), "{}", output.stderr);
    assert!(output.stderr.contains("silo: a request failed: "), "{}", output.stderr);
    assert!(output.stderr.contains("returned without an answer"), "{}", output.stderr);
}

#[test]
fn many_requests_are_answered_at_once() {
    let Some(container) = service() else { return };
    let running = container.start();
    let address = at(&running);
    get(address, "/");
    let begin = Instant::now();
    let waiting: Vec<_> =
        (0..200).map(|_| thread::spawn(move || get(address, "/wait?1000"))).collect();
    for thread in waiting {
        assert_eq!(thread.join().unwrap(), (200, "waited\n".to_owned()));
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}

#[test]
fn a_request_that_computes_for_ever_keeps_nobody_else_from_an_answer() {
    let Some(container) = service() else { return };
    let running = container.start();
    let address = at(&running);
    let mut busy: Vec<_> = (0..4).map(|_| connect(address)).collect();
    for stream in &mut busy {
        stream.write_all(b"GET /spin HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    }
    thread::sleep(Duration::from_millis(100));
    assert_eq!(get(address, "/"), (200, "hello\n".to_owned()));
    // Nobody computes for a client that is gone.
    drop(busy);
    let rests = || {
        let used = || running.sandbox.stats().unwrap().cpu_nanos.unwrap();
        let before = used();
        thread::sleep(Duration::from_millis(200));
        used() - before < 20_000_000
    };
    let end = Instant::now() + Duration::from_secs(30);
    while !rests() {
        assert!(Instant::now() < end, "it goes on computing");
    }
    let mut busy = connect(address);
    busy.write_all(b"GET /spin HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    thread::sleep(Duration::from_millis(50));
    let begin = Instant::now();
    running.sandbox.signal(Signal::KILL).unwrap();
    assert_eq!(running.finish().exit.status, ExitStatus::Signaled(Signal::KILL));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn memory_is_for_all_instances_together_and_given_back() {
    let Some(mut container) = service() else { return };
    container.bundle.limits.memory = Some(64 << 20);
    let running = container.start();
    let address = at(&running);
    for _ in 0..3 {
        assert_eq!(get(address, "/grow").0, 500);
        assert_eq!(get(address, "/"), (200, "hello\n".to_owned()));
    }
    let end = Instant::now() + Duration::from_secs(10);
    while running.sandbox.stats().unwrap().memory != Some(0) {
        assert!(Instant::now() < end, "{:?}", running.sandbox.stats());
    }
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}

#[test]
fn a_service_that_is_asked_to_end_answers_first() {
    let Some(container) = service() else { return };
    let running = container.start();
    let address = at(&running);
    // One client that waits for its answer, and one that says nothing.
    let _idle = connect(address);
    let (sender, receiver) = mpsc::channel();
    let client = thread::spawn(move || {
        let mut stream = connect(address);
        stream.write_all(b"GET /wait?700 HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        sender.send(()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    receiver.recv().unwrap();
    thread::sleep(Duration::from_millis(200));
    running.sandbox.signal(Signal::TERM).unwrap();
    let output = running.finish();
    assert!(client.join().unwrap().contains("waited"));
    assert_eq!(output.exit.status, ExitStatus::Exited(0));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_paused_service_answers_when_it_goes_on() {
    let Some(container) = service() else { return };
    let running = container.start();
    let address = at(&running);
    get(address, "/");
    let pause = running.sandbox.pause().unwrap();
    pause.pause().unwrap();
    let (sender, answered) = mpsc::channel();
    thread::spawn(move || sender.send(get(address, "/")));
    assert!(answered.recv_timeout(Duration::from_millis(300)).is_err());
    pause.resume().unwrap();
    assert_eq!(answered.recv_timeout(Duration::from_secs(10)).unwrap().0, 200);
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}

#[test]
fn a_share_of_a_core_is_for_all_instances_together() {
    let Some(mut container) = service() else { return };
    container.bundle.limits.nano_cpus = Some(300_000_000);
    let running = container.start();
    let address = at(&running);
    let mut busy: Vec<_> = (0..3).map(|_| connect(address)).collect();
    for stream in &mut busy {
        stream.write_all(b"GET /spin HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    }
    thread::sleep(Duration::from_millis(500));
    let used = || running.sandbox.stats().unwrap().cpu_nanos.unwrap();
    let (begin, before) = (Instant::now(), used());
    thread::sleep(Duration::from_secs(2));
    let spent = Duration::from_nanos(used() - before);
    let share = spent.as_secs_f64() / begin.elapsed().as_secs_f64();
    assert!(share < 0.45, "used {share} of a core");
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}

#[test]
fn a_service_that_no_port_leads_to_is_refused() {
    let Some(program) = program("http.wasm") else { return };
    let error = Container::new(program).publish(&["127.0.0.1::53/udp"]).refused();
    assert_eq!(error.exit_code(), 126);
    assert!(error.to_string().contains("no port leads to it; -p"), "{error}");
}

/// A server that answers one thing to everyone.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap();
            let host = String::from_utf8_lossy(&request[..count]).to_ascii_lowercase();
            let host = host.lines().find(|line| line.starts_with("host:")).unwrap_or("").to_owned();
            let body = format!("served {host}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

#[test]
fn requests_of_a_guest_go_where_it_is_allowed() {
    let (friend, other) = (server(), server());
    let Some(container) = service() else { return };
    let running = container.allow(&[format!("localhost:{}", friend.port())]).start();
    let address = at(&running);
    let fetch = |authority: &str| get(address, &format!("/fetch?http://{authority}/x")).1;
    let by_name = format!("localhost:{}", friend.port());
    assert_eq!(fetch(&by_name), format!("200 served host: {by_name}"));
    for denied in
        [other.to_string(), format!("localhost:{}", other.port()), "example.com".to_owned()]
    {
        assert!(fetch(&denied).contains("HttpRequestDenied"), "{denied}: {}", fetch(&denied));
    }
    // What the name means may be reached by its address, too.
    assert!(fetch(&friend.to_string()).starts_with("200 served"));
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();

    let Some(container) = service() else { return };
    let running = container.start();
    let told = get(at(&running), &format!("/fetch?http://{friend}/")).1;
    assert!(told.contains("HttpRequestDenied"), "{told}");
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}

#[test]
fn on_the_hosts_network_requests_go_anywhere() {
    let server = server();
    let Some(mut container) = service() else { return };
    container.bundle.network = Network::Host;
    let running = container.start();
    let told = get(at(&running), &format!("/fetch?http://{server}/")).1;
    assert!(told.starts_with("200 served"), "{told}");
    let told = get(at(&running), &format!("/fetch?https://{server}/")).1;
    assert!(told.contains("error"), "{told}");
    running.sandbox.signal(Signal::KILL).unwrap();
    running.finish();
}
