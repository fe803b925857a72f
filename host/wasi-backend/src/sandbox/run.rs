//! Running a guest, on its thread.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::{Arc, mpsc},
    task::Poll,
    thread,
    time::Duration,
};

use silo_isolation::{Exit, ExitStatus};
use tokio::runtime::Runtime;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{I32Exit, p2::bindings::CommandPre};

use super::{Prepared, Program};
use crate::{
    guest::{Control, Guest, Pace, Usage},
    http::Service,
};

/// How often a guest with a share of a core is looked at.
const TICK: Duration = Duration::from_millis(10);

/// How a guest's code ended: by returning, or not.
type Outcome = wasmtime::Result<Result<(), ()>>;

/// Runs a guest to its end.
pub(crate) fn run(
    prepared: Prepared,
    engine: &Engine,
    control: &Arc<Control>,
    usage: &Usage,
) -> Exit {
    let Prepared { program, guest, nano_cpus } = prepared;
    let program = match program {
        Program::Command(program) => program,
        Program::Service(program) => {
            return Service { program, guest, nano_cpus }.run(engine, control);
        }
    };
    let outcome = match runtime(!guest.net().needs.is_nothing()) {
        Ok(runtime) => runtime.block_on(command(&program, guest, nano_cpus, engine, control)),
        Err(error) => Err(error.into()),
    };
    control.measure();
    let status = status(outcome, control);
    let oom_killed =
        usage.was_denied() && !matches!(status, ExitStatus::Exited(0) | ExitStatus::Signaled(_));
    Exit { status, oom_killed }
}

/// What the guest waits by: for time, and for the network where it has any.
fn runtime(has_network: bool) -> io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time();
    if has_network {
        builder.enable_io();
    }
    builder.build()
}

fn status(outcome: Outcome, control: &Control) -> ExitStatus {
    if let Err(error) = &outcome
        && let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>()
    {
        return ExitStatus::Exited(code.to_le_bytes()[0]);
    }
    match (outcome, control.signal()) {
        (Ok(Ok(())), _) => ExitStatus::Exited(0),
        (Ok(Err(())), _) => ExitStatus::Exited(1),
        (Err(_), Some(signal)) => ExitStatus::Signaled(signal),
        (Err(error), None) => ExitStatus::Trapped(format!("{error:?}")),
    }
}

/// The guest as a future. Everything of it is dropped with the future: streams are closed
/// before its end is told.
async fn command(
    program: &CommandPre<Guest>,
    guest: Guest,
    nano_cpus: Option<u64>,
    engine: &Engine,
    control: &Arc<Control>,
) -> Outcome {
    let mut store = guest.into_store(engine);
    let _ticker = watch_epoch(&mut store, engine, control, nano_cpus);
    let call = async {
        let command = program.instantiate_async(&mut store).await?;
        command.wasi_cli_run().call_run(&mut store).await
    };
    let held = control.hold(call, |call, context| {
        control.set_running(true);
        let polled = call.poll(context);
        control.set_running(false);
        polled
    });
    let (mut held, mut signalled) = (pin!(held), pin!(control.signalled()));
    poll_fn(|context| match signalled.as_mut().poll(context) {
        Poll::Ready(signal) => Poll::Ready(Err(wasmtime::format_err!("ended by {signal}"))),
        Poll::Pending => held.as_mut().poll(context),
    })
    .await
}

/// Has the guest look at `control` whenever the epoch changes, which is when someone wants
/// it to, and regularly when it has a share of a core to keep to.
fn watch_epoch(
    store: &mut Store<Guest>,
    engine: &Engine,
    control: &Arc<Control>,
    nano_cpus: Option<u64>,
) -> Option<mpsc::Sender<()>> {
    let mut pace = Pace::new(nano_cpus);
    let ticker = pace.is_some().then(|| tick(engine));
    let control = Arc::clone(control);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        let used = control.measure();
        if let Some(signal) = control.signal() {
            wasmtime::bail!("ended by {signal}");
        }
        if control.is_paused() {
            return Ok(UpdateDeadline::Yield(1));
        }
        Ok(pace.as_mut().map_or(UpdateDeadline::Continue(1), |pace| pace.update(used)))
    });
    ticker
}

/// Increments the epoch regularly until what it returns is dropped.
pub(crate) fn tick(engine: &Engine) -> mpsc::Sender<()> {
    let (sender, receiver) = mpsc::channel();
    let engine = engine.clone();
    thread::spawn(move || {
        while receiver.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
            engine.increment_epoch();
        }
    });
    sender
}
