//! An engine on a fresh root with one image.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use silo_engine::{Attach, CreateOptions, Engine, Session, SupervisorCommand};
use silo_isolation::{Exit, IsolationBackend, fake::FakeBackend};
use silo_layers::store::ImportOptions;
use tempfile::TempDir;

/// One test.
pub(crate) type Test = (&'static str, fn(&Fixture));

/// The backends of the tests and of their supervisors.
pub(crate) fn backends() -> Vec<Arc<dyn IsolationBackend>> {
    vec![Arc::new(FakeBackend::default())]
}

/// Where an engine keeps everything.
pub(crate) struct Root {
    path: PathBuf,
    _directory: Option<TempDir>,
}

impl Root {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// An engine whose store holds the image `programs`.
pub(crate) struct Fixture {
    pub(crate) root: Root,
    pub(crate) engine: Engine,
}

impl Fixture {
    /// In a directory that goes with it.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::in_root(Root { path: directory.path().to_owned(), _directory: Some(directory) })
    }

    /// In a directory that is somebody else's.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self::in_root(Root { path, _directory: None })
    }

    fn in_root(root: Root) -> Self {
        let engine = open(&root);
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(6);
        header.set_mode(0o644);
        tar.append_data(&mut header, "greeting", &b"hello\n"[..]).unwrap();
        let tar = tar.into_inner().unwrap();
        let options = ImportOptions {
            name: Some("programs".parse().unwrap()),
            platform: Some("fake/threads".parse().unwrap()),
            ..ImportOptions::default()
        };
        engine.store().import(tar.as_slice(), &options, &mut |_| {}).unwrap();
        Self { root, engine }
    }

    /// Another engine on the same root, as another process has it.
    pub(crate) fn another(&self) -> Engine {
        open(&self.root)
    }

    /// Runs a program detached and returns the container's id.
    pub(crate) fn detached(&self, args: &[&str]) -> String {
        self.engine.run(&options(args), Attach::NONE).unwrap().id().to_owned()
    }
}

fn open(root: &Root) -> Engine {
    let program = std::env::current_exe().unwrap();
    let args: Vec<OsString> = vec!["supervise".into(), root.path().into()];
    Engine::open(root.path(), backends(), Box::new(SupervisorCommand { program, args })).unwrap()
}

/// `run programs ARGS`
pub(crate) fn options(args: &[&str]) -> CreateOptions {
    CreateOptions {
        image: "programs".to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        ..CreateOptions::default()
    }
}

/// Follows a session to its end: how it ended, its stdout and its stderr.
pub(crate) fn finish(session: Session) -> (Exit, String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let exit = session.wait(&mut stdout, &mut stderr).unwrap();
    (exit, String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}
