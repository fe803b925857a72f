//! Containers in good health.

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

use silo_engine::{Attach, Control, CreateOptions, Error, LogOptions, Status};
use silo_isolation::{Limits, Signal};

use crate::support::{Fixture, Test, finish, options};

pub(crate) const TESTS: &[Test] = &[
    ("an_attached_container_gives_its_output_and_its_exit_code", attached),
    ("a_client_types_what_the_guest_reads", stdin),
    ("clients_attach_and_detach_and_the_guest_reads_on", attach_and_detach),
    ("a_container_is_gone_before_its_end_is_told_where_it_removes_itself", auto_remove),
    ("a_detached_container_runs_on_its_own", detached),
    ("stop_ends_a_container_and_start_runs_it_again", stop_and_start),
    ("a_restart_keeps_what_goes_when_it_ends", restart),
    ("signals_reach_an_attached_guest_that_reads_nothing", signal_while_stdin_is_full),
    ("what_a_backend_cannot_pause_runs_on", no_pause),
    ("a_timeout_ends_a_container", timeout),
    ("a_missing_program_is_told_with_its_exit_code_and_leaves_a_record", missing_program),
    ("what_the_backend_refuses_is_told_at_once_and_leaves_nothing", refused),
    ("limits_are_changed_whether_the_container_runs_or_not", update),
    ("logs_keep_streams_apart_and_follow_to_the_end", logs),
    ("everyone_who_waits_hears_the_end", wait_together),
    ("many_engines_run_one_image_at_once", many),
    ("a_name_is_taken_once", names),
    ("a_deep_root_has_a_socket_too", deep_root),
];

fn attached(f: &Fixture) {
    let session = f.engine.run(&options(&["args", "a b", "c"]), Attach::OUTPUT).unwrap();
    let id = session.id().to_owned();
    let (exit, stdout, stderr) = finish(session);
    assert_eq!((exit.code(), stdout.as_str(), stderr.as_str()), (0, "a b\nc\n", ""));
    let state = f.engine.inspect(&id).unwrap().state;
    assert_eq!((state.status, state.exit_code, state.pid), (Status::Exited, Some(0), None));
    assert!(state.started.unwrap() <= state.finished.unwrap());

    let (exit, _, stderr) =
        finish(f.engine.run(&options(&["complain", "oops"]), Attach::OUTPUT).unwrap());
    assert_eq!((exit.code(), stderr.as_str()), (0, "oops\n"));
    let (exit, ..) = finish(f.engine.run(&options(&["exit", "7"]), Attach::OUTPUT).unwrap());
    assert_eq!(exit.code(), 7);
}

fn update(f: &Fixture) {
    let id = f.detached(&["sleep"]);
    let pids = |pids| Limits { pids: Some(pids), ..Limits::default() };
    let held = || f.engine.inspect(&id).unwrap().container.bundle.limits.pids;
    f.engine.update(&id, &pids(50)).unwrap();
    assert_eq!(held(), Some(50));
    let refused = Limits { memory: Some(1 << 20), ..pids(60) };
    f.engine.update(&id, &refused).unwrap_err();
    assert_eq!(held(), Some(50));
    f.engine.stop(&id, None, Duration::ZERO).unwrap();
    f.another().update(&id, &pids(70)).unwrap();
    assert_eq!(held(), Some(70));
    assert!(matches!(f.engine.update(&id, &refused), Err(Error::Refused { .. })));
    assert!(matches!(f.engine.update("nobody", &pids(1)), Err(Error::NotFound(_))));
    assert_eq!(held(), Some(70));
}

fn stdin(f: &Fixture) {
    let options = CreateOptions { interactive: true, ..options(&["cat"]) };
    let session = f.engine.run(&options, Attach::ALL).unwrap();
    let control = session.control();
    let text = "x".repeat(200_000);
    let typed = text.clone();
    let typist = thread::spawn(move || {
        control.stdin(typed.as_bytes()).unwrap();
        control.close_stdin().unwrap();
    });
    let (exit, stdout, _) = finish(session);
    typist.join().unwrap();
    assert_eq!(exit.code(), 0);
    assert!(stdout == text, "{} bytes came back", stdout.len());
}

/// Detaches when it has seen a line.
struct UntilLine {
    seen: Vec<u8>,
    control: Control,
}

