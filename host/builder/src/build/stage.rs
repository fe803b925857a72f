//! Stages: what an image is when it begins, and what instructions make of it.

use std::{rc::Rc, time::SystemTime};

use serde_json::{Value, json};
use silo_engine::Engine;
use silo_isolation::DEFAULT_PATH;
use silo_layers::{
    BuildLayer, BuiltImage, Image, Platform, Step,
    compose::{Composition, Given},
    timestamp,
    union::{FileKind, UnionFs},
};

use super::{Build, key::Key};
use crate::{
    BuildOptions, Error, Result,
    config::{Config, arguments, healthcheck},
    expand::Variables,
    parse::{self, Argument, Fault, Instruction, Position, Source, Statement, Text},
    plan,
};

const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A stage that is being carried out, or was.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) platform: Platform,
    /// The config that it began with.
    document: Value,
    pub(super) config: Config,
    pub(super) layers: Vec<BuildLayer>,
    history: Vec<Value>,
    /// When what it holds was made.
    pub(super) time: SystemTime,
    pub(super) shell: Vec<String>,
    /// `ARG`s in the order in which they came, with their values.
    pub(super) arguments: Vec<(String, Option<String>)>,
    sets_command: bool,
}

/// The platforms that images are run for here, the preferred first.
pub(super) fn wanted(engine: &Engine) -> Vec<Platform> {
    engine.backends().iter().flat_map(|backend| backend.platforms()).collect()
}

impl Stage {
    fn scratch(platform: Platform, time: SystemTime) -> Self {
        let document = json!({ "os": platform.os, "architecture": platform.architecture });
        let document = match &platform.variant {
            None => document,
            Some(variant) => {
                let mut document = document;
                document["variant"] = json!(variant);
                document
            }
        };
        Self::new(platform, document, Vec::new(), Vec::new(), time)
    }

    fn new(
        platform: Platform,
        document: Value,
        layers: Vec<BuildLayer>,
        history: Vec<Value>,
        time: SystemTime,
    ) -> Self {
        let mut config = Config::new(&document["config"]);
        if platform.os == "linux" && config.variable("PATH").is_none() {
            config.set_variable("PATH", DEFAULT_PATH);
        }
        let shell = match config.list("Shell") {
            shell if shell.is_empty() => DEFAULT_SHELL.map(str::to_owned).into(),
            shell => shell,
        };
        let arguments = Vec::new();
        let sets_command = false;
        Self { platform, document, config, layers, history, time, shell, arguments, sets_command }
    }

    /// The value of a variable: that of the environment before that of an `ARG`.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let argument = || self.arguments.iter().rev().find(|(known, _)| known == name);
        self.config.variable(name).or_else(|| argument()?.1.clone())
    }

    /// A path as it is from the working directory.
    pub(super) fn absolute(&self, path: &str) -> String {
        let workdir = self.config.text("WorkingDir");
        if path.starts_with('/') { path.to_owned() } else { format!("{workdir}/{path}") }
    }

    /// Notes what an instruction did.
    fn note(&mut self, text: &str, empty: bool) -> Result<()> {
        let mut entry = json!({ "created": timestamp(self.time)?, "created_by": text });
        if empty {
            entry["empty_layer"] = json!(true);
        }
        self.history.push(entry);
        Ok(())
    }

    /// Notes what a step led to.
    pub(super) fn take(&mut self, text: &str, step: Step) -> Result<()> {
        let empty = step.layer.is_none();
        self.layers.extend(step.layer);
        self.note(text, empty)
    }

    /// The image that it is.
    pub(super) fn image(&self, options: &BuildOptions) -> Result<BuiltImage> {
        let mut run = self.config.clone();
        for (name, value) in &options.labels {
            run.set_in("Labels", name, json!(value));
        }
        let mut config = self.document.clone();
        config["config"] = run.value();
        config["created"] = json!(timestamp(self.time)?);
        config["history"] = Value::Array(self.history.clone());
        if let Some(members) = config.as_object_mut() {
            // Docker's notes on how the base was made.
            let notes = ["container", "container_config", "docker_version", "id", "parent"];
            members.retain(|name, _| !notes.contains(&name.as_str()));
        }
        Ok(BuiltImage { platform: self.platform.clone(), config, layers: self.layers.clone() })
    }
}

