//! What a guest has: the data in its store.

mod control;
mod limits;
mod stdio;
mod writes;

use std::{
    any::Any,
    io::{PipeReader, PipeWriter},
    sync::Arc,
};

use silo_isolation::Process;
use wasmtime::{
    Engine, Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{
    WasiCtx, WasiCtxView, WasiView,
    cli::{WasiCli, WasiCliView as _},
    clocks::{WasiClocks, WasiClocksView as _},
    p2::bindings,
    random::WasiRandom,
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;

pub(crate) use control::{Control, Pace};
pub(crate) use limits::{Memory, Usage};
use stdio::{Input, Output};

use crate::{
    filesystem::{self, FilesystemView},
    http::Hooks,
    network::{
        Net,
        sockets::{self, Sockets},
    },
    vfs::Vfs,
};

/// The guest's ends of its standard streams.
pub(crate) struct Pipes {
    pub(crate) stdin: Option<PipeReader>,
    pub(crate) stdout: PipeWriter,
    pub(crate) stderr: PipeWriter,
}

/// What all instances of a guest have in common.
struct World {
    process: Process,
    vfs: Arc<Vfs>,
    stdin: Option<Input>,
    stdout: Output,
    stderr: Output,
    net: Arc<Net>,
    /// Whether its ports are open files of its own.
    listens: bool,
}

/// A guest's part of its store: one instance of it.
pub(crate) struct Guest {
    table: ResourceTable,
    wasi: WasiCtx,
    world: Arc<World>,
    memory: Memory,
    http: WasiHttpCtx,
    hooks: Hooks,
    /// What is released with it.
    _kept: Option<Box<dyn Any + Send>>,
}

impl Guest {
    pub(crate) fn new(
        process: &Process,
        vfs: Arc<Vfs>,
        pipes: Pipes,
        memory: Memory,
        net: Arc<Net>,
        listens: bool,
        control: &Arc<Control>,
    ) -> Self {
        let mut process = process.clone();
        if listens {
            // As systemd tells programs that it gives sockets, sd_listen_fds(3).
            process.env.retain(|variable| !variable.starts_with("LISTEN_FDS="));
            process.env.push(format!("LISTEN_FDS={}", filesystem::count_listeners(&net)));
        }
        let world = World {
            process,
            vfs,
            stdin: pipes.stdin.map(Input::new),
            stdout: Output::new(pipes.stdout, control),
            stderr: Output::new(pipes.stderr, control),
            net,
            listens,
        };
        Self::of(Arc::new(world), memory)
    }

    fn of(world: Arc<World>, memory: Memory) -> Self {
        let mut wasi = WasiCtx::builder();
        let process = &world.process;
        wasi.args(&process.args).initial_cwd(&process.cwd);
        for variable in &process.env {
            if let Some((name, value)) = variable.split_once('=') {
                wasi.env(name, value);
            }
        }
        wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        if let Some(stdin) = &world.stdin {
            wasi.stdin(stdin.clone());
        }
        wasi.stdout(world.stdout.clone());
        wasi.stderr(world.stderr.clone());
        Self {
            table: ResourceTable::new(),
            wasi: wasi.build(),
            memory,
            http: WasiHttpCtx::new(),
            hooks: Hooks::new(&world.net),
            world,
            _kept: None,
        }
    }

    /// Another instance in the same world, which keeps `kept` as long as it lives.
    pub(crate) fn another(&self, kept: Box<dyn Any + Send>) -> Self {
        let guest = Self::of(Arc::clone(&self.world), self.memory.another());
        Self { _kept: Some(kept), ..guest }
    }

    /// Its network.
    pub(crate) fn net(&self) -> &Arc<Net> {
        &self.world.net
    }

    /// Writes a line where the guest writes its errors.
    pub(crate) fn complain(&self, line: &str) {
        self.world.stderr.line(line);
    }

    /// A store with all limits in force.
    pub(crate) fn into_store(self, engine: &Engine) -> Store<Self> {
        let mut store = Store::new(engine, self);
        store.limiter(|guest| &mut guest.memory);
        store
    }

    fn sockets(&mut self) -> Sockets<'_> {
        Sockets { net: &self.world.net, table: &mut self.table }
    }

    fn files(&mut self) -> FilesystemView<'_> {
        let listens = self.world.listens.then_some(&self.world.net);
        FilesystemView { vfs: &self.world.vfs, table: &mut self.table, listens }
    }
}

impl IoView for Guest {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Defines a package's interfaces.
type Offer = fn(&mut Linker<Guest>) -> wasmtime::Result<()>;

/// What a guest may import: WASI 0.2 for commands, its files and its network from here. Sockets can be
/// imported, as every Rust program for WASI 0.2 does, and be made only where something is granted.
const OFFERED: [(&str, Offer); 7] = [
    ("wasi:io/", |linker| {
        wasmtime_wasi_io::add_to_linker_async(linker)?;
        writes::add_to_linker(linker)
    }),
    ("wasi:filesystem/", |linker| filesystem::add_to_linker(linker, Guest::files)),
    ("wasi:clocks/", offer_clocks),
    ("wasi:random/", offer_random),
    ("wasi:cli/", offer_cli),
    ("wasi:sockets/", |linker| sockets::add_to_linker(linker, Guest::sockets)),
    ("wasi:http/", wasmtime_wasi_http::p2::add_only_http_to_linker_async),
];

/// What is offered of what `component` imports: to define an interface costs more than it takes a
/// small program to run. One that `listens` has its ports among its files.
pub(crate) fn linker(
    engine: &Engine,
    component: &Component,
    listens: bool,
) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    let kind = component.component_type();
    for (package, offer) in OFFERED {
        if kind.imports(engine).any(|(name, _)| name.starts_with(package)) {
            offer(&mut linker)?;
        }
    }
    if listens {
        filesystem::add_accept_to_linker(&mut linker, Guest::files)?;
    }
    Ok(linker)
}

fn offer_clocks(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    use bindings::clocks::{monotonic_clock, wall_clock};
    wall_clock::add_to_linker::<_, WasiClocks>(linker, Guest::clocks)?;
    monotonic_clock::add_to_linker::<_, WasiClocks>(linker, Guest::clocks)
}

fn offer_random(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    use bindings::random::{insecure, insecure_seed, random};
    random::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.wasi.random())?;
    insecure::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.wasi.random())?;
    insecure_seed::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.wasi.random())
}

fn offer_cli(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    use bindings::cli::{
        environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr,
        terminal_stdin, terminal_stdout,
    };
    exit::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    environment::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    stdin::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    stdout::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    stderr::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    terminal_input::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    terminal_output::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    terminal_stdin::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    terminal_stdout::add_to_linker::<_, WasiCli>(linker, Guest::cli)?;
    terminal_stderr::add_to_linker::<_, WasiCli>(linker, Guest::cli)
}
