//! What the contract demands, one function each.

use std::{fs, io::Write as _, time::Duration};

use silo_layers::{
    copy::{CopyIn, CopyOut, HostSource, unpack_host},
    union::{Access, Follow, OpenOptions, ROOT, UnionFs},
};

use super::{Case, Failed, Guest, Outcome, Setup, setup::Copying};
use crate::{Bundle, Error, ExitStatus, Mount, MountKind, Signal};

/// Every demand, in the order in which a new backend can best meet them.
pub const CASES: &[Case] = &[
    Case { name: "a guest's exit code is told", run: exit_code },
    Case { name: "waiting again tells the same", run: wait_twice },
    Case { name: "nothing runs before start", run: nothing_before_start },
    Case { name: "arguments arrive as they are", run: arguments },
    Case { name: "the environment is what was given and no more", run: environment },
    Case { name: "stdin reaches the guest to its end", run: stdin },
    Case { name: "stdout and stderr are kept apart", run: streams },
    Case { name: "an aborting guest ends with 134", run: abort },
    Case { name: "the image's files can be read", run: read },
    Case { name: "a change goes to the upper and the layer stays", run: write },
    Case { name: "a removal goes to the upper and the layer stays", run: remove },
    Case { name: "two sandboxes of one layer don't see each other's changes", run: apart },
    Case { name: "a read-only root can't be changed", run: readonly_root },
    Case { name: "a volume's files can be read and written", run: volume },
    Case { name: "a read-only volume can't be changed", run: readonly_volume },
    Case { name: "KILL ends a sleeping guest", run: |s| ended_by(s, &Guest::Sleep, Signal::KILL) },
    Case { name: "KILL ends a computing guest", run: |s| ended_by(s, &Guest::Spin, Signal::KILL) },
    Case { name: "signalling a guest that has ended is success", run: signal_after_end },
    Case { name: "files are copied into a running guest and out of it", run: copies },
    Case { name: "a paused guest stands still, and goes on when it is resumed", run: pause },
    Case { name: "KILL ends a paused guest", run: kill_paused },
    Case { name: "a running guest has processes, and an ended one has none", run: processes },
    Case { name: "deleting a running sandbox ends its guest", run: delete_running },
    Case { name: "deleting a sandbox that never started is success", run: delete_unstarted },
    Case { name: "a missing program is told with 127", run: missing },
    Case { name: "a file that is no program is told with 126", run: not_a_program },
    Case { name: "all refusals are told at once", run: refusals },
    Case { name: "reclaiming twice is success", run: reclaim },
    Case { name: "many sandboxes at once end as each should", run: many },
];

macro_rules! demand {
    ($condition:expr, $($seen:tt)+) => {
        if !$condition {
            return Err(Failed(format!($($seen)+)));
        }
    };
}

fn exit_code(setup: &Setup<'_>) -> Outcome {
    for code in [0, 1, 42, 255] {
        let exit = setup.run(&setup.bundle(&Guest::Exit(code))?)?.exit;
        demand!(exit.status == ExitStatus::Exited(code), "exit({code}) is told as {exit:?}");
    }
    Ok(())
}

fn wait_twice(setup: &Setup<'_>) -> Outcome {
    let running = setup.start(&setup.bundle(&Guest::Exit(7))?)?;
    let (first, second) = (running.sandbox.wait()?, running.sandbox.wait()?);
    demand!(first == second, "first {first:?}, then {second:?}");
    running.sandbox.delete()?;
    Ok(())
}

fn nothing_before_start(setup: &Setup<'_>) -> Outcome {
    let bundle = setup.bundle(&Guest::Write("/made".to_owned(), "x".to_owned()))?;
    let created = setup.create(&bundle, b"")?;
    demand!(content(&bundle, "/made").is_none(), "the guest ran at creation");
    created.sandbox.start()?;
    let ran = created.finish()?;
    demand!(content(&bundle, "/made").is_some(), "started, the guest did nothing: {ran:?}");
    Ok(())
}

fn arguments(setup: &Setup<'_>) -> Outcome {
    let arguments =
        ["plain", "two words", "", "quote\"'", "über", "-x"].map(str::to_owned).to_vec();
    let ran = setup.run(&setup.bundle(&Guest::PrintArgs(arguments.clone()))?)?;
    demand!(ran.stdout == arguments.join("\n") + "\n", "{ran:?}");
    Ok(())
}