impl Build<'_> {
    /// The stage of this number.
    pub(super) fn stage(&mut self, index: usize) -> Result<Rc<Stage>> {
        if let Some(stage) = self.stages.get(&index) {
            return Ok(Rc::clone(stage));
        }
        let dockerfile = self.dockerfile;
        let parsed = &dockerfile.stages[index];
        let source = &dockerfile.source;
        // Each stage is told of by itself.
        if let Some(before) = plan::named(&dockerfile.stages[..index], parsed.from.image.as_str()) {
            self.stage(before)?;
        }
        let mut stage = None;
        self.told(&format!("FROM {}", parsed.from), |build| {
            let begun = build.begin(index);
            stage = Some(begun.map_err(|error| {
                error.at(source, parsed.from.image.start(), "begin with this image")
            })?);
            Ok(false)
        })?;
        let Some((mut stage, triggers)) = stage else { unreachable!("it was set just now") };
        for (source, statement) in &triggers {
            self.statement(index, &mut stage, source, statement)?;
        }
        for statement in &parsed.statements {
            self.statement(index, &mut stage, source, statement)?;
        }
        let stage = Rc::new(stage);
        self.stages.insert(index, Rc::clone(&stage));
        Ok(stage)
    }

    /// What a stage begins with, and what its image wants done first.
    fn begin(&mut self, index: usize) -> Result<(Stage, Vec<(Source, Statement)>)> {
        let dockerfile = self.dockerfile;
        let from = &dockerfile.stages[index].from;
        let value = |name: &str| self.arguments.globally(name);
        let variables = Variables { escape: dockerfile.escape, value: &value };
        let expand = |text: &Text| {
            variables.expand(text).map_err(|fault| Error::fault(&dockerfile.source, fault))
        };
        let name = expand(&from.image)?;
        if name.is_empty() {
            let fault = Fault::new(from.image.start(), "the image's name is empty")
                .hinted("only ARGs before the first FROM have a value here");
            return Err(Error::fault(&dockerfile.source, fault));
        }
        let platform = match &from.platform {
            None => None,
            Some(text) => {
                let invalid = |error: silo_layers::platform::InvalidPlatform| {
                    let fault = Fault::new(text.start(), error.to_string());
                    Error::fault(&dockerfile.source, fault)
                };
                Some(match expand(text)?.as_str() {
                    "linux" => Platform::linux(),
                    "wasi" => Platform::wasi(),
                    other => other.parse::<Platform>().map_err(invalid)?,
                })
            }
        };
        let asked = platform.or_else(|| self.platform.clone());
        if let Some(before) = plan::named(&dockerfile.stages[..index], &name) {
            let stage = self.stage(before)?;
            let mut stage =
                Stage { arguments: Vec::new(), sets_command: false, ..(*stage).clone() };
            let triggers = triggers(&mut stage, &name)?;
            return Ok((stage, triggers));
        }
        let wanted = asked.map_or_else(|| wanted(self.engine), |platform| vec![platform]);
        if name == "scratch" {
            let platform = wanted.into_iter().next().unwrap_or_else(Platform::linux);
            return Ok((
                Stage::scratch(platform, self.time(SystemTime::UNIX_EPOCH, None)),
                Vec::new(),
            ));
        }
        let image = self.image(&name, &wanted)?;
        let store = self.store();
        let document = store.config_document(&image)?;
        let layers = store.base(self.lease, &image)?;
        let time = self.time(image.created().unwrap_or(SystemTime::UNIX_EPOCH), None);
        let history = store.history(&image)?;
        let mut stage = Stage::new(image.platform.clone(), document, layers, history, time);
        let triggers = triggers(&mut stage, &name)?;
        Ok((stage, triggers))
    }

    /// An image by name, fetched if it is not here.
    pub(super) fn image(&self, name: &str, wanted: &[Platform]) -> Result<Image> {
        let failed = |crate::Unprovided { source, hint }| Error::Image {
            image: name.to_owned(),
            hint,
            source,
        };
        self.host.provide(name, wanted, self.options.pull).map_err(failed)?;
        self.stop.check()?;
        Ok(self.store().resolve(name, wanted)?)
    }

    /// Carries an instruction out.
    fn statement(
        &mut self,
        index: usize,
        stage: &mut Stage,
        source: &Source,
        statement: &Statement,
    ) -> Result<()> {
        let text = statement.to_string();
        if let Instruction::Copy(parse::Copy { from: Some(name), .. }) = &statement.instruction
            && let Some(other) = plan::find(&self.dockerfile.stages[..index], name.as_str())
        {
            self.stage(other)?;
        }
        self.told(&text, |build| {
            let doing =
                Doing { index, source, statement, text: &text, escape: build.dockerfile.escape };
            build.instruction(stage, &doing)
        })
    }

    fn instruction(&mut self, stage: &mut Stage, doing: &Doing<'_>) -> Result<bool> {
        match &doing.statement.instruction {
            Instruction::Run(run) => return self.run(stage, doing, run),
            Instruction::Copy(copy) => return self.copy(stage, doing, copy, false),
            Instruction::Add(copy) => return self.copy(stage, doing, copy, true),
            Instruction::Workdir(path) => {
                let path = doing.expand(stage, path)?;
                return self.workdir(stage, doing, &path);
            }
            Instruction::Arg(list) => self.declare(stage, doing, list)?,
            _ => change(stage, doing)?,
        }
        stage.note(doing.text, true)?;
        Ok(false)
    }

    fn declare(&self, stage: &mut Stage, doing: &Doing<'_>, list: &[Argument]) -> Result<()> {
        for Argument { name, default } in list {
            let default = default.as_ref().map(|text| doing.expand(stage, text)).transpose()?;
            let value = self.arguments.declared(name.as_str(), default);
            stage.arguments.push((name.to_string(), value));
        }
        Ok(())
    }

    /// Has a directory be the working directory, and be there.
    fn workdir(&self, stage: &mut Stage, doing: &Doing<'_>, path: &str) -> Result<bool> {
        let path = lexically_clean(&stage.absolute(path));
        let failed = |error: Error| doing.failed(error, "make the directory");
        let files = self.files(stage)?;
        let mut composition = Composition::new(&files);
        let there = composition.destination(&path).map_err(|error| failed(error.into()))?;
        if there.kind != Some(FileKind::Directory) {
            let given = Given { owner: None, mode: None, time: stage.time };
            composition.directory(&path, given).map_err(|error| failed(error.into()))?;
        }
        stage.config.set("WorkingDir", json!(path));
        if composition.is_empty() {
            stage.note(doing.text, true)?;
            return Ok(false);
        }
        self.compose(stage, doing, &composition).map_err(failed)
    }

    /// Has a composition be the next layer. Tells whether it had been one before.
    pub(super) fn compose(
        &self,
        stage: &mut Stage,
        doing: &Doing<'_>,
        composition: &Composition<'_>,
    ) -> Result<bool> {
        let mut key = Key::new("files 1");
        key.field(composition.digest()?.as_bytes());
        if let Some(epoch) = self.options.epoch {
            key.field(timestamp(epoch)?);
        }
        let key = key.digest();
        let epoch = self.options.epoch;
        let (step, cached) = self.step(&key, || {
            Ok(self.store().keep_composition(self.lease, &key, composition, epoch)?)
        })?;
        stage.time = self.time(stage.time, step.newest);
        stage.take(doing.text, step)?;
        Ok(cached)
    }

    /// The files that a stage holds.
    pub(super) fn files(&self, stage: &Stage) -> Result<UnionFs> {
        Ok(self.store().files_of(&stage.layers)?)
    }
}