impl Write for UntilLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.seen.extend_from_slice(bytes);
        if bytes.ends_with(b"\n") {
            self.control.detach().map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn attach_and_detach(f: &Fixture) {
    let options = CreateOptions { interactive: true, ..options(&["cat"]) };
    let session = f.engine.run(&options, Attach::ALL).unwrap();
    let id = session.id().to_owned();
    let mut session = Some(session);
    for line in ["first\n", "second\n"] {
        let mut session =
            session.take().unwrap_or_else(|| f.another().attach(&id, Attach::ALL).unwrap());
        let control = session.control();
        control.stdin(line.as_bytes()).unwrap();
        let mut output = UntilLine { seen: Vec::new(), control };
        let left = session.follow(&mut output, &mut io::sink()).unwrap_err();
        assert!(matches!(left, Error::Detached), "{left}");
        assert_eq!(output.seen, line.as_bytes());
    }
    let session = f.engine.attach(&id, Attach::ALL).unwrap();
    // It was started by one who typed: what it reads ends with one who does not detach.
    session.control().close_stdin().unwrap();
    assert_eq!(finish(session).0.code(), 0);
    let error = f.engine.attach(&id, Attach::ALL).unwrap_err();
    assert_eq!(error.to_string(), "cannot attach to a stopped container, start it first");
}

fn restart(f: &Fixture) {
    let options = CreateOptions { auto_remove: true, ..options(&["sleep"]) };
    let id = f.engine.run(&options, Attach::NONE).unwrap().id().to_owned();
    f.engine.restart(&id, None, Duration::from_secs(10)).unwrap();
    assert_eq!(f.engine.inspect(&id).unwrap().state.status, Status::Running);
    f.engine.rename(&id, "again").unwrap();
    f.engine.stop("again", Some(Signal::KILL), Duration::ZERO).unwrap();
    assert_nothing_left(f);
}

fn auto_remove(f: &Fixture) {
    let options = CreateOptions { auto_remove: true, ..options(&["exit", "3"]) };
    let (exit, ..) = finish(f.engine.run(&options, Attach::OUTPUT).unwrap());
    assert_eq!(exit.code(), 3);
    assert_nothing_left(f);
}

/// No container, name or socket.
pub(crate) fn assert_nothing_left(f: &Fixture) {
    for directory in ["containers", "names", "run"] {
        let Ok(entries) = f.root.path().join(directory).read_dir() else { continue };
        let left: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != ".lock")
            .collect();
        assert!(left.is_empty(), "{directory} holds {left:?}");
    }
}

fn detached(f: &Fixture) {
    let id = f.detached(&["sleep"]);
    let other = f.another();
    let summary = other.inspect(&id[..10]).unwrap();
    assert_eq!(summary.state.status, Status::Running);
    assert!(other.stats(&id).unwrap().pids.is_some());
    let error = other.remove(&id, false).unwrap_err();
    assert!(matches!(error, Error::WrongState { .. }), "{error}");
    let error = other.start(&id, Attach::NONE).unwrap_err();
    assert!(matches!(error, Error::WrongState { .. }), "{error}");
    other.kill(&summary.container.name, Signal::KILL).unwrap();
    assert_eq!(other.wait(&id).unwrap(), 137);
    other.remove(&id, false).unwrap();
    assert_nothing_left(f);
}

fn stop_and_start(f: &Fixture) {
    let id = f.detached(&["sleep"]);
    f.engine.stop(&id, None, Duration::from_secs(10)).unwrap();
    let state = f.engine.inspect(&id).unwrap().state;
    assert_eq!((state.status, state.exit_code), (Status::Exited, Some(143)));
    // Stopping what does not run is done.
    f.engine.stop(&id, None, Duration::ZERO).unwrap();
    f.engine.start(&id, Attach::NONE).unwrap();
    assert_eq!(f.engine.inspect(&id).unwrap().state.status, Status::Running);
    f.engine.remove(&id, true).unwrap();
    assert_nothing_left(f);
}

fn no_pause(f: &Fixture) {
    let id = f.detached(&["sleep"]);
    let error = f.engine.pause(&id).unwrap_err();
    assert_eq!(error.to_string(), "the container cannot be paused here");
    assert_eq!(f.engine.inspect(&id).unwrap().state.status, Status::Running);
    f.engine.remove(&id, true).unwrap();
}

fn signal_while_stdin_is_full(f: &Fixture) {
    let options = CreateOptions { interactive: true, ..options(&["sleep"]) };
    let session = f.engine.run(&options, Attach::ALL).unwrap();
    let control = session.control();
    let typist = control.clone();
    let typist = thread::spawn(move || {
        // Far more than pipes hold; it ends when the guest does.
        let _ = typist.stdin(&vec![0; 4 << 20]);
    });
    control.signal(Signal::TERM).unwrap();
    let (exit, stdout, _) = finish(session);
    typist.join().unwrap();
    assert_eq!(exit.code(), 143);
    assert!(stdout == "ready\n" || stdout.is_empty(), "{stdout}");
}

