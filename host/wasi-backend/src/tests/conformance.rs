//! The suite that every backend passes.

use silo_isolation::{
    Bundle, IsolationBackend, Process,
    conformance::{Guest, Harness, assert_conforms},
};
use silo_layers::Lower;

use super::{GUEST, harness::Container};

struct Wasi(Container);

impl Harness for Wasi {
    fn backend(&self) -> &dyn IsolationBackend {
        &self.0.backend
    }

    fn lower(&self) -> Lower {
        self.0.bundle.root.snapshot.lowers[0].clone()
    }

    fn process(&self, guest: &Guest) -> Process {
        let args: Vec<String> = match guest {
            Guest::Exit(code) => vec!["exit".to_owned(), code.to_string()],
            Guest::PrintArgs(args) => [vec!["args".to_owned()], args.clone()].concat(),
            Guest::PrintEnv => vec!["env".to_owned()],
            Guest::Cat => vec!["stdin".to_owned()],
            Guest::Complain(line) => vec!["complain".to_owned(), line.clone()],
            Guest::Read(path) => vec!["cat".to_owned(), path.clone()],
            Guest::Write(path, text) => vec!["write".to_owned(), path.clone(), text.clone()],
            Guest::Remove(path) => vec!["rm".to_owned(), path.clone()],
            Guest::Sleep => vec!["sleep".to_owned()],
            Guest::Spin => vec!["spin".to_owned()],
            Guest::Abort => vec!["abort".to_owned()],
            Guest::Missing | Guest::NotAProgram => Vec::new(),
        };
        let program = match guest {
            Guest::Missing => "/missing",
            Guest::NotAProgram => "/greeting",
            _ => "/guest.wasm",
        };
        let args = [vec![program.to_owned(), "strict".to_owned()], args].concat();
        Process { args, cwd: "/".to_owned(), ..Process::default() }
    }

    fn ask_too_much(&self, bundle: &mut Bundle) -> usize {
        bundle.init = true;
        bundle.process.terminal = true;
        2
    }
}

#[test]
fn the_backend_conforms() {
    let container = Container::new(GUEST);
    container.image_file("greeting", "hello\n");
    assert_conforms(&Wasi(container));
}
