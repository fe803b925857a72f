//! WebAssembly programs and the network: ports, peers, and components that answer requests.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

use serde_json::json;

use crate::support::{
    Layout, Silo, data,
    guests::load_program,
    host::text,
    layout::{File, tar},
    transcript::Transcript,
    wait_until,
};

/// A store with the image `app`, whose program is this one that `.ci/setup` built.
#[track_caller]
fn silo_with(program: &str, files: &[File<'_>]) -> Option<Silo> {
    let program = fs::read(data(&format!("bin/{program}"))?).unwrap();
    let silo = Silo::new();
    let mut all = vec![File::program("app.wasm", &program)];
    all.extend(files.iter().copied());
    load_program(&silo, "app", &all);
    Some(silo)
}

/// Asks curl for what is at `path`: the status, and the answer.
#[track_caller]
fn curl(address: &str, args: &[&str], path: &str) -> (String, String) {
    let url = format!("http://{address}{path}");
    let curl =
        ["-sS", "--max-time", "30", "--retry", "20", "--retry-connrefused", "--retry-delay", "1"];
    let output = Command::new("curl")
        .args(curl)
        .args(["-w", "\n%{http_code}"])
        .args(args)
        .arg(url)
        .output()
        .expect("curl, which .ci/setup installs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (answer, status) = said.rsplit_once('\n').unwrap_or_else(|| panic!("{output:?}"));
    (status.to_owned(), answer.to_owned())
}

#[test]
fn a_component_that_answers_requests_is_served_on_its_published_port() {
    let Some(silo) = silo_with("http.wasm", &[File::new("page.txt", b"a page\n")]) else { return };
    silo.ok(&["run", "-d", "--name", "web", "-p", "127.0.0.1::80", "-e", "WHO=silo", "app"]);
    let address = silo.ok(&["port", "web", "80"]);
    assert_eq!(silo.ok(&["port", "web"]), format!("80/tcp -> {address}"));
    assert_eq!(silo.ok(&["ps", "--format", "{{.Ports}}"]), format!("{address}->80/tcp"));
    let port =
        silo.inspect("web", "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}");
    assert!(address.ends_with(&format!(":{port}")), "{address} {port}");
    let found = |status: &str, answer: &str| (status.to_owned(), answer.to_owned());
    assert_eq!(curl(&address, &[], "/"), found("200", "hello\n"));
    assert_eq!(curl(&address, &[], "/env?WHO"), found("200", "silo"));
    assert_eq!(curl(&address, &[], "/file?/page.txt"), found("200", "a page\n"));
    assert_eq!(curl(&address, &["-d", "posted words"], "/echo"), found("200", "posted words"));
    assert_eq!(curl(&address, &["-I"], "/").0, "200");
    assert_eq!(curl(&address, &[], "/trap").0, "500");
    curl(&address, &[], "/log?words");
    curl(&address, &[], "/write?/kept.txt");
    wait_until("the log", || silo.run(&["logs", "web"]).stderr.contains("err words"));
    let log = silo.run(&["logs", "web"]);
    assert_eq!(log.stdout, "out words\n");
    assert!(log.stderr.contains("silo: a request failed: "), "{}", log.stderr);
    silo.ok(&["stop", "web"]);
    let ended = silo.inspect("web", "{{.State.Status}} {{.State.ExitCode}}");
    assert_eq!(ended, "exited 0");
    assert_eq!(silo.ok(&["ps", "-a", "--format", "{{.Ports}}"]), "");
    assert!(silo.ok(&["diff", "web"]).contains("A /kept.txt"));
    assert!(TcpStream::connect(&address).is_err());
    silo.ok(&["start", "web"]);
    let address = silo.ok(&["port", "web", "80"]);
    assert_eq!(curl(&address, &[], "/file?/kept.txt"), found("200", "written by a request\n"));
    silo.ok(&["rm", "-f", "web"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn a_stopped_service_answers_the_requests_that_it_has() {
    let Some(silo) = silo_with("http.wasm", &[]) else { return };
    silo.ok(&["run", "-d", "--name", "web", "-p", "127.0.0.1::80", "app"]);
    let address = silo.ok(&["port", "web", "80"]);
    assert_eq!(curl(&address, &[], "/").0, "200");
    let slow = {
        let address = address.clone();
        thread::spawn(move || curl(&address, &[], "/wait?2000"))
    };
    thread::sleep(std::time::Duration::from_millis(700));
    silo.ok(&["stop", "web"]);
    assert_eq!(slow.join().unwrap(), ("200".to_owned(), "waited\n".to_owned()));
    assert_eq!(silo.inspect("web", "{{.State.ExitCode}}"), "0");
    // One that would never end is ended when its time is over.
    silo.ok(&["start", "web"]);
    let address = silo.ok(&["port", "web", "80"]);
    let spinning = thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /spin HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut nothing = String::new();
        let _ = stream.read_to_string(&mut nothing);
    });
    thread::sleep(std::time::Duration::from_millis(700));
    silo.ok(&["stop", "-t", "1", "web"]);
    spinning.join().unwrap();
    assert_eq!(silo.inspect("web", "{{.State.ExitCode}}"), "137");
}

#[test]
fn requests_of_a_guest_go_to_allowed_peers_by_tls_as_well() {
    let Some(silo) = silo_with("http.wasm", &[]) else { return };
    let key = silo.home().join("key.pem");
    let certificate = silo.home().join("certificate.pem");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-subj", "/CN=localhost"])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-keyout", text(&key), "-out", text(&certificate)])
        .output()
        .expect("openssl, which .ci/setup installs");
    assert!(made.status.success(), "{made:?}");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let server = Command::new("openssl")
        .args(["s_server", "-accept", &port, "-www", "-quiet"])
        .args(["-key", text(&key), "-cert", text(&certificate)])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Ends(server);
    wait_until("openssl", || TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
    let allow = format!("localhost:{port}");
    let ask = |trusted: bool| {
        let args = ["run", "-d", "-p", "127.0.0.1::80", "--allow-net", &allow, "app"];
        let mut run = silo.command(&args);
        if trusted {
            run.env("SSL_CERT_FILE", &certificate);
        }
        let id = String::from_utf8(run.output().unwrap().stdout).unwrap();
        let address = silo.ok(&["port", id.trim(), "80"]);
        let told = curl(&address, &[], &format!("/fetch?https://localhost:{port}/")).1;
        let elsewhere = curl(&address, &[], "/fetch?https://127.0.0.2:1/").1;
        assert!(elsewhere.contains("HttpRequestDenied"), "{elsewhere}");
        silo.ok(&["rm", "-f", id.trim()]);
        told
    };
    assert!(ask(true).starts_with("200 "), "{}", ask(true));
    let refused = ask(false);
    assert!(refused.starts_with("error ErrorCode::Tls"), "{refused}");
    server.0.kill().unwrap();
}

/// A process that ends with the test.
struct Ends(std::process::Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_program_connects_to_whom_it_is_allowed_and_to_nobody_else() {
    let Some(silo) = silo_with("network.wasm", &[]) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let friend = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut text = [0; 5];
            stream.read_exact(&mut text).unwrap();
            stream.write_all(&text).unwrap();
        }
    });
    let other = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let say = ["app", "say", &friend, "hello", "connect", &other, "bind", "0.0.0.0:8080"];
    let run = |options: &[&str]| silo.ok(&[&["run", "--rm"], options, &say].concat());
    let denied = "access-denied";
    assert_eq!(run(&[]), [denied; 3].join("\n"));
    assert_eq!(run(&["--allow-net", &friend]), ["ok hello", denied, denied].join("\n"));
    let host = run(&["--network", "host", "--allow-net", &friend]);
    assert_eq!(host, ["ok hello", denied, "ok 0.0.0.0:8080"].join("\n"));
}

