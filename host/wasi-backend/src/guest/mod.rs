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
    component::{Linker, ResourceTable},
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
        vfs: Vfs,
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
        Self { table: ResourceTable::new(), wasi: wasi.build(), vfs: Arc::new(vfs), memory }
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

/// Everything that a guest may import: WASI 0.2 for commands, its files from here.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    use bindings::{cli, clocks, random, sockets};
    type G = Guest;

    let mut linker = Linker::new(engine);
    let l = &mut linker;
    wasmtime_wasi_io::add_to_linker_async(l)?;
    writes::add_to_linker(l)?;
    filesystem::add_to_linker(l, G::files)?;
    clocks::wall_clock::add_to_linker::<G, WasiClocks>(l, G::clocks)?;
    clocks::monotonic_clock::add_to_linker::<G, WasiClocks>(l, G::clocks)?;
    random::random::add_to_linker::<G, WasiRandom>(l, |g| g.wasi.random())?;
    random::insecure::add_to_linker::<G, WasiRandom>(l, |g| g.wasi.random())?;
    random::insecure_seed::add_to_linker::<G, WasiRandom>(l, |g| g.wasi.random())?;
    cli::exit::add_to_linker::<G, WasiCli>(l, G::cli)?;
    cli::environment::add_to_linker::<G, WasiCli>(l, G::cli)?;
    cli::stdin::add_to_linker::<G, WasiCli>(l, G::cli)?;
    cli::stdout::add_to_linker::<G, WasiCli>(l, G::cli)?;
    cli::stderr::add_to_linker::<G, WasiCli>(l, G::cli)?;
    cli::terminal_input::add_to_linker::<G, WasiCli>(l, G::cli)?;
    cli::terminal_output::add_to_linker::<G, WasiCli>(l, G::cli)?;
    cli::terminal_stdin::add_to_linker::<G, WasiCli>(l, G::cli)?;
    cli::terminal_stdout::add_to_linker::<G, WasiCli>(l, G::cli)?;
    cli::terminal_stderr::add_to_linker::<G, WasiCli>(l, G::cli)?;
    // Sockets can be imported, as every Rust program for WASI 0.2 does, and not be made.
    let options = bindings::LinkOptions::default();
    sockets::tcp::add_to_linker::<G, WasiSockets>(l, G::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<G, WasiSockets>(l, G::sockets)?;
    sockets::udp::add_to_linker::<G, WasiSockets>(l, G::sockets)?;
    sockets::udp_create_socket::add_to_linker::<G, WasiSockets>(l, G::sockets)?;
    sockets::instance_network::add_to_linker::<G, WasiSockets>(l, G::sockets)?;
    sockets::network::add_to_linker::<G, WasiSockets>(l, &(&options).into(), G::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<G, WasiSockets>(l, G::sockets)?;
    Ok(linker)
}
