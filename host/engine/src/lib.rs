//! Containers: their records, their supervisors, their life.
//!
//! The engine makes a container of an image and of what a user asks for, hands it to one of
//! the backends that it was given, and keeps what is known of it. It names no backend, prints
//! nothing, and reads no environment variable.
//!
//! # Verbs
//!
//! ```text
//! Engine::open(root: &Path, Vec<Arc<dyn IsolationBackend>>, Box<dyn Launch>) -> Result<Engine>
//! engine.store() -> &Store                   engine.backends() -> &[Arc<dyn IsolationBackend>]
//! engine.create(&CreateOptions) -> Result<Container>
//! engine.run(&CreateOptions, Attach) -> Result<Session>       create + start
//! engine.run_bound(&Image, &CreateOptions) -> Result<BoundSession>    for steps of a build
//! engine.start(query: &str, Attach) -> Result<Session>
//! engine.attach(query, Attach) -> Result<Session>             engine.attachable(query) -> Result<Container>
//! engine.exec(query, &ExecOptions) -> Result<Session>
//! engine.list() -> Result<Listing>           engine.inspect(query) -> Result<Summary>
//! engine.wait(query) -> Result<u8>           engine.stop(query, Option<Signal>, Duration) -> Result<()>
//! engine.restart(query, Option<Signal>, Duration) -> Result<()>
//! engine.kill(query, Signal) -> Result<()>   engine.remove(query, force: bool) -> Result<()>
//! engine.pause(query) -> Result<()>          engine.unpause(query) -> Result<()>
//! engine.processes(query) -> Result<Vec<u32>>
//! engine.rename(query, name: &str) -> Result<()>
//! engine.update(query, &Limits) -> Result<()>
//! engine.logs(query, LogOptions, &mut dyn FnMut(LogEntry) -> io::Result<()>) -> Result<()>
//! engine.remove_image(name, force: bool) -> Result<Removed>    unless a container uses it
//! engine.stats(query) -> Result<Stats>       engine.images_in_use() -> Result<BTreeSet<Digest>>
//! engine.changes(query) -> Result<Vec<Change>>                engine.export(query, &mut dyn Write) -> Result<()>
//! engine.copy_from(query, path, CopyTarget, CopyOptions) -> Result<Vec<String>>
//! engine.copy_to(query, CopySource, path, CopyOptions) -> Result<Vec<String>>
//! engine.commit(query, &CommitRequest) -> Result<Digest>      engine.prune() -> Result<Pruned>
//! engine.check(repair: bool) -> Result<CheckReport>           engine.usage() -> Result<Usage>
//!
//! session.id() -> &str                       session.control() -> Control
//! session.wait(&mut dyn Write, &mut dyn Write) -> Result<Exit>; dropping it detaches
//! session.follow(&mut dyn Write, &mut dyn Write) -> Result<Exit>     for those about to exit
//! control.stdin(&[u8]), .close_stdin(), .detach(), .signal(Signal), .resize(TerminalSize) -> Result<()>
//!
//! supervise(root: &Path, id, backend, &[Arc<dyn IsolationBackend>]) -> Result<()>   hidden verb
//! ```
//!
//! A `query` is a name, an id or the beginning of one.
#![forbid(unsafe_code)]

mod bundle;
mod client;
mod endpoint;
mod engine;
mod error;
mod guest_files;
mod log;
mod names;
pub mod options;
mod protocol;
mod record;
mod route;
mod state;
mod supervisor;

pub use bundle::owner;
pub use client::{Control, Launch, Reap, Session, SupervisorCommand};
pub use engine::{BoundSession, Engine};
pub use error::{Cause, Error, Failure, Result};
pub use options::{
    Attach, CommitRequest, CopyOptions, CopySource, CopyTarget, CreateOptions, ExecOptions,
    LogOptions,
};
pub use record::{
    CheckReport, Container, ImageRecord, Listing, LogEntry, Problem, Pruned, RunConfig, State,
    Status, Stream, Summary, Usage,
};
pub use supervisor::supervise;

use std::sync::Arc;

use silo_isolation::IsolationBackend;

/// The backend of that name.
fn backend(
    backends: &[Arc<dyn IsolationBackend>],
    name: &str,
) -> Result<Arc<dyn IsolationBackend>> {
    backends.iter().find(|backend| backend.name() == name).cloned().ok_or_else(|| {
        Error::UnknownBackend {
            name: name.to_owned(),
            available: backends.iter().map(|backend| backend.name()).collect(),
        }
    })
}