fn environment(setup: &Setup<'_>) -> Outcome {
    let mut bundle = setup.bundle(&Guest::PrintEnv)?;
    bundle.process.env = ["A=1", "EMPTY=", "EQUALS=a=b"].map(str::to_owned).to_vec();
    let ran = setup.run(&bundle)?;
    let mut lines: Vec<_> = ran.stdout.lines().collect();
    lines.sort_unstable();
    demand!(lines == bundle.process.env, "{ran:?}");
    Ok(())
}

fn stdin(setup: &Setup<'_>) -> Outcome {
    const INPUT: &[u8] = &[b'x'; 100_000];
    let ran = setup.run_with_input(&Guest::Cat, INPUT)?;
    demand!(ran.stdout.as_bytes() == INPUT, "{} of {} bytes", ran.stdout.len(), INPUT.len());
    Ok(())
}

fn streams(setup: &Setup<'_>) -> Outcome {
    let ran = setup.run(&setup.bundle(&Guest::Complain("alas".to_owned()))?)?;
    demand!(ran.stdout.is_empty() && ran.stderr == "alas\n", "{ran:?}");
    Ok(())
}

fn abort(setup: &Setup<'_>) -> Outcome {
    let ran = setup.run(&setup.bundle(&Guest::Abort)?)?;
    demand!(ran.exit.code() == 134, "{ran:?}");
    Ok(())
}

fn read(setup: &Setup<'_>) -> Outcome {
    let ran = setup.run(&setup.bundle(&Guest::Read("/greeting".to_owned()))?)?;
    demand!(ran.stdout == "hello\n", "{ran:?}");
    Ok(())
}

fn write(setup: &Setup<'_>) -> Outcome {
    let before = setup.layer()?;
    let bundle = setup.bundle(&Guest::Write("/greeting".to_owned(), "changed".to_owned()))?;
    let ran = setup.run(&bundle)?;
    let found = content(&bundle, "/greeting");
    demand!(found.as_deref() == Some("changed"), "{ran:?} left {found:?}");
    demand!(setup.layer()? == before, "the layer has changed");
    Ok(())
}

fn remove(setup: &Setup<'_>) -> Outcome {
    let before = setup.layer()?;
    let bundle = setup.bundle(&Guest::Remove("/greeting".to_owned()))?;
    let ran = setup.run(&bundle)?;
    demand!(content(&bundle, "/greeting").is_none(), "the file is still there: {ran:?}");
    demand!(setup.layer()? == before, "the layer has changed");
    Ok(())
}

fn apart(setup: &Setup<'_>) -> Outcome {
    let write = setup.bundle(&Guest::Write("/greeting".to_owned(), "mine".to_owned()))?;
    setup.run(&write)?;
    let ran = setup.run(&setup.bundle(&Guest::Read("/greeting".to_owned()))?)?;
    demand!(ran.stdout == "hello\n", "{ran:?}");
    Ok(())
}

fn readonly_root(setup: &Setup<'_>) -> Outcome {
    let mut bundle = setup.bundle(&Guest::Write("/made".to_owned(), "x".to_owned()))?;
    bundle.root.readonly = true;
    let ran = setup.run(&bundle)?;
    demand!(ran.exit.code() != 0, "the guest wrote: {ran:?}");
    demand!(content(&bundle, "/made").is_none(), "the file was made");
    Ok(())
}

fn with_volume(setup: &Setup<'_>, guest: &Guest, readonly: bool) -> Result<Bundle, Failed> {
    let source = setup.scratch.path().join("volume");
    fs::create_dir_all(&source)?;
    fs::write(source.join("note"), "from outside\n")?;
    let mut bundle = setup.bundle(guest)?;
    let kind = MountKind::Bind { source };
    bundle.mounts.push(Mount { destination: "/data".to_owned(), kind, readonly });
    Ok(bundle)
}

fn volume(setup: &Setup<'_>) -> Outcome {
    let bundle = with_volume(setup, &Guest::Read("/data/note".to_owned()), false)?;
    let ran = setup.run(&bundle)?;
    demand!(ran.stdout == "from outside\n", "{ran:?}");
    let guest = Guest::Write("/data/made".to_owned(), "from inside".to_owned());
    let ran = setup.run(&with_volume(setup, &guest, false)?)?;
    let made = fs::read_to_string(setup.scratch.path().join("volume/made")).unwrap_or_default();
    demand!(made == "from inside", "{ran:?} left {made:?}");
    Ok(())
}