/// The instruction that is being carried out.
pub(super) struct Doing<'a> {
    /// The number of its stage.
    pub(super) index: usize,
    pub(super) source: &'a Source,
    pub(super) statement: &'a Statement,
    pub(super) text: &'a str,
    escape: char,
}

impl Doing<'_> {
    pub(super) fn fault(&self, fault: Fault) -> Error {
        Error::fault(self.source, fault)
    }

    pub(super) fn at(&self) -> Position {
        self.statement.at()
    }

    pub(super) fn failed(&self, error: Error, what: &str) -> Error {
        error.at(self.source, self.at(), what)
    }

    pub(super) fn with_variables<T>(
        &self,
        stage: &Stage,
        act: impl FnOnce(Variables<'_>) -> Result<T, Fault>,
    ) -> Result<T> {
        let value = |name: &str| stage.variable(name);
        act(Variables { escape: self.escape, value: &value }).map_err(|fault| self.fault(fault))
    }

    pub(super) fn expand(&self, stage: &Stage, text: &Text) -> Result<String> {
        self.with_variables(stage, |variables| variables.expand(text))
    }
}

/// What an image wants done by who builds on it; it is not wanted a second time.
fn triggers(stage: &mut Stage, image: &str) -> Result<Vec<(Source, Statement)>> {
    let lines = stage.config.list("OnBuild");
    stage.config.remove("OnBuild");
    let read = |text: String| {
        let source = Source { name: format!("ONBUILD of {image}"), text };
        parse::parse_trigger(source).map_err(|(source, fault)| Error::fault(&source, fault))
    };
    lines.into_iter().map(read).collect()
}