#[test]
fn a_port_leads_to_a_program_that_listens() {
    let Some(silo) = silo_with("network.wasm", &[]) else { return };
    let echo = ["echo", "0.0.0.0:80", "1"];
    let run = ["run", "-d", "--name", "echo", "-p", "127.0.0.1::80", "app"];
    silo.ok(&[&run[..], &echo].concat());
    let address = silo.ok(&["port", "echo", "80/tcp"]);
    let mut client = None;
    wait_until("the program to listen", || {
        client = TcpStream::connect(&address).ok();
        client.is_some()
    });
    let mut client = client.unwrap();
    client.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
    let taken = ["run", "--rm", "-p", &format!("{address}:80"), "app", "connect", "127.0.0.1:1"];
    let message = silo.fails(125, &taken);
    assert!(message.contains(&format!("cannot publish {address}/tcp")), "{message}");
    assert!(message.contains("in use"), "{message}");
    drop(client);
    assert_eq!(silo.ok(&["wait", "echo"]), "0");
    let message = silo.fails(1, &["port", "echo", "80"]);
    assert!(message.contains("port 80/tcp of echo is not published"), "{message}");
}

#[test]
fn a_program_for_wasi_0_1_serves_the_port_that_it_is_given() {
    let Some(silo) = silo_with("listener.wasm", &[]) else { return };
    silo.ok(&["run", "-d", "--name", "upper", "-p", "127.0.0.1::80", "app"]);
    let address = silo.ok(&["port", "upper", "80"]);
    let mut client = None;
    wait_until("the program to listen", || {
        client = TcpStream::connect(&address).ok();
        client.is_some()
    });
    let mut client = client.unwrap();
    client.write_all(b"words\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "WORDS\n");
    assert_eq!(silo.ok(&["wait", "upper"]), "0");
    assert_eq!(silo.ok(&["logs", "upper"]), "sockets 1\nserved words");
}

#[test]
fn what_linux_programs_cannot_have_of_the_network_is_refused() {
    let silo = Silo::new();
    let mut layout = Layout::new();
    let layer = layout.layer(&[File::program("bin/program", b"#!/nowhere\n")]);
    let image = layout.image("linux/amd64", &[layer], &json!({ "Cmd": ["/bin/program"] }));
    layout.name("app", image).load(&silo);
    Transcript::of(&silo)
        .run(&["run", "-p", "80:80", "--allow-net", "example.com:443", "--plug", "/x.wasm", "app"])
        .run(&["run", "-p", "80:http", "app"])
        .run(&["run", "-p", "80-81:80", "app"])
        .run(&["run", "-p", "8080:80", "-p", "8080:81", "app"])
        .run(&["run", "-P", "app"])
        .run(&["run", "--allow-net", "http://example.com", "app"])
        .run(&["run", "--allow-net", "10.0.0.0/33", "app"])
        .run(&["run", "--allow-net", "::1:x", "app"])
        .run(&["port", "nothing"])
        .assert("network_refused");
    assert_eq!(silo.ok(&["ps", "-aq"]), "");
}

const PROGRAM: &str = r#"(component
    (import "test:parts/numbers@0.1.0" (instance $numbers (export "answer" (func (result u32)))))
    (core func $answer (canon lower (func $numbers "answer")))
    (core module $main
        (import "" "answer" (func $answer (result i32)))
        (func (export "run") (result i32) (i32.ne (call $answer) (i32.const 42))))
    (core instance $main (instantiate $main (with "" (instance (export "answer" (func $answer))))))
    (func $run (result (result)) (canon lift (core func $main "run")))
    (instance $run-instance (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $run-instance)))"#;