fn readonly_volume(setup: &Setup<'_>) -> Outcome {
    let guest = Guest::Write("/data/note".to_owned(), "changed".to_owned());
    let ran = setup.run(&with_volume(setup, &guest, true)?)?;
    let note = fs::read_to_string(setup.scratch.path().join("volume/note"))?;
    demand!(ran.exit.code() != 0 && note == "from outside\n", "{ran:?} left {note:?}");
    Ok(())
}

fn ended_by(setup: &Setup<'_>, guest: &Guest, signal: Signal) -> Outcome {
    let mut running = setup.start(&setup.bundle(guest)?)?;
    running.ready()?;
    running.sandbox.stats()?;
    running.sandbox.signal(signal)?;
    let ran = running.finish()?;
    demand!(ran.exit.status == ExitStatus::Signaled(signal), "{ran:?}");
    Ok(())
}

fn signal_after_end(setup: &Setup<'_>) -> Outcome {
    let running = setup.start(&setup.bundle(&Guest::Exit(0))?)?;
    running.sandbox.wait()?;
    running.sandbox.signal(Signal::TERM)?;
    running.sandbox.delete()?;
    Ok(())
}

fn copies(setup: &Setup<'_>) -> Outcome {
    let mut bundle = with_volume(setup, &Guest::Sleep, false)?;
    let kind = bundle.mounts[0].kind.clone();
    bundle.mounts.push(Mount { destination: "/kept".to_owned(), kind, readonly: true });
    let mut running = setup.start(&bundle)?;
    running.ready()?;
    let Some(files) = running.sandbox.files() else { return Ok(running.sandbox.delete()?) };
    let files = files.open()?;
    let (new, copy) = (setup.scratch.path().join("new"), setup.scratch.path().join("copy"));
    fs::write(&new, "from outside\n")?;
    let source = HostSource::open(&new, false)?;
    let mut archive = Vec::new();
    source.pack(&mut archive)?;
    let what = CopyIn { source: Some(source.source()), owners: false };
    for path in ["/copied", "/greeting", "/data/copied"] {
        files.copy_in(&mut archive.as_slice(), path, &what)?;
        let mut read = Vec::new();
        files.copy_out(path, CopyOut::default(), &mut read)?;
        unpack_host(&mut read.as_slice(), path, &copy, false)?;
        let found = fs::read_to_string(&copy)?;
        demand!(found == "from outside\n", "{path} is read as {found:?}");
    }
    let refused = files.copy_in(&mut archive.as_slice(), "/kept/copied", &what);
    demand!(refused.is_err(), "a read-only volume was changed");
    running.sandbox.delete()?;
    for path in ["/copied", "/greeting"] {
        let found = content(&bundle, path);
        demand!(found.as_deref() == Some("from outside\n"), "{path} became {found:?}");
    }
    let volume = fs::read_to_string(setup.scratch.path().join("volume/copied"))?;
    demand!(volume == "from outside\n", "the volume got {volume:?}");
    Ok(())
}

/// How long a paused guest is watched.
const WATCHED: Duration = Duration::from_millis(200);

fn pause(setup: &Setup<'_>) -> Outcome {
    let Copying { sandbox, mut input, output } = setup.start_copying()?;
    let Some(pause) = sandbox.pause() else { return Ok(sandbox.delete()?) };
    input.write_all(b"before\n")?;
    demand!(output.recv()? == "before\n", "it copies something else");
    for _ in 0..2 {
        pause.pause()?;
    }
    input.write_all(b"meanwhile\n")?;
    let meanwhile = output.recv_timeout(WATCHED);
    demand!(meanwhile.is_err(), "paused, the guest printed {meanwhile:?}");
    for _ in 0..2 {
        pause.resume()?;
    }
    demand!(output.recv()? == "meanwhile\n", "it lost its input");
    drop(input);
    let exit = sandbox.wait()?;
    demand!(exit.status == ExitStatus::Exited(0), "{exit:?}");
    Ok(sandbox.delete()?)
}

fn kill_paused(setup: &Setup<'_>) -> Outcome {
    let mut running = setup.start(&setup.bundle(&Guest::Spin)?)?;
    running.ready()?;
    if let Some(pause) = running.sandbox.pause() {
        pause.pause()?;
        let before = running.sandbox.stats()?.cpu_nanos;
        std::thread::sleep(WATCHED);
        let after = running.sandbox.stats()?.cpu_nanos;
        demand!(before == after, "paused, it computed from {before:?} to {after:?}");
    }
    running.sandbox.signal(Signal::KILL)?;
    let ran = running.finish()?;
    demand!(ran.exit.status == ExitStatus::Signaled(Signal::KILL), "{ran:?}");
    Ok(())
}

