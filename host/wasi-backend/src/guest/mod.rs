//! What a guest has: the data in its store.

mod control;
mod limits;
mod stdio;
mod writes;

use std::{
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
    sockets::{WasiSockets, WasiSocketsView as _},
};
use wasmtime_wasi_io::IoView;

pub(crate) use control::{Control, Pace};
pub(crate) use limits::{Memory, Usage};
use stdio::{Input, Output};

use crate::{
    filesystem::{self, FilesystemView},
    vfs::Vfs,
};

/// The guest's ends of its standard streams.
pub(crate) struct Pipes {
    pub(crate) stdin: Option<PipeReader>,
    pub(crate) stdout: PipeWriter,
    pub(crate) stderr: PipeWriter,
}

/// A guest's part of its store.
pub(crate) struct Guest {
    table: ResourceTable,
    wasi: WasiCtx,
    vfs: Arc<Vfs>,
    memory: Memory,
}

impl Guest {
    pub(crate) fn new(
        process: &Process,
        vfs: Arc<Vfs>,
        pipes: Pipes,
        memory: Memory,
        control: &Arc<Control>,
    ) -> Self {
        let mut wasi = WasiCtx::builder();
        wasi.args(&process.args).initial_cwd(&process.cwd);
        for variable in &process.env {
            if let Some((name, value)) = variable.split_once('=') {
                wasi.env(name, value);
            }
        }
        wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        if let Some(stdin) = pipes.stdin {
            wasi.stdin(Input::new(stdin));
        }
        wasi.stdout(Output::new(pipes.stdout, control));
        wasi.stderr(Output::new(pipes.stderr, control));
        Self { table: ResourceTable::new(), wasi: wasi.build(), vfs, memory }
    }

    /// A store with all limits in force.
    pub(crate) fn into_store(self, engine: &Engine) -> Store<Self> {
        let mut store = Store::new(engine, self);
        store.limiter(|guest| &mut guest.memory);
        store
    }

    fn files(&mut self) -> FilesystemView<'_> {
        FilesystemView { vfs: &self.vfs, table: &mut self.table }
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

/// Defines a package's interfaces.
type Offer = fn(&mut Linker<Guest>) -> wasmtime::Result<()>;

/// What a guest may import: WASI 0.2 for commands, its files from here. Sockets can be imported, as
/// every Rust program for WASI 0.2 does, and not be made.
const OFFERED: [(&str, Offer); 6] = [
    ("wasi:io/", |linker| {
        wasmtime_wasi_io::add_to_linker_async(linker)?;
        writes::add_to_linker(linker)
    }),
    ("wasi:filesystem/", |linker| filesystem::add_to_linker(linker, Guest::files)),
    ("wasi:clocks/", offer_clocks),
    ("wasi:random/", offer_random),
    ("wasi:cli/", offer_cli),
    ("wasi:sockets/", offer_sockets),
];

/// What is offered of what `component` imports: to define an interface costs more than it takes a
/// small program to run.
pub(crate) fn linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    let kind = component.component_type();
    for (package, offer) in OFFERED {
        if kind.imports(engine).any(|(name, _)| name.starts_with(package)) {
            offer(&mut linker)?;
        }
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

fn offer_sockets(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    use bindings::sockets::{
        instance_network, ip_name_lookup, network, tcp, tcp_create_socket, udp, udp_create_socket,
    };
    let options = bindings::LinkOptions::default();
    tcp::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)?;
    tcp_create_socket::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)?;
    udp::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)?;
    udp_create_socket::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)?;
    instance_network::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)?;
    network::add_to_linker::<_, WasiSockets>(linker, &(&options).into(), Guest::sockets)?;
    ip_name_lookup::add_to_linker::<_, WasiSockets>(linker, Guest::sockets)
}