const NUMBERS: &str = r#"(component
    (core module $m (func (export "answer") (result i32) (i32.const 42)))
    (core instance $i (instantiate $m))
    (func $answer (result u32) (canon lift (core func $i "answer")))
    (instance $numbers (export "answer" (func $answer)))
    (export "test:parts/numbers@0.1.0" (instance $numbers)))"#;

#[test]
fn components_of_an_image_are_composed_when_it_runs() {
    let silo = Silo::new();
    let files = [
        File::new("app.wat", PROGRAM.as_bytes()),
        File::new("lib/numbers.wat", NUMBERS.as_bytes()),
    ];
    let archive = silo.file("app.tar", tar(&files));
    let import = ["import", "--platform", "wasi/wasm", "-c", "ENTRYPOINT [\"/app.wat\"]"];
    silo.ok(&[&import[..], &[text(&archive), "app"]].concat());
    let message = silo.fails(126, &["run", "--rm", "app"]);
    assert!(message.contains("test:parts/numbers@0.1.0"), "{message}");
    silo.ok(&["run", "--rm", "--plug", "/lib/numbers.wat", "app"]);
    let label = "LABEL silo.wasm.plug=/lib/numbers.wat";
    silo.ok(&[&import[..], &["-c", label, text(&archive), "composed"]].concat());
    silo.ok(&["run", "--rm", "composed"]);
}

#[test]
fn the_example_site_is_served_by_a_component() {
    let Some(server) = data("bin/webapp.wasm") else { return };
    let silo = Silo::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/webapp/wasm/build.sh");
    let built = Command::new("bash")
        .arg(script)
        .arg(&server)
        .env("SILO", silo.program())
        .env("SILO_ROOT", silo.root())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    for (image, is_new) in [("webapp-wasm:1", false), ("webapp-wasm:2", true)] {
        silo.ok(&["run", "-d", "--name", "site", "--read-only", "-p", "127.0.0.1::80", image]);
        let address = silo.ok(&["port", "site", "80"]);
        let (status, page) = curl(&address, &[], "/");
        assert_eq!((status.as_str(), page.contains("version 2")), ("200", is_new), "{page}");
        assert!(curl(&address, &["-D", "-"], "/index.html").1.contains("text/html"));
        for elsewhere in ["/server.wasm", "/../../../server.wasm", "//server.wasm", "/none"] {
            assert_eq!(curl(&address, &["--path-as-is"], elsewhere).0, "404", "{elsewhere}");
        }
        assert_eq!(curl(&address, &["-d", "x"], "/").0, "405");
        assert_eq!(curl(&address, &["-I"], "/").0, "200");
        silo.ok(&["stop", "site"]);
        assert!(silo.ok(&["logs", "site"]).contains("Method::Get / 200"));
        silo.ok(&["rm", "site"]);
    }
}
