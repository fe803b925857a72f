//! A guest that answers requests.

use std::{future::Future, io, num::NonZero, pin::pin, sync::Arc, thread, time::Duration};

use hyper::{Request, Response, body::Incoming};
use silo_isolation::{Error, Exit, ExitStatus, Protocol, Result};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::JoinSet,
    time::timeout,
};
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::{
    WasiBody, WasiHttpView as _,
    p2::bindings::{ProxyPre, http::types::Scheme},
};

use super::{connection, pace::Pace};
use crate::{
    guest::{Control, Guest},
    network::{Claim, Net},
    sandbox::run,
};

/// The port of the host where nothing is published and the network is the host's.
const DEFAULT_PORT: u16 = 80;
/// The most instances at a time. Further requests wait.
pub(crate) const MAX_INSTANCES: u32 = 1024;
/// The most clients at a time. Further ones wait to be accepted.
const MAX_CLIENTS: u32 = 2048;
/// The longest that an instance lives.
const MAX_TIME: Duration = Duration::from_mins(10);
/// How long instances that are given up have to notice.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// How long to wait where the host can take no client, before it is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// A service before it runs.
pub(crate) struct Service {
    pub(crate) program: ProxyPre<Guest>,
    /// What its instances are like.
    pub(crate) guest: Guest,
    pub(crate) nano_cpus: Option<u64>,
}

/// Tells why no request would reach a service.
pub(crate) fn check(name: &str, net: &Net) -> Result<()> {
    if net.offers(Protocol::Tcp) || net.policy.may_listen() {
        return Ok(());
    }
    let reason = "it answers HTTP requests, and no port leads to it; -p 8080:80 publishes one";
    Err(Error::ProgramNotRunnable { program: name.to_owned(), reason: reason.to_owned() })
}

/// What all that a service does has in common.
pub(super) struct Shared {
    program: ProxyPre<Guest>,
    engine: Engine,
    guest: std::sync::Mutex<Guest>,
    control: Arc<Control>,
    pace: Option<Arc<Pace>>,
    instances: Arc<Semaphore>,
}

impl Service {
    /// Serves until it is asked to end and has, or is ended.
    pub(crate) fn run(self, engine: &Engine, control: &Arc<Control>) -> Exit {
        let status = match self.serve(engine, control) {
            Ok(()) => ExitStatus::Exited(0),
            Err(error) => ExitStatus::Trapped(format!("cannot serve HTTP: {error}")),
        };
        Exit::new(control.signal().map_or(status, ExitStatus::Signaled))
    }

    fn serve(self, engine: &Engine, control: &Arc<Control>) -> io::Result<()> {
        allow_descriptors();
        let cores = thread::available_parallelism().map_or(1, NonZero::get) as u64;
        let threads =
            self.nano_cpus.map_or(cores, |nanos| nanos.div_ceil(1_000_000_000)).clamp(1, cores);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(usize::try_from(threads).unwrap_or(1))
            .thread_name("guest")
            .enable_all()
            .build()?;
        // A thread of its own: those of the runtime may all be busy with guests.
        let _ticker = run::tick(engine);
        let ended = runtime.block_on(self.listen(engine, control));
        // What still runs is given up at its next look at the epoch, which goes on meanwhile.
        runtime.shutdown_timeout(LAST_LOOK);
        ended
    }

    async fn listen(self, engine: &Engine, control: &Arc<Control>) -> io::Result<()> {
        let net = Arc::clone(self.guest.net());
        let (_claim, listeners) = listeners(&net).await?;
        let shared = Arc::new(Shared {
            program: self.program,
            engine: engine.clone(),
            guest: std::sync::Mutex::new(self.guest),
            control: Arc::clone(control),
            pace: self.nano_cpus.map(|nanos| Arc::new(Pace::new(nanos))),
            instances: Arc::new(Semaphore::new(MAX_INSTANCES as usize)),
        });
        control.can_be_asked();
        let clients = Arc::new(Semaphore::new(MAX_CLIENTS as usize));
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(accept(Arc::clone(&shared), listener, Arc::clone(&clients)));
        }
        let all = async {
            while accepting.join_next().await.is_some() {}
            // What instances do after they have answered.
            let _ = shared.instances.acquire_many(MAX_INSTANCES).await;
        };
        tokio::select! {
            () = all => {}
            _ = control.signalled() => {}
        }
        Ok(())
    }
}

/// Lets this process have a descriptor for each client, as far as the host lets it.
#[cfg(unix)]
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const WANTED: u64 = 2 * (MAX_CLIENTS + MAX_INSTANCES) as u64;
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(WANTED, |most| most.min(WANTED));
    if limit.current.is_some_and(|current| current < most) {
        // With fewer, clients wait to be accepted.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    }
}

