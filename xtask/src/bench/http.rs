//! `cargo xtask bench http`: a component that answers requests, served by silo and by `wasmtime serve`: requests
//! in a second, and the memory of a thousand that wait.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{command, data, done, silo, silo::Silo, workplace};

pub(crate) const ROUNDS: usize = 5;
/// In each round.
const REQUESTS: &str = "20000";
const CLIENTS: &str = "32";
/// How many wait at once.
const WAITING: usize = 1000;

/// A server that can be started again and again.
struct Server<'a> {
    name: &'static str,
    start: Box<dyn Fn() -> Result<Running> + 'a>,
    rates: Vec<f64>,
}

struct Running {
    address: SocketAddr,
    /// The process that serves, whose children serve with it.
    pid: u32,
    stop: Box<dyn FnOnce() -> Result<()>>,
}

#[expect(clippy::cast_precision_loss, reason = "one place is shown")]
pub(crate) fn run(rounds: usize) -> Result<()> {
    let program = silo::built()?;
    let data = data()?;
    let work = workplace(&program)?;
    let silo = Silo { program, root: work.path().join("silo") };
    let component = data.join("bin/http.wasm");
    import(&silo, &component, work.path())?;
    let wasmtime = data.join("bin/wasmtime");
    let mut servers = [
        Server { name: "silo", start: Box::new(|| on_silo(&silo)), rates: Vec::new() },
        Server {
            name: "wasmtime serve",
            start: Box::new(|| on_wasmtime(&wasmtime, &component)),
            rates: Vec::new(),
        },
    ];
    for _ in 0..rounds {
        for server in &mut servers {
            let running = (server.start)()?;
            rate(running.address, "2000")?;
            server.rates.push(rate(running.address, REQUESTS)?);
            (running.stop)()?;
        }
    }
    println!(
        "requests for hello, {CLIENTS} clients with kept connections, {rounds} rounds of {REQUESTS}\n"
    );
    println!("| server | median requests a second | most | of wasmtime's |");
    println!("|---|---|---|---|");
    let medians: Vec<f64> = servers.iter().map(|server| median(&server.rates)).collect();
    for (server, own) in servers.iter().zip(&medians) {
        let most = server.rates.iter().copied().fold(0.0, f64::max);
        println!("| {} | {own:.0} | {most:.0} | {:.2}x |", server.name, own / medians[1]);
    }
    println!("\n{WAITING} requests that wait at once: private memory of the server's processes\n");
    println!("| server | KiB before | KiB with them | KiB each |");
    println!("|---|---|---|---|");
    for server in &servers {
        let running = (server.start)()?;
        rate(running.address, "2000")?;
        let before = private_memory(running.pid)?;
        let clients = wait_at(running.address)?;
        let after = private_memory(running.pid)?;
        let each = after.saturating_sub(before) as f64 / WAITING as f64;
        println!("| {} | {before} | {after} | {each:.1} |", server.name);
        drop(clients);
        (running.stop)()?;
    }
    println!();
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn import(silo: &Silo, component: &Path, work: &Path) -> Result<()> {
    let archive = work.join("http.tar");
    let mut tar = tar::Builder::new(fs::File::create(&archive)?);
    tar.append_path_with_name(component, "http.wasm")
        .with_context(|| format!("no {}; .ci/setup makes it", component.display()))?;
    tar.into_inner()?;
    let entry_point = "ENTRYPOINT [\"/http.wasm\"]";
    let mut import = silo.command(&["import", "--platform", "wasi/wasm", "-c", entry_point]);
    done(import.arg(&archive).arg("http")).map(drop)
}

fn on_silo(silo: &Silo) -> Result<Running> {
    let id = done(&mut silo.command(&["run", "-d", "--rm", "-p", "127.0.0.1::80", "http"]))?;
    let address = done(&mut silo.command(&["port", &id, "80"]))?.parse()?;
    let state = fs::read(silo.root.join("containers").join(&id).join("state.json"))?;
    let state: serde_json::Value = serde_json::from_slice(&state)?;
    let pid = state["supervisor"].as_u64().context("a supervisor")?;
    let silo = silo.clone();
    let stop = move || done(&mut silo.command(&["kill", &id])).map(drop);
    ready(Running { address, pid: u32::try_from(pid)?, stop: Box::new(stop) })
}

fn on_wasmtime(wasmtime: &Path, component: &Path) -> Result<Running> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut serve = command(wasmtime, &["serve", "-S", "cli", "--addr", &address.to_string()]);
    serve.arg(component).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child: Child = serve.spawn().with_context(|| format!("cannot start {serve:?}"))?;
    let pid = child.id();
    let stop = move || {
        child.kill()?;
        child.wait()?;
        Ok(())
    };
    ready(Running { address, pid, stop: Box::new(stop) })
}

/// Waits until it takes clients.
fn ready(running: Running) -> Result<Running> {
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(running.address).is_err() {
        ensure!(Instant::now() < end, "nobody listens at {}", running.address);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(running)
}

/// Requests in a second, all of which must succeed.
fn rate(address: SocketAddr, requests: &str) -> Result<f64> {
    let url = format!("http://{address}/");
    let said = done(Command::new("ab").args(["-q", "-k", "-n", requests, "-c", CLIENTS, &url]))?;
    let field = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    ensure!(field("Failed requests:") == Some(0.0), "requests failed:\n{said}");
    ensure!(!said.contains("Non-2xx"), "requests failed:\n{said}");
    field("Requests per second:").with_context(|| format!("ab says no rate:\n{said}"))
}

/// Has so many requests wait for their answers.
fn wait_at(address: SocketAddr) -> Result<Vec<TcpStream>> {
    let mut clients = Vec::new();
    for _ in 0..WAITING {
        let mut client = TcpStream::connect(address)?;
        client.write_all(b"GET /wait?60000 HTTP/1.1\r\nHost: bench\r\n\r\n")?;
        clients.push(client);
    }
    thread::sleep(Duration::from_secs(5));
    Ok(clients)
}

/// Memory that a process and its children share with nobody, in KiB.
fn private_memory(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    let own: u64 =
        private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    children.map(private_memory).try_fold(own, |sum, one| Ok(sum + one?))
}
