//! `RUN`: a command in a sandbox of the engine, whose changes become a layer.

use std::{
    collections::VecDeque,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::json;
use silo_engine::CreateOptions;
use silo_isolation::{Mount, MountKind, Network};
use silo_layers::{Step, timestamp};

use super::{
    Build,
    key::Key,
    stage::{Doing, Stage},
};
use crate::{
    Error, Event, Host, Result,
    config::arguments,
    parse::{Command, Fault, Place, Run},
};

/// The name of the machine that commands see: the same in every build.
const HOSTNAME: &str = "silo-build";
/// Where a script of the Dockerfile is while it runs.
const SCRIPT: &str = "/.silo-script";
/// Longer than between two ticks.
const TICK: Duration = Duration::from_millis(20);
/// How much of the end of a command's output is told when it fails.
const TAIL_LINES: usize = 12;
const TAIL_LINE: usize = 400;

/// What is run.
struct Program {
    args: Vec<String>,
    /// A file that is run.
    script: Option<String>,
}

impl Build<'_> {
    pub(super) fn run(&mut self, stage: &mut Stage, doing: &Doing<'_>, run: &Run) -> Result<bool> {
        let program = program(stage, run);
        let is_shell = matches!(run.command, Command::Shell(_));
        if is_shell
            && stage.platform.os.starts_with("wasi")
            && stage.config.list("Shell").is_empty()
        {
            let fault = Fault::new(doing.at(), "WebAssembly images have no shell").hinted(
                "write RUN [\"/program.wasm\", \"ARG\"], or name a program that is one by SHELL",
            );
            return Err(doing.fault(fault));
        }
        let environment = environment(stage);
        let key = self.key(stage, &program, &environment)?;
        let (step, cached) =
            self.step(&key, || self.carry_out(stage, doing, &program, &environment, &key))?;
        stage.take(doing.text, step)?;
        Ok(cached)
    }

    fn key(
        &self,
        stage: &Stage,
        program: &Program,
        environment: &[String],
    ) -> Result<silo_layers::Digest> {
        let mut key = Key::new("run 1");
        key.layers(&stage.layers);
        key.field(stage.platform.to_string());
        key.list(&program.args);
        key.field(program.script.as_deref().unwrap_or_default());
        key.list(environment);
        for name in ["WorkingDir", "User"] {
            key.field(stage.config.text(name));
        }
        key.field(match self.options.network {
            Network::None => "none",
            Network::Host => "host",
        });
        key.field(timestamp(stage.time)?);
        Ok(key.digest())
    }

    fn carry_out(
        &self,
        stage: &Stage,
        doing: &Doing<'_>,
        program: &Program,
        environment: &[String],
        key: &silo_layers::Digest,
    ) -> Result<Step> {
        let failed = |error: Error| doing.failed(error, "run the command");
        let store = self.store();
        let proxies = self.arguments.proxies().into_iter();
        let env = environment.iter().cloned();
        let env: Vec<_> =
            env.chain(proxies.map(|(name, value)| format!("{name}={value}"))).collect();
        let config = json!({
            "os": stage.platform.os,
            "architecture": stage.platform.architecture,
            "config": {
                "Env": env,
                "WorkingDir": stage.config.text("WorkingDir"),
                "User": stage.config.text("User"),
            },
        });
        let image =
            store.image_of_layers(&config, &stage.layers).map_err(|error| failed(error.into()))?;
        let script = program.script.as_ref().map(|text| Script::write(store.root(), text));
        let script = script.transpose().map_err(failed)?;
        let mounts = script.iter().map(|script| Mount {
            destination: SCRIPT.to_owned(),
            kind: MountKind::Bind { source: script.0.clone() },
            readonly: true,
        });
        let options = CreateOptions {
            image: "a step of a build".to_owned(),
            args: program.args.clone(),
            platform: Some(stage.platform.clone()),
            hostname: Some(HOSTNAME.to_owned()),
            mounts: mounts.collect(),
            network: self.options.network,
            ..CreateOptions::default()
        };
        // File systems count time in ticks of the kernel's, the last of which is a little earlier.
        let started = SystemTime::now() - TICK;
        let mut session =
            self.engine.run_bound(&image, &options).map_err(|error| failed(error.into()))?;
        self.stop.runs(Some(session.control()));
        let (mut stdout, mut stderr) = (Told::new(self.host), Told::new(self.host));
        let ended = session.follow(&mut stdout, &mut stderr);
        self.stop.runs(None);
        self.stop.check()?;
        let exit = ended.map_err(|error| failed(error.into()))?;
        if exit.code() != 0 {
            return Err(Error::Run {
                place: Place(doing.source, doing.at()).to_string(),
                code: exit.code(),
                excerpt: doing.source.excerpt(doing.at()),
                tail: stderr.after(stdout),
            });
        }
        Ok(store.keep_changes(
            self.lease,
            key,
            session.snapshot(),
            session.omitted(),
            started,
            stage.time,
        )?)
    }
}

