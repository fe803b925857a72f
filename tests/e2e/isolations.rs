//! What each isolation permits, as the kernel says, and what runs in it.

use std::{collections::BTreeMap, process::Command};

use crate::support::{
    Silo, data,
    host::{needs_root, text},
    wait_until,
};

/// What the kernel says of a container's filter.
struct Filter {
    filters: u64,
    native: Vec<u64>,
    compatible: u64,
    x32: u64,
}

impl Filter {
    fn of(pid: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/seccomp_filter.py");
        let ran = Command::new("python3").args([script, pid]).output().expect("python3");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        let number = |name: &str| told[name].as_u64().unwrap();
        let native = told["native"].as_array().unwrap();
        Self {
            filters: number("filters"),
            native: native.iter().map(|number| number.as_u64().unwrap()).collect(),
            compatible: number("compatible"),
            x32: number("x32"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_kernel_permits_as_many_calls_as_the_documentation_says() {
    use silo_isolation::Isolation;
    if !needs_root() {
        return;
    }
    let Some(silo) = Silo::with_busybox() else { return };
    for isolation in Isolation::ALL {
        let name = isolation.name();
        let options =
            ["run", "-d", "--name", name, "--isolation", name, "busybox", "sleep", "1000"];
        silo.ok(&options);
        let filter = Filter::of(&silo.inspect(name, "{{.State.Pid}}"));
        let defaults = silo_linux::defaults(isolation);
        assert_eq!(filter.filters, 1, "{name}");
        assert_eq!(filter.native.len(), defaults.syscalls.len(), "{name}: {:?}", filter.native);
        assert_eq!(filter.compatible, defaults.compatible_syscalls as u64, "{name}");
        assert_eq!(filter.x32, 0, "{name}");
        silo.ok(&["rm", "-f", name]);
    }
}

/// A store with Debian's servers, compiler and package manager as the image `servers`.
fn with_servers() -> Option<Silo> {
    let archive = data("servers/rootfs.tar")?;
    let silo = Silo::new();
    silo.ok(&["import", text(&archive), "servers"]);
    Some(silo)
}

/// Runs a server until `client` succeeds beside it, does `then`, and stops it.
fn serve(silo: &Silo, run: &[&str], client: &[&str], then: impl FnOnce()) {
    silo.ok(&[&["run", "-d", "--name", "server"], run].concat());
    let client = [&["exec"], client].concat();
    wait_until("the server to answer", || {
        assert_eq!(
            silo.inspect("server", "{{.State.Status}}"),
            "running",
            "{}",
            silo.run(&["logs", "server"]).stderr
        );
        silo.run(&client).code == 0
    });
    then();
    silo.ok(&["stop", "server"]);
    assert_eq!(silo.inspect("server", "{{.State.ExitCode}}"), "0");
    silo.ok(&["rm", "server"]);
}

fn nginx(silo: &Silo) {
    let get = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1/').read())";
    let client = ["server", "python3", "-c", get];
    serve(silo, &["servers", "nginx", "-g", "daemon off;"], &client, || {
        assert!(silo.ok(&[&["exec"], &client[..]].concat()).contains("Welcome to nginx"));
        let owners = silo.ok(&["exec", "server", "sh", "-c", "stat -c %U /proc/[0-9]* | sort -u"]);
        assert!(owners.contains("root") && owners.contains("www-data"), "{owners}");
    });
}

fn postgres(silo: &Silo) {
    let program = "/usr/lib/postgresql/15/bin/postgres";
    let (data, config) =
        ("/var/lib/postgresql/15/main", "config_file=/etc/postgresql/15/main/postgresql.conf");
    // What systemd makes when the machine starts.
    let run = ["--tmpfs", "/run/postgresql", "--stop-signal", "INT", "-u", "postgres", "servers"];
    let run = [&run[..], &[program, "-D", data, "-c", config]].concat();
    let psql = |sql| ["-u", "postgres", "server", "psql", "-At", "-c", sql];
    serve(silo, &run, &psql("select 1"), || {
        let sql = "create table t as select generate_series(1, 1000) n; select sum(n) from t";
        let answer = silo.ok(&[&["exec"], &psql(sql)[..]].concat());
        assert!(answer.ends_with("500500"), "{answer}");
    });
}

fn redis(silo: &Silo) {
    let run = ["-u", "redis", "-w", "/var/lib/redis", "servers", "redis-server"];
    serve(silo, &run, &["server", "redis-cli", "ping"], || {
        let script = "redis-cli set answer 42 && redis-cli save && redis-cli get answer && \
                      test -s /var/lib/redis/dump.rdb";
        assert_eq!(silo.ok(&["exec", "server", "sh", "-c", script]), "OK\nOK\n42");
    });
}

#[test]
fn debians_servers_run_as_it_installs_them() {
    let Some(silo) = with_servers() else { return };
    nginx(&silo);
    postgres(&silo);
    redis(&silo);
    silo.assert_nothing_left(&[]);
}

fn compile(silo: &Silo) {
    let script = "cd /tmp; echo 'int puts(const char*); int main(void) { puts(\"compiled\"); }' > a.c; \
                  gcc -O2 -pipe a.c && ./a.out; python3 -c \"import multiprocessing as m; \
                  print(sum(m.Pool(2).map(abs, range(-9, 1))))\"";
    assert_eq!(silo.ok(&["run", "--rm", "servers", "sh", "-c", script]), "compiled\n45");
}

fn install(silo: &Silo) {
    let script = "apt-get -qq update && apt-get -qq install -y hello >/dev/null && hello";
    let said = silo.run(&["run", "--rm", "servers", "sh", "-c", script]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "Hello, world!\n"), "{said:?}");
}

fn raise_privileges(silo: &Silo) {
    let script = "cp /usr/bin/id /tmp/id; chmod 4755 /tmp/id; \
                  setpriv --reuid 33 --regid 33 --clear-groups /tmp/id -u";
    for (isolation, id) in [("default", "33"), ("docker", "0")] {
        let run = ["run", "--rm", "--isolation", isolation, "servers", "sh", "-c", script];
        assert_eq!(silo.ok(&run), id, "{isolation}");
    }
}

fn compute_in_strict_isolation(silo: &Silo) {
    let script = "import json, hashlib, tempfile, threading\n\
                  t = threading.Thread(target=lambda: print(hashlib.sha256(b'x').hexdigest()[:8]))\n\
                  t.start(); t.join()\n\
                  f = tempfile.TemporaryFile(); f.write(b'abc'); f.seek(0); print(json.dumps(len(f.read())))";
    let run = ["run", "--rm", "--isolation", "strict", "--tmpfs", "/tmp", "servers"];
    assert_eq!(silo.ok(&[&run[..], &["python3", "-c", script]].concat()), "2d711642\n3");
}

/// What `tests/guests/hostile.py` can do in an isolation.
fn done_by_a_hostile_guest(silo: &Silo, isolation: &str, args: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests/hostile.py");
    let volume = format!("{script}:/hostile.py:ro");
    let run = ["run", "--rm", "--isolation", isolation, "-v", &volume, "servers"];
    silo.ok(&[&run[..], &["python3", "/hostile.py"], args].concat())
}

fn let_a_hostile_guest_try(silo: &Silo) {
    use std::os::linux::net::SocketAddrExt as _;
    let secret = silo.file("secret", "the host's");
    let service = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a service");
    let port = service.local_addr().expect("its address").port().to_string();
    let name = format!("silo-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let _socket = std::os::unix::net::UnixListener::bind_addr(&address).expect("a socket");
    let targets = [text(&secret), &port, &name];
    for isolation in ["default", "strict"] {
        assert_eq!(done_by_a_hostile_guest(silo, isolation, &targets), "", "{isolation}");
    }
    // The attempts are real: where less is closed, some work.
    let done = done_by_a_hostile_guest(silo, "docker", &targets);
    for attempt in ["32-bit calls", "packet socket", "ptrace(parent)", "read /proc/kallsyms"] {
        assert!(done.lines().any(|line| line == attempt), "{attempt} is not in: {done}");
    }
    for escape in ["mount", "host's", "write", "open /dev", "unshare", "setns", "bpf", "mknod"] {
        assert!(!done.contains(escape), "{done}");
    }
}

/// Numbers that got through are among those that the filter permits. Two of them get through any
/// filter: the kernel calls them itself, from trampolines (uretprobe and uprobe, Linux 6.11 and 6.18).
#[cfg(target_arch = "x86_64")]
fn let_a_hostile_guest_call_every_number(silo: &Silo) {
    const TRAMPOLINES: [u64; 2] = [335, 336];
    silo.ok(&["run", "-d", "--name", "peer", "servers", "sleep", "1000"]);
    let filter = Filter::of(&silo.inspect("peer", "{{.State.Pid}}"));
    silo.ok(&["rm", "-f", "peer"]);
    let through = done_by_a_hostile_guest(silo, "default", &[]);
    let through: Vec<u64> = through.lines().map(|number| number.parse().unwrap()).collect();
    let is_known = |number: &&u64| filter.native.contains(number) || TRAMPOLINES.contains(number);
    let beyond: Vec<_> = through.iter().filter(|number| !is_known(number)).collect();
    assert!(beyond.is_empty() && through.len() > 100, "{beyond:?} of {through:?}");
}

/// What `tests/guests/leaks.py` reads.
#[derive(serde::Deserialize)]
struct Told {
    told: BTreeMap<String, Vec<String>>,
    writable: Vec<String>,
}

impl Told {
    fn in_guest(silo: &Silo, isolation: &str) -> Self {
        let volume = format!("{LEAKS}:/leaks.py:ro");
        let run = ["run", "--rm", "--isolation", isolation, "-v", &volume, "servers"];
        let said = silo.ok(&[&run[..], &["python3", "/leaks.py", "/proc", "/sys"]].concat());
        serde_json::from_str(&said).unwrap()
    }

    fn on_host() -> Self {
        let ran = Command::new("python3").args([LEAKS, "/proc", "/sys"]).output().expect("python3");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        serde_json::from_slice(&ran.stdout).unwrap()
    }

    /// How many bytes the lines take that the host has in the same file.
    fn bytes_of(&self, host: &Self) -> usize {
        let lines = |(path, lines): (&String, &Vec<String>)| -> usize {
            let hosts = host.told.get(path).map(Vec::as_slice).unwrap_or_default();
            let same = lines.iter().filter(|line| !line.trim().is_empty() && hosts.contains(line));
            same.map(|line| line.len() + 1).sum()
        };
        self.told.iter().map(lines).sum()
    }
}

const LEAKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests/leaks.py");

/// SECURITY.md has the figures of one machine; others have more processors and devices.
fn let_a_hostile_guest_look_around(silo: &Silo) {
    let host = Told::on_host();
    let [strict, default, docker] =
        ["strict", "default", "docker"].map(|isolation| Told::in_guest(silo, isolation));
    assert_eq!(strict.bytes_of(&host), 0);
    for closed in [&strict, &default] {
        assert!(closed.writable.is_empty(), "{:?}", closed.writable);
    }
    let (default, docker) = (default.bytes_of(&host), docker.bytes_of(&host));
    assert!(default > 0 && default < docker / 10, "{default} of {docker}");
}

#[test]
fn a_hostile_guest_gets_no_further() {
    let Some(silo) = with_servers() else { return };
    let_a_hostile_guest_look_around(&silo);
    let_a_hostile_guest_try(&silo);
    #[cfg(target_arch = "x86_64")]
    let_a_hostile_guest_call_every_number(&silo);
}

#[test]
fn debians_programs_compile_install_and_compute() {
    let Some(silo) = with_servers() else { return };
    compile(&silo);
    install(&silo);
    raise_privileges(&silo);
    compute_in_strict_isolation(&silo);
}