fn processes(setup: &Setup<'_>) -> Outcome {
    let mut running = setup.start(&setup.bundle(&Guest::Sleep)?)?;
    running.ready()?;
    let sandbox = &running.sandbox;
    if let Some(processes) = sandbox.processes() {
        let (pids, first) = (processes.pids()?, sandbox.pid());
        demand!(first.is_some_and(|first| pids.contains(&first)), "{first:?} is none of {pids:?}");
        demand!(!pids.contains(&std::process::id()), "the host's own is one of {pids:?}");
        sandbox.signal(Signal::KILL)?;
        sandbox.wait()?;
        let pids = processes.pids()?;
        demand!(pids.is_empty(), "the guest has ended, and has {pids:?}");
    }
    Ok(running.sandbox.delete()?)
}

fn delete_running(setup: &Setup<'_>) -> Outcome {
    let mut running = setup.start(&setup.bundle(&Guest::Sleep)?)?;
    running.ready()?;
    running.sandbox.delete()?;
    Ok(())
}

fn delete_unstarted(setup: &Setup<'_>) -> Outcome {
    let bundle = setup.bundle(&Guest::Write("/made".to_owned(), "x".to_owned()))?;
    setup.create(&bundle, b"")?.sandbox.delete()?;
    demand!(content(&bundle, "/made").is_none(), "the guest ran");
    Ok(())
}

/// The failure of create or start, whichever tells it.
fn refused_program(setup: &Setup<'_>, guest: &Guest) -> Result<u8, Failed> {
    let bundle = setup.bundle(guest)?;
    let (stdin, _writer) = std::io::pipe()?;
    let (_out, stdout) = std::io::pipe()?;
    let (_err, stderr) = std::io::pipe()?;
    let stdio = crate::Stdio::Pipes { stdin: Some(stdin), stdout, stderr };
    let code = match setup.harness.backend().create(&bundle, stdio) {
        Err(error) => error.exit_code(),
        Ok(sandbox) => {
            let started = sandbox.start();
            sandbox.delete()?;
            started.err().as_ref().map_or(0, Error::exit_code)
        }
    };
    Ok(code)
}

fn missing(setup: &Setup<'_>) -> Outcome {
    let code = refused_program(setup, &Guest::Missing)?;
    demand!(code == 127, "told with {code}");
    Ok(())
}

fn not_a_program(setup: &Setup<'_>) -> Outcome {
    let code = refused_program(setup, &Guest::NotAProgram)?;
    demand!(code == 126, "told with {code}");
    Ok(())
}

fn refusals(setup: &Setup<'_>) -> Outcome {
    let mut bundle = setup.bundle(&Guest::Exit(0))?;
    let expected = setup.harness.ask_too_much(&mut bundle);
    let refused = setup.harness.backend().admit(&bundle);
    demand!(refused.len() == expected, "{expected} things too much, refused {refused:?}");
    Ok(())
}

fn reclaim(setup: &Setup<'_>) -> Outcome {
    let bundle = setup.bundle(&Guest::Exit(0))?;
    setup.run(&bundle)?;
    for _ in 0..2 {
        setup.harness.backend().reclaim(&bundle.id, &bundle.state_dir)?;
    }
    Ok(())
}

fn many(setup: &Setup<'_>) -> Outcome {
    let started: Result<Vec<_>, Failed> = (0..16_u8)
        .map(|code| Ok((code, setup.start(&setup.bundle(&Guest::Exit(code))?)?)))
        .collect();
    for (code, running) in started? {
        let ran = running.finish()?;
        demand!(ran.exit.code() == code, "exit({code}) is told as {ran:?}");
    }
    Ok(())
}

/// What the file holds in the container's view, if it exists.
fn content(bundle: &Bundle, path: &str) -> Option<String> {
    let files = UnionFs::open(&bundle.root.snapshot, Access::ReadOnly).ok()?;
    let node = files.resolve(ROOT, path, Follow::All).ok()?;
    let file = files.open_file(node, OpenOptions::READ).ok()?;
    let mut bytes = vec![0; usize::try_from(files.stat(node).ok()?.size).ok()?];
    let read = file.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(read);
    String::from_utf8(bytes).ok()
}