/// What a command sees, but for proxies: the environment, and `ARG`s that it does not hide.
fn environment(stage: &Stage) -> Vec<String> {
    let mut environment = stage.config.list("Env");
    for (name, value) in stage.arguments.iter().rev() {
        let prefix = format!("{name}=");
        let known = environment.iter().any(|pair| pair.starts_with(&prefix));
        if let (Some(value), false) = (value, known) {
            environment.push(format!("{prefix}{value}"));
        }
    }
    environment
}

fn program(stage: &Stage, run: &Run) -> Program {
    let Command::Shell(line) = &run.command else {
        return Program { args: arguments(&run.command, &stage.shell), script: None };
    };
    let in_shell =
        |text: String| Program { args: [stage.shell.as_slice(), &[text]].concat(), script: None };
    match run.heredocs.as_slice() {
        [] => in_shell(line.to_string()),
        [script] if script.mark == line.as_str() => {
            if script.body.starts_with("#!") {
                let script = Some(script.body.clone());
                return Program { args: vec![SCRIPT.to_owned()], script };
            }
            in_shell(script.body.clone())
        }
        files => {
            let mut text = format!("{line}\n");
            for file in files {
                text.push_str(&file.body);
                text.push_str(&file.name);
                text.push('\n');
            }
            in_shell(text)
        }
    }
}

/// A file that is run, which goes with this.
struct Script(PathBuf);

impl Script {
    fn write(root: &Path, text: &str) -> Result<Self> {
        let directory = root.join("cache/build/scripts");
        let failed = |verb, path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { verb, path, source }
        };
        fs::create_dir_all(&directory).map_err(failed("create", &directory))?;
        remove_abandoned(&directory);
        let path = directory.join(format!("{}-{}", std::process::id(), unique()));
        let script = Self(path);
        fs::write(&script.0, text).map_err(failed("write", &script.0))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&script.0, fs::Permissions::from_mode(0o755))
                .map_err(failed("set the permissions of", &script.0))?;
        }
        Ok(script)
    }
}

/// Removes scripts of builds that were killed: those that are a day old. One that runs all the same is
/// open already.
fn remove_abandoned(directory: &Path) {
    const DAY: Duration = Duration::from_hours(24);
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > DAY) {
            // What stays does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Passes a command's output on, and keeps its last lines.
struct Told<'a> {
    host: &'a dyn Host,
    lines: VecDeque<String>,
    open: Vec<u8>,
}

impl<'a> Told<'a> {
    const fn new(host: &'a dyn Host) -> Self {
        Self { host, lines: VecDeque::new(), open: Vec::new() }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.open).trim_end().to_owned();
        self.open.clear();
        if self.lines.len() == TAIL_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The last lines of another stream and of this.
    fn after(mut self, mut other: Self) -> String {
        for told in [&mut other, &mut self] {
            if !told.open.is_empty() {
                told.end_line();
            }
        }
        let lines: Vec<String> = other.lines.into_iter().chain(self.lines).collect();
        let start = lines.len().saturating_sub(TAIL_LINES);
        lines[start..].join("\n")
    }
}

impl Write for Told<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.host.tell(Event::Output(bytes));
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line(),
                byte if self.open.len() < TAIL_LINE => self.open.push(byte),
                _ => {}
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
