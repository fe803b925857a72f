//! What each isolation permits, as the kernel says, and what runs in it.

use std::process::Command;

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

#[test]
fn debians_programs_compile_install_and_compute() {
    let Some(silo) = with_servers() else { return };
    compile(&silo);
    install(&silo);
    raise_privileges(&silo);
    compute_in_strict_isolation(&silo);
}