#[cfg(not(unix))]
fn allow_descriptors() {}

/// What is published, or the default port of the host's network.
async fn listeners(net: &Arc<Net>) -> io::Result<(Option<Claim>, Vec<Arc<TcpListener>>)> {
    match net.claim_all(Protocol::Tcp) {
        Some(Ok(claim)) => {
            let listeners = claim.listen()?;
            Ok((Some(claim), listeners))
        }
        Some(Err(_taken)) => Err(io::ErrorKind::AddrInUse.into()),
        None => {
            let listener = TcpListener::bind(("0.0.0.0", DEFAULT_PORT)).await?;
            Ok((None, vec![Arc::new(listener)]))
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: Arc<TcpListener>, clients: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    let mut asked = pin!(shared.control.asked_to_end());
    loop {
        let next = async {
            let permit = Arc::clone(&clients).acquire_owned().await.ok()?;
            shared.control.resumed().await;
            if let Ok((stream, _)) = listener.accept().await {
                Some((permit, stream))
            } else {
                tokio::time::sleep(RETRY).await;
                None
            }
        };
        tokio::select! {
            () = &mut asked => break,
            next = next => if let Some((permit, stream)) = next {
                let connection = connection::serve(Arc::clone(&shared), stream);
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            },
        }
        while connections.try_join_next().is_some() {}
    }
    while connections.join_next().await.is_some() {}
}

impl Shared {
    pub(super) fn control(&self) -> &Control {
        &self.control
    }

    fn template(&self) -> std::sync::MutexGuard<'_, Guest> {
        self.guest.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells the container's log.
    pub(super) fn complain(&self, line: &str) {
        self.template().complain(line);
    }

    /// Has a new instance answer. An error is why there is no answer.
    pub(super) async fn handle(
        self: &Arc<Self>,
        request: Request<Incoming>,
    ) -> std::result::Result<Response<WasiBody>, String> {
        let permit = Arc::clone(&self.instances).acquire_owned().await;
        let permit = permit.map_err(|error| error.to_string())?;
        let (sender, answered) = oneshot::channel();
        let mut running = Running(Some(spawn(Arc::clone(self).instance(permit, request, sender))));
        match answered.await {
            Ok(answer) => {
                // It may go on after it has answered.
                running.let_go();
                answer.map_err(|code| format!("{code:?}"))
            }
            Err(_) => match running.0.take() {
                Some(ended) => Err(match ended.await {
                    Ok(()) => "the program returned without an answer".to_owned(),
                    Err(error) => error,
                }),
                None => Err("it was given up".to_owned()),
            },
        }
    }

    async fn instance(
        self: Arc<Self>,
        permit: OwnedSemaphorePermit,
        request: Request<Incoming>,
        sender: oneshot::Sender<std::result::Result<Response<WasiBody>, ErrorCode>>,
    ) -> std::result::Result<(), String> {
        let guest = self.template().another(Box::new(permit));
        let mut store = guest.into_store(&self.engine);
        self.watch(&mut store);
        let call = async {
            let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
            let answer = store.data_mut().http().new_response_outparam(sender)?;
            let proxy = self.program.instantiate_async(&mut store).await?;
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, answer).await
        };
        let held = self.control.hold(call, |call, context| self.control.run(|| call.poll(context)));
        match timeout(MAX_TIME, held).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("{error:#}")),
            Err(_) => Err(format!("it took longer than {} seconds", MAX_TIME.as_secs())),
        }
    }

    /// Has an instance that computes let others go on, stand still and end.
    fn watch(&self, store: &mut Store<Guest>) {
        let (control, pace) = (Arc::clone(&self.control), self.pace.clone());
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            if let Some(signal) = control.signal() {
                wasmtime::bail!("ended by {signal}");
            }
            let used = Duration::from_nanos(control.cpu_nanos());
            Ok(match pace.as_ref().and_then(|pace| pace.wait(used)) {
                Some(pause) => UpdateDeadline::YieldCustom(1, Box::pin(tokio::time::sleep(pause))),
                None => UpdateDeadline::Yield(1),
            })
        });
    }
}

type ErrorCode = wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

/// An instance, which is given up when who asked it has gone before it answered.
struct Running(Option<AbortOnDropJoinHandle<std::result::Result<(), String>>>);

impl Running {
    /// Lets it live as long as it likes.
    fn let_go(&mut self) {
        if let Some(running) = self.0.take() {
            tokio::spawn(running);
        }
    }
}