fn timeout(f: &Fixture) {
    let mut options = options(&["spin"]);
    options.limits.timeout = Some(Duration::from_millis(50));
    let (exit, ..) = finish(f.engine.run(&options, Attach::OUTPUT).unwrap());
    assert_eq!(exit.code(), 137);
}

fn missing_program(f: &Fixture) {
    let error = f.engine.run(&options(&["missing"]), Attach::OUTPUT).unwrap_err();
    assert_eq!(error.exit_code(), 127);
    assert_eq!(error.to_string(), "no program `missing` in the image");
    let listing = f.engine.list().unwrap();
    let state = &listing.containers[0].state;
    assert_eq!((state.status, state.exit_code), (Status::Created, Some(127)));
    f.engine.remove(&listing.containers[0].container.name, false).unwrap();

    let options = CreateOptions { auto_remove: true, ..options(&["/greeting"]) };
    assert_eq!(f.engine.run(&options, Attach::OUTPUT).unwrap_err().exit_code(), 126);
    assert_nothing_left(f);
}

fn refused(f: &Fixture) {
    let mut options = options(&["exit", "0"]);
    options.terminal = true;
    options.limits.memory = Some(1 << 20);
    let error = f.engine.create(&options).unwrap_err();
    assert!(matches!(&error, Error::Refused { refused, .. } if refused.len() == 2), "{error}");
    let options = CreateOptions { image: "nothing".to_owned(), ..options };
    assert!(matches!(f.engine.create(&options), Err(Error::Image(_))));
    assert_nothing_left(f);
}

fn logs(f: &Fixture) {
    let id = f.detached(&["sleep"]);
    let follower = f.another();
    let query = id.clone();
    let following = thread::spawn(move || {
        let mut lines = Vec::new();
        let options = LogOptions { follow: true, ..LogOptions::default() };
        follower
            .logs(&query, options, &mut |entry| {
                lines.push(entry.log);
                Ok(())
            })
            .unwrap();
        lines
    });
    f.engine.stop(&id, None, Duration::from_secs(10)).unwrap();
    assert!(following.join().unwrap().len() <= 1);
    finish(f.engine.run(&options(&["complain", "oops"]), Attach::OUTPUT).unwrap());
    let newest = f.engine.list().unwrap().containers[0].container.id.clone();
    let read = |stdout, stderr| {
        let mut lines = Vec::new();
        let options = LogOptions { stdout, stderr, ..LogOptions::default() };
        f.engine
            .logs(&newest, options, &mut |entry| {
                lines.push(entry.log);
                Ok(())
            })
            .unwrap();
        lines
    };
    assert_eq!(read(true, true), ["oops\n"]);
    assert!(read(true, false).is_empty());
}

fn wait_together(f: &Fixture) {
    let id = f.detached(&["sleep"]);
    thread::scope(|scope| {
        let waiters: Vec<_> =
            (0..8).map(|_| scope.spawn(|| f.another().wait(&id).unwrap())).collect();
        f.engine.kill(&id, Signal::TERM).unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), 143);
        }
    });
}

fn many(f: &Fixture) {
    thread::scope(|scope| {
        for number in 0..40_u8 {
            scope.spawn(move || {
                let code = number.to_string();
                let options =
                    CreateOptions { auto_remove: number % 2 == 0, ..options(&["exit", &code]) };
                let session = f.another().run(&options, Attach::OUTPUT).unwrap();
                assert_eq!(finish(session).0.code(), number);
            });
        }
    });
    let listing = f.engine.list().unwrap();
    assert_eq!((listing.containers.len(), listing.damaged.len()), (20, 0));
    for summary in listing.containers {
        f.engine.remove(&summary.container.id, false).unwrap();
    }
    assert_nothing_left(f);
}

fn names(f: &Fixture) {
    let named = CreateOptions { name: Some("web".to_owned()), ..options(&["exit", "0"]) };
    f.engine.create(&named).unwrap();
    assert!(matches!(f.engine.create(&named), Err(Error::NameInUse { .. })));
    assert_eq!(f.engine.list().unwrap().containers.len(), 1);
    f.engine.remove("web", false).unwrap();
    f.engine.create(&named).unwrap();
}

fn deep_root(f: &Fixture) {
    if !cfg!(target_os = "linux") {
        return;
    }
    let deep = Fixture::at(f.root.path().join("d".repeat(120)));
    let id = deep.detached(&["sleep"]);
    deep.engine.remove(&id, true).unwrap();
}
