//! A backend of one's own: it runs scripts of one command a line.
//!
//! An image for it holds text files; `cat $1` in one of them is a command with the script's first
//! argument. It isolates by having no command that reaches outside the container's files.

use std::{fs, path::Path};

use silo_isolation::{
    Barrier, Bundle, Error, IsolationBackend, Process, Refusal, Result, Sandbox, Stdio,
    conformance::{self, Guest, Harness},
    fake::{Context, FakeBackend, Files, Stopped, ThreadSandbox, programs},
};
use silo_layers::{Digest, Lower, Platform};

struct ScriptBackend;

impl IsolationBackend for ScriptBackend {
    fn name(&self) -> &'static str {
        "script"
    }

    fn platforms(&self) -> Vec<Platform> {
        vec![Platform::new("script", "lines")]
    }

    fn barriers(&self) -> Vec<Barrier> {
        let keeps = "all but the container's own files: no command reaches further".to_owned();
        vec![Barrier { name: "the language".to_owned(), keeps }]
    }

    fn admit(&self, bundle: &Bundle) -> Vec<Refusal> {
        // Threads and pipes are the fake's, so are its limits.
        FakeBackend::default().admit(bundle)
    }

    fn create(&self, bundle: &Bundle, stdio: Stdio) -> Result<Box<dyn Sandbox>> {
        let files = Files::open(bundle)?;
        let program = bundle.process.args[0].clone();
        let Ok(script) = files.read(&program) else {
            return Err(Error::ProgramNotFound { program, path: None });
        };
        let script = String::from_utf8_lossy(&script).into_owned();
        let Some(lines) = script.strip_prefix("#!script\n").map(str::to_owned) else {
            let reason = "it does not begin with `#!script`".to_owned();
            return Err(Error::ProgramNotRunnable { program, reason });
        };
        let run = move |guest: &mut Context| run_script(&lines, guest);
        Ok(Box::new(ThreadSandbox::new(run, &bundle.process, files, stdio)?))
    }

    fn reclaim(&self, _id: &str, _state_dir: &Path) -> Result<()> {
        Ok(()) // A guest is a thread and ends with its supervisor.
    }
}

/// Runs line by line until a command fails or the script ends; the last exit code counts.
fn run_script(lines: &str, guest: &mut Context) -> std::result::Result<u8, Stopped> {
    let arguments = guest.args.clone();
    let mut code = 0;
    for line in lines.lines() {
        guest.check()?;
        guest.args = line.split(' ').flat_map(|word| expand(word, &arguments)).collect();
        let known = programs::ALL.iter().find(|(name, _)| *name == guest.args[0]);
        code = match known {
            Some((_, command)) => command(guest)?,
            None => return guest.complain(b"no such command\n").map(|()| 127),
        };
        if code != 0 {
            break;
        }
    }
    Ok(code)
}

/// `$1` is the script's first argument, `$@` all of them.
fn expand(word: &str, arguments: &[String]) -> Vec<String> {
    match word.strip_prefix('$') {
        Some("@") => arguments[1..].to_vec(),
        Some(number) => {
            number.parse().ok().and_then(|n: usize| arguments.get(n).cloned()).into_iter().collect()
        }
        None => vec![word.to_owned()],
    }
}

/// The conformance suite's guests as scripts.
struct Scripts(tempfile::TempDir);

impl Scripts {
    fn new() -> std::io::Result<Self> {
        let layer = tempfile::tempdir()?;
        fs::write(layer.path().join("greeting"), "hello\n")?;
        for (name, _) in programs::ALL {
            fs::write(layer.path().join(name), format!("#!script\n{name} $@\n"))?;
        }
        Ok(Self(layer))
    }
}

impl Harness for Scripts {
    fn backend(&self) -> &dyn IsolationBackend {
        &ScriptBackend
    }

    fn lower(&self) -> Lower {
        Lower { diff_id: Digest::from_bytes([1; 32]), path: self.0.path().to_owned() }
    }

    fn process(&self, guest: &Guest) -> Process {
        let mut args = programs::arguments(guest);
        args[0] = match guest {
            Guest::NotAProgram => "/greeting".to_owned(),
            _ => format!("/{}", args[0]),
        };
        Process { args, cwd: "/".to_owned(), ..Process::default() }
    }
}

fn main() -> std::io::Result<()> {
    conformance::assert_conforms(&Scripts::new()?);
    println!("the script backend meets all {} demands", conformance::CASES.len());
    Ok(())
}

#[test]
fn the_script_backend_conforms() {
    conformance::assert_conforms(&Scripts::new().unwrap());
}
