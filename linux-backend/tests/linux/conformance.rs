use silo_isolation::{
    Bundle, IsolationBackend, Process, User,
    conformance::{Guest, Harness, assert_conforms},
};
use silo_layers::{Lower, Platform};
use silo_linux::LinuxBackend;

use crate::machine::{Machine, is_able, is_root, process};

struct Linux(Machine);

impl Harness for Linux {
    fn backend(&self) -> &dyn IsolationBackend {
        &LinuxBackend
    }

    fn lower(&self) -> Lower {
        self.0.lower()
    }

    fn process(&self, guest: &Guest) -> Process {
        let shell = |line: &str| process(&["sh", "-c", line]);
        match guest {
            Guest::Exit(code) => shell(&format!("exit {code}")),
            Guest::PrintArgs(args) => {
                let mut all = vec!["sh", "-c", r#"for arg; do echo "$arg"; done"#, "sh"];
                all.extend(args.iter().map(String::as_str));
                process(&all)
            }
            Guest::PrintEnv => Process { env: Vec::new(), ..process(&["/bin/busybox", "env"]) },
            Guest::Cat => process(&["cat"]),
            Guest::Complain(line) => process(&["sh", "-c", r#"echo "$1" >&2"#, "sh", line]),
            Guest::Read(path) => process(&["cat", path]),
            Guest::Write(path, text) => {
                process(&["sh", "-c", r#"printf %s "$2" > "$1""#, "sh", path, text])
            }
            Guest::Remove(path) => process(&["rm", path]),
            Guest::Sleep => shell("echo ready; sleep 1000"),
            Guest::Spin => shell("echo ready; while :; do :; done"),
            // Not by the first process itself: the kernel keeps it from signals it does not handle.
            Guest::Abort => shell("sh -c 'kill -ABRT $$'; exit $?"),
            Guest::Missing => process(&["no-such-program"]),
            Guest::NotAProgram => process(&["/bin/plain"]),
        }
    }

    fn ask_too_much(&self, bundle: &mut Bundle) -> usize {
        bundle.platform = Platform::new("linux", "s390x");
        bundle.limits.nano_cpus = Some(1);
        if is_root() {
            return 2;
        }
        bundle.process.user = Some(User { uid: 1, gid: 1, additional_gids: Vec::new() });
        // As cgroups go, --cpus may be refused for two reasons.
        LinuxBackend.admit(bundle).len().max(3)
    }
}

#[test]
fn the_backend_conforms() {
    if is_able() {
        assert_conforms(&Linux(Machine::new()));
    }
}
