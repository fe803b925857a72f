//! `COPY` and `ADD`: files of the context, of stages, of images and of the Dockerfile itself.

use silo_layers::{
    compose::{Composition, Given, Located, Verdict},
    copy::GuestTree,
    union::{FileKind, UnionFs},
};

use super::{
    Build,
    stage::{Doing, Stage},
};
use crate::{
    Error, Result,
    context::{self, Context, Match, Unmatched},
    parse::{Copy, Fault, Heredoc, Text},
    plan,
};

/// How an instruction's files are copied.
struct How {
    given: Given,
    /// The same for what archives hold, which is whose they say it is.
    unpacked: Given,
    /// Where to, as a path of the stage's.
    destination: String,
    /// Whether that is a directory in any case.
    is_directory: bool,
    /// `ADD`: archives are unpacked.
    unpacks: bool,
}

impl<'a> Build<'a> {
    pub(super) fn copy(
        &mut self,
        stage: &mut Stage,
        doing: &Doing<'_>,
        copy: &Copy,
        unpacks: bool,
    ) -> Result<bool> {
        let files = self.files(stage)?;
        let from = match &copy.from {
            None => None,
            Some(name) => Some(self.source(stage, doing, name)?),
        };
        let words = copy.paths.as_slice();
        let (last, sources) = words
            .split_last()
            .ok_or_else(|| doing.fault(Fault::new(doing.at(), "there is no destination")))?;
        let destination = doing.expand(stage, last)?;
        if destination.is_empty() {
            return Err(doing.fault(Fault::new(last.start(), "the destination is empty")));
        }
        let is_directory = destination.ends_with('/')
            || destination.ends_with("/.")
            || matches!(destination.as_str(), "." | "..")
            || destination.ends_with("/..");
        if sources.len() > 1 && !is_directory {
            let fault = Fault::new(last.start(), "several sources need a directory to go to");
            return Err(doing.fault(fault.hinted(format!("write {destination}/"))));
        }
        let chown = owner(stage, doing, copy, &files)?;
        // Who built it means nothing in the image.
        let in_context = || copy.from.is_none().then_some((0, 0));
        let given = Given {
            owner: chown.or_else(in_context),
            mode: copy.chmod.as_ref().map(|mode| octal(stage, doing, mode)).transpose()?,
            time: stage.time,
        };
        let destination = stage.absolute(&destination);
        let unpacked = Given { owner: chown, ..given };
        let how = How { given, unpacked, destination, is_directory, unpacks };
        let mut composition = Composition::new(&files);
        for source in sources {
            match copy.heredocs.iter().find(|heredoc| heredoc.mark == source.as_str()) {
                Some(heredoc) => inline(stage, doing, heredoc, &how, &mut composition)?,
                None => match &from {
                    Some(files) => {
                        let tree = Tree { files, context: None };
                        self.tree(stage, doing, source, &tree, &how, &mut composition)?;
                    }
                    None => self.context(stage, doing, source, &how, &mut composition)?,
                },
            }
        }
        self.compose(stage, doing, &composition).map_err(|error| doing.failed(error, "copy"))
    }

    /// The files of the stage or image that `--from` names.
    fn source(&mut self, stage: &Stage, doing: &Doing<'_>, name: &Text) -> Result<UnionFs> {
        if name.as_str().contains('$') {
            let fault = Fault::new(name.start(), "--from has no variables");
            let hint = "give the image a name by a stage of its own: FROM $IMAGE AS NAME";
            return Err(doing.fault(fault.hinted(hint)));
        }
        let before = &self.dockerfile.stages[..doing.index];
        if let Some(index) = plan::find(before, name.as_str()) {
            let source = self.stage(index)?;
            return self.files(&source);
        }
        if name.as_str().bytes().all(|byte| byte.is_ascii_digit()) {
            let fault = Fault::new(name.start(), format!("there is no stage {name} before this"));
            return Err(doing.fault(fault.hinted("stages are counted from 0")));
        }
        let wanted = [stage.platform.clone()];
        let files = self.image(name.as_str(), &wanted).and_then(|image| {
            let layers = self.store().base(self.lease, &image)?;
            Ok(self.store().files_of(&layers)?)
        });
        files.map_err(|error| {
            error.at(doing.source, name.start(), "copy from this image, nor is it a stage")
        })
    }

