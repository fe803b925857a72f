//! Carrying a Dockerfile out.
//!
//! ```text
//! target ─ stage ─ FROM: a stage before, an image, nothing
//!                  └ each instruction ─ config                        ENV, CMD, LABEL, ...
//!                                     └ key ─ a step that is known    RUN, COPY, ADD, WORKDIR
//!                                           └ lock, carry out, keep
//! ```
//!
//! Stages are carried out when they are first needed. A key is made of what an instruction does and of
//! what it does it to, and of nothing else, so that a step is taken again whenever it would lead to the
//! same.

mod arguments;
mod copy;
mod key;
mod run;
mod stage;

use std::{
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};

use silo_engine::Engine;
use silo_layers::{BuiltImage, Digest, Lease, Platform, Step, Store};

use self::{arguments::Arguments, stage::Stage};
use crate::{
    BuildOptions, Built, Error, Event, Host, Input, Result, Stop,
    context::Context,
    parse::{self, Dockerfile},
    plan,
};

/// How often it is looked whether another build is done with a step.
const GLANCE: Duration = Duration::from_millis(50);

/// Builds an image.
pub fn build(
    engine: &Engine,
    input: &Input,
    options: &BuildOptions,
    host: &dyn Host,
    stop: &Stop,
) -> Result<Built> {
    let dockerfile = parse::parse(input.dockerfile.clone())
        .map_err(|(source, fault)| Error::fault(&source, fault))?;
    let target = plan::target(&dockerfile, options.target.as_deref())?;
    let context = Context::open(input)?;
    let store = engine.store();
    let lease = store.lease()?;
    let platforms: Vec<Option<Platform>> = match options.platforms.as_slice() {
        [] => vec![None],
        platforms => platforms.iter().cloned().map(Some).collect(),
    };
    let total = plan::count(&dockerfile, target) * platforms.len();
    let mut images: Vec<BuiltImage> = Vec::new();
    let mut progress = Progress { number: 0, total };
    let mut unused = None;
    for platform in platforms {
        let mut build = Build {
            engine,
            options,
            host,
            stop,
            dockerfile: &dockerfile,
            context: context.as_ref(),
            lease: &lease,
            arguments: Arguments::new(engine, options, platform.as_ref()),
            platform,
            stages: BTreeMap::new(),
            progress: &mut progress,
        };
        build.global_arguments()?;
        let stage = build.stage(target)?;
        images.push(stage.image(options)?);
        unused.get_or_insert_with(|| build.arguments.unused());
    }
    for name in unused.unwrap_or_default() {
        host.tell(Event::Warning(&format!("--build-arg {name}: no ARG says that it is used")));
    }
    stop.check()?;
    let (digest, id) = store.publish_built(&lease, &images, &options.names)?;
    store.forget_unused_steps()?;
    Ok(Built { digest, id })
}

/// Which step it is.
struct Progress {
    number: usize,
    total: usize,
}

/// A build for one platform.
struct Build<'a> {
    engine: &'a Engine,
    options: &'a BuildOptions,
    host: &'a dyn Host,
    stop: &'a Stop,
    dockerfile: &'a Dockerfile,
    context: Option<&'a Context>,
    lease: &'a Lease,
    arguments: Arguments,
    /// What it is for, if that was asked for.
    platform: Option<Platform>,
    /// Stages that were carried out.
    stages: BTreeMap<usize, Rc<Stage>>,
    progress: &'a mut Progress,
}

impl Build<'_> {
    fn store(&self) -> &Store {
        self.engine.store()
    }

    /// Tells that a step begins, does it, and tells that it is done. `act` says whether it had been
    /// done before.
    fn told(&mut self, text: &str, act: impl FnOnce(&mut Self) -> Result<bool>) -> Result<()> {
        self.stop.check()?;
        self.progress.number += 1;
        let number = self.progress.number;
        // Triggers of images are not known before.
        let total = self.progress.total.max(number);
        self.host.tell(Event::Started { number, total, text });
        let start = Instant::now();
        let cached = act(self)?;
        self.host.tell(Event::Finished { cached, took: start.elapsed() });
        Ok(())
    }

    /// The step of this key, from before or carried out now. Tells whether it is from before.
    fn step(&self, key: &Digest, carry_out: impl FnOnce() -> Result<Step>) -> Result<(Step, bool)> {
        let known = || {
            if self.options.no_cache { Ok(None) } else { self.store().step(self.lease, key) }
        };
        if let Some(step) = known()? {
            return Ok((step, true));
        }
        let mut waits = false;
        let _lock = loop {
            if let Some(lock) = self.store().lock_step(key)? {
                break lock;
            }
            if !waits {
                self.host.tell(Event::Waiting);
                waits = true;
            }
            self.stop.check()?;
            std::thread::sleep(GLANCE);
        };
        // Another build may have been done with it just before the lock was ours.
        match known()? {
            Some(step) => Ok((step, true)),
            None => Ok((carry_out()?, false)),
        }
    }

    /// When what a stage holds was made at the latest, with these newer inputs.
    fn time(&self, before: SystemTime, newest: Option<SystemTime>) -> SystemTime {
        self.options.epoch.unwrap_or_else(|| newest.map_or(before, |newest| before.max(newest)))
    }

    fn global_arguments(&mut self) -> Result<()> {
        for statement in &self.dockerfile.arguments {
            if let parse::Instruction::Arg(arguments) = &statement.instruction {
                self.arguments
                    .declare_globally(arguments, self.dockerfile.escape)
                    .map_err(|fault| Error::fault(&self.dockerfile.source, fault))?;
            }
        }
        Ok(())
    }
}
