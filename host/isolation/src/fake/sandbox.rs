//! A sandbox whose guest is a thread.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use silo_layers::copy::GuestFiles;

use super::Files;
use crate::{
    Adjust, Error, Exit, ExitStatus, Limits, LiveFiles, Process, Result, Sandbox, Signal, Stats,
    Stdio,
};

/// The guest was ended from outside, or its streams are gone.
#[derive(Debug)]
pub struct Stopped;

/// What a guest of the fake has to work with.
pub struct Context {
    /// Its arguments; the first is its name.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<String>,
    /// Its files.
    pub files: Arc<Files>,
    stdin: Option<PipeReader>,
    stdout: PipeWriter,
    stderr: PipeWriter,
    life: Arc<Life>,
}

/// The guest's life as the guest and the sandbox share it. A thread can't be killed: a guest that
/// was ended is told so at its next step, and what it returns then counts no more.
#[derive(Default)]
struct Life {
    exit: Mutex<Option<Exit>>,
    ended: Condvar,
}

/// A sandbox whose guest is a Rust function on a thread of this process.
pub struct ThreadSandbox {
    life: Arc<Life>,
    files: Arc<Files>,
    guest: Mutex<Option<(Box<Program>, Context)>>,
}

type Program = dyn FnOnce(&mut Context) -> std::result::Result<u8, Stopped> + Send;

impl Context {
    /// Reads what there is of stdin; 0 at its end.
    pub fn read(&mut self, buffer: &mut [u8]) -> std::result::Result<usize, Stopped> {
        self.check()?;
        let read = self.stdin.as_mut().map_or(Ok(0), |stdin| stdin.read(buffer));
        read.map_err(|_| Stopped)
    }

    /// Writes to stdout.
    pub fn print(&mut self, bytes: &[u8]) -> std::result::Result<(), Stopped> {
        self.check()?;
        self.stdout.write_all(bytes).map_err(|_| Stopped)
    }

    /// Writes to stderr.
    pub fn complain(&mut self, bytes: &[u8]) -> std::result::Result<(), Stopped> {
        self.check()?;
        self.stderr.write_all(bytes).map_err(|_| Stopped)
    }

    /// Sleeps until it is ended from outside.
    pub fn sleep(&self) -> Stopped {
        let mut exit = self.life.lock();
        while exit.is_none() {
            exit = self.life.ended.wait(exit).unwrap_or_else(PoisonError::into_inner);
        }
        Stopped
    }

    /// Whether it may go on.
    pub fn check(&self) -> std::result::Result<(), Stopped> {
        if self.life.lock().is_some() { Err(Stopped) } else { Ok(()) }
    }

    /// Ends as a failed assertion does; for the program to return.
    #[must_use]
    pub fn abort(&self) -> Stopped {
        self.life.end(ExitStatus::Signaled(Signal::ABRT));
        Stopped
    }
}

impl Life {
    fn lock(&self) -> MutexGuard<'_, Option<Exit>> {
        self.exit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first end counts.
    fn end(&self, status: ExitStatus) {
        self.lock().get_or_insert(Exit::new(status));
        self.ended.notify_all();
    }
}

impl ThreadSandbox {
    /// A sandbox ready to start. The guest gets its [`Context`] and returns its exit code, or
    /// [`Stopped`] when it was ended from outside.
    pub fn new(
        program: impl FnOnce(&mut Context) -> std::result::Result<u8, Stopped> + Send + 'static,
        process: &Process,
        files: Files,
        stdio: Stdio,
    ) -> Result<Self> {
        let Stdio::Pipes { stdin, stdout, stderr } = stdio else {
            return Err(Error::Unsupported { what: "there are no terminals".to_owned() });
        };
        let (life, files) = (Arc::new(Life::default()), Arc::new(files));
        let context = Context {
            args: process.args.clone(),
            env: process.env.clone(),
            files: Arc::clone(&files),
            stdin,
            stdout,
            stderr,
            life: Arc::clone(&life),
        };
        Ok(Self { life, files, guest: Mutex::new(Some((Box::new(program), context))) })
    }

    fn take_guest(&self) -> Option<(Box<Program>, Context)> {
        self.guest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Sandbox for ThreadSandbox {
    fn start(&self) -> Result<()> {
        let (program, mut context) =
            self.take_guest().ok_or(Error::WrongState { state: "already started" })?;
        let life = Arc::clone(&self.life);
        let run = move || {
            let ended = program(&mut context);
            // Its ends of the pipes close before its end is told.
            drop(context);
            if let Ok(code) = ended {
                life.end(ExitStatus::Exited(code));
            } else {
                life.end(ExitStatus::Signaled(Signal::KILL));
            }
        };
        let spawned = thread::Builder::new().name("guest".to_owned()).spawn(run);
        spawned.map(drop).map_err(|source: io::Error| Error::Step {
            step: "start the guest's thread".to_owned(),
            source: source.into(),
        })
    }

    fn pid(&self) -> Option<u32> {
        None
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        if matches!(signal, Signal::KILL | Signal::TERM | Signal::INT | Signal::QUIT | Signal::HUP)
        {
            self.life.end(ExitStatus::Signaled(signal));
        }
        Ok(())
    }

    fn wait(&self) -> Result<Exit> {
        let mut exit = self.life.lock();
        loop {
            if let Some(exit) = &*exit {
                return Ok(exit.clone());
            }
            exit = self.life.ended.wait(exit).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn stats(&self) -> Result<Stats> {
        Ok(Stats { pids: Some(1), ..Stats::default() })
    }

    fn files(&self) -> Option<&dyn LiveFiles> {
        Some(self)
    }

    fn limits(&self) -> Option<&dyn Adjust> {
        Some(self)
    }

    fn delete(self: Box<Self>) -> Result<()> {
        self.life.end(ExitStatus::Signaled(Signal::KILL));
        // A guest that computes looks at its life now and then; the pipes close when it does.
        drop(self.take_guest());
        Ok(())
    }
}

impl Adjust for ThreadSandbox {
    fn adjust(&self, _: &Limits) -> Result<()> {
        // Of those that it admits it holds none.
        Ok(())
    }
}

impl LiveFiles for ThreadSandbox {
    fn open(&self) -> Result<Box<dyn GuestFiles>> {
        Ok(Box::new(self.files.to_copy()))
    }
}