    /// Copies what a source means in the context.
    fn context<'c>(
        &self,
        stage: &Stage,
        doing: &Doing<'_>,
        source: &Text,
        how: &How,
        composition: &mut Composition<'c>,
    ) -> Result<()>
    where
        'a: 'c,
    {
        let Some(context) = self.context else {
            let fault = Fault::new(source.start(), "there is no context to copy from");
            return Err(doing.fault(fault.hinted("name a directory: `silo build DIR`")));
        };
        let tree = Tree { files: &context.tree, context: Some(context) };
        self.tree(stage, doing, source, &tree, how, composition)
    }

    /// Copies what a source means in a tree.
    fn tree<'c, T: GuestTree + Sync>(
        &self,
        stage: &Stage,
        doing: &Doing<'_>,
        source: &Text,
        tree: &Tree<'c, T>,
        how: &How,
        composition: &mut Composition<'c>,
    ) -> Result<()> {
        let path = doing.expand(stage, source)?;
        if how.unpacks && is_remote(&path) {
            let fault = Fault::new(source.start(), "ADD fetches nothing from the network");
            let hint = "fetch it before the build, or by a program in RUN";
            return Err(doing.fault(fault.hinted(hint)));
        }
        let Some(clean) = context::clean(&path) else {
            let fault = Fault::new(source.start(), format!("`{path}` is outside of the context"));
            let hint = "copy from the directory that `silo build` is given, and below";
            return Err(doing.fault(fault.hinted(hint)));
        };
        let failed = |error: Error| error.at(doing.source, source.start(), "copy");
        let mut found = context::matches(tree.files, &clean).map_err(|error| match error {
            Unmatched::Malformed => {
                doing.fault(Fault::new(source.start(), format!("`{path}` is no pattern")))
            }
            Unmatched::Failed(source) => failed(Error::Source { path: path.clone(), source }),
        })?;
        let excluded = tree.exclude(&mut found);
        if found.is_empty() {
            let what =
                if tree.context.is_some() { "the context" } else { "what it is copied from" };
            let message = format!("`{path}` is not in {what}");
            let fault = Fault::new(source.start(), message);
            let hint = "a rule of .dockerignore excludes it";
            return Err(doing.fault(if excluded { fault.hinted(hint) } else { fault }));
        }
        for one in &found {
            self.one(tree, one, how, composition).map_err(failed)?;
        }
        Ok(())
    }

    fn one<'c, T: GuestTree + Sync>(
        &self,
        tree: &Tree<'c, T>,
        found: &Match,
        how: &How,
        composition: &mut Composition<'c>,
    ) -> Result<()> {
        let to = composition.destination(&how.destination)?;
        let choice = |path: &[u8], kind| match tree.context {
            Some(context) => context.choose(path, kind),
            None => Verdict::Take,
        };
        if found.located.kind == Some(FileKind::Directory) {
            return Ok(composition.copy(
                tree.files,
                &found.located,
                &to.path,
                how.given,
                &choice,
            )?);
        }
        if how.unpacks && found.located.kind == Some(FileKind::File) {
            let name = String::from_utf8_lossy(&found.name).into_owned();
            let what = format!("the archive {name}");
            let archive = composition
                .with_file(tree.files, &found.located, |file| self.store().unpacked(file, &what))?;
            if let Some(archive) = archive {
                return Ok(composition.unpack(&archive, &to.path, how.unpacked)?);
            }
        }
        let target = file_target(&to, how, &found.name);
        Ok(composition.copy(tree.files, &found.located, &target, how.given, &choice)?)
    }
}

/// What `--chown` says.
fn owner(
    stage: &Stage,
    doing: &Doing<'_>,
    copy: &Copy,
    files: &UnionFs,
) -> Result<Option<(u32, u32)>> {
    match &copy.chown {
        None => Ok(None),
        Some(text) => {
            let name = doing.expand(stage, text)?;
            let owner = silo_engine::owner(files, &name).map_err(Error::from);
            owner.map(Some).map_err(|error| error.at(doing.source, text.start(), "find this owner"))
        }
    }
}

/// Where files come from.
struct Tree<'c, T> {
    files: &'c T,
    /// The context, if it is that.
    context: Option<&'c Context>,
}

impl<T> Tree<'_, T> {
    /// Leaves out what is no part of the context. Tells whether there was any.
    fn exclude(&self, found: &mut Vec<Match>) -> bool {
        let Some(context) = self.context else { return false };
        let before = found.len();
        found.retain(|one| {
            let kind = one.located.kind.unwrap_or(FileKind::File);
            one.located.path.is_empty() || context.choose(&one.located.path, kind) != Verdict::Skip
        });
        found.len() < before
    }
}

/// Where a file goes: into a directory by its name, else to the destination itself.
fn file_target(to: &Located, how: &How, name: &[u8]) -> Vec<u8> {
    if !how.is_directory && to.kind != Some(FileKind::Directory) {
        return to.path.clone();
    }
    if to.path.is_empty() { name.to_vec() } else { [&to.path, name].join(&b'/') }
}

/// Copies a file of the Dockerfile.
fn inline(
    stage: &Stage,
    doing: &Doing<'_>,
    heredoc: &Heredoc,
    how: &How,
    composition: &mut Composition<'_>,
) -> Result<()> {
    let body = if heredoc.expands {
        let text = Text::new(heredoc.body.as_str(), doing.at());
        doing.with_variables(stage, |variables| variables.expand_file(&text))?
    } else {
        heredoc.body.clone()
    };
    let failed = |error: Error| doing.failed(error, "copy");
    let to = composition.destination(&how.destination).map_err(|error| failed(error.into()))?;
    let target = file_target(&to, how, heredoc.name.as_bytes());
    composition.file(&target, body.as_bytes(), how.given).map_err(|error| failed(error.into()))
}

/// Permissions as octal digits.
fn octal(stage: &Stage, doing: &Doing<'_>, text: &Text) -> Result<u32> {
    let mode = doing.expand(stage, text)?;
    let bits = u32::from_str_radix(&mode, 8).ok().filter(|&bits| bits <= 0o7777);
    bits.ok_or_else(|| {
        let fault = Fault::new(text.start(), format!("`{mode}` are no permissions"));
        doing.fault(fault.hinted("write octal digits, such as 755"))
    })
}

fn is_remote(path: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://", "git@"];
    schemes.iter().any(|scheme| path.starts_with(scheme))
}