/// Carries out what changes the config alone.
fn change(stage: &mut Stage, doing: &Doing<'_>) -> Result<()> {
    match &doing.statement.instruction {
        Instruction::Env(pairs) => {
            // All see the values that were before.
            let before = stage.clone();
            for pair in pairs {
                let name = doing.expand(&before, &pair.name)?;
                let value = doing.expand(&before, &pair.value)?;
                if name.is_empty() {
                    let fault = Fault::new(pair.name.start(), "the variable's name is empty");
                    return Err(doing.fault(fault));
                }
                stage.config.set_variable(&name, &value);
            }
        }
        Instruction::Label(pairs) => {
            for pair in pairs {
                let name = doing.expand(stage, &pair.name)?;
                let value = doing.expand(stage, &pair.value)?;
                stage.config.set_in("Labels", &name, json!(value));
            }
        }
        Instruction::User(text) => {
            let user = doing.expand(stage, text)?;
            stage.config.set("User", json!(user));
        }
        Instruction::Expose(text) => {
            for port in doing.with_variables(stage, |variables| variables.expand_words(text))? {
                let port = exposed(&port)
                    .map_err(|message| doing.fault(Fault::new(text.start(), message)))?;
                for port in &port {
                    stage.config.set_in("ExposedPorts", port, json!({}));
                }
            }
        }
        Instruction::Volume(words) => {
            for word in words.as_slice() {
                let path = doing.expand(stage, word)?;
                if path.is_empty() {
                    return Err(doing.fault(Fault::new(word.start(), "the path is empty")));
                }
                stage.config.set_in("Volumes", &path, json!({}));
            }
        }
        Instruction::Cmd(command) => {
            stage.config.set("Cmd", json!(arguments(command, &stage.shell)));
            stage.sets_command = true;
        }
        Instruction::Entrypoint(command) => {
            stage.config.set("Entrypoint", json!(arguments(command, &stage.shell)));
            if !stage.sets_command {
                // That of the image below was for another program.
                stage.config.remove("Cmd");
            }
        }
        Instruction::Shell(words) => {
            stage.shell.clone_from(words);
            stage.config.set("Shell", json!(words));
        }
        Instruction::Stopsignal(text) => {
            let signal = doing.expand(stage, text)?;
            if signal.parse::<silo_isolation::Signal>().is_err() {
                let fault = Fault::new(text.start(), format!("`{signal}` is no signal"));
                return Err(doing.fault(fault.hinted("write a name or a number, such as SIGTERM")));
            }
            stage.config.set("StopSignal", json!(signal));
        }
        Instruction::Healthcheck(check) => {
            stage.config.set("Healthcheck", healthcheck(check.as_ref()));
        }
        Instruction::Onbuild(statement) => stage.config.push("OnBuild", &statement.to_string()),
        Instruction::From(_)
        | Instruction::Run(_)
        | Instruction::Copy(_)
        | Instruction::Add(_)
        | Instruction::Arg(_)
        | Instruction::Workdir(_) => unreachable!("they do more than that"),
    }
    Ok(())
}

/// The ports that `80`, `53/udp` or `8000-8002` mean.
fn exposed(text: &str) -> Result<Vec<String>, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let range = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
    match range {
        Some((first, last))
            if first <= last && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") =>
        {
            Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
        }
        _ => Err(format!("`{text}` is no port: expected PORT[-PORT][/tcp|/udp|/sctp]")),
    }
}

/// An absolute path without `.`, `..` and doubled `/`.
fn lexically_clean(path: &str) -> String {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_a_protocol_and_may_be_ranges() {
        assert_eq!(exposed("80").unwrap(), ["80/tcp"]);
        assert_eq!(exposed("53/UDP").unwrap(), ["53/udp"]);
        assert_eq!(exposed("8000-8001").unwrap(), ["8000/tcp", "8001/tcp"]);
        for text in ["", "x", "80/icmp", "9-8", "70000"] {
            assert!(exposed(text).is_err(), "{text}");
        }
    }
}
