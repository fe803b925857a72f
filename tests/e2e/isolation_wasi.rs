//! What limits do to a WebAssembly guest, and how its end is told.

use std::time::{Duration, Instant};

use crate::support::guests::silo_with_module;

#[test]
fn a_trap_is_134_and_says_where() {
    let silo = silo_with_module("unreachable");
    let ended = silo.run(&["run", "--name", "trap", "guest"]);
    assert_eq!(ended.code, 134, "{ended:?}");
    assert!(ended.stderr.contains("unreachable"), "{}", ended.stderr);
    assert_eq!(silo.inspect("trap", "{{.State.ExitCode}}"), "134");
}

#[test]
fn the_guests_exit_code_is_the_containers() {
    let silo = silo_with_module("(call $say) (call $exit (i32.const 3))");
    let ended = silo.run(&["run", "--rm", "guest"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (3, "said\n"));
}

#[test]
fn memory_grows_to_the_limit_and_no_further() {
    // Grows by 64 MiB at a time until refused; its exit code tells how often that went well.
    let silo = silo_with_module(
        "(local $n i32)
         (block $done (loop $more
            (br_if $done (i32.eq (memory.grow (i32.const 1024)) (i32.const -1)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $done (i32.ge_u (local.get $n) (i32.const 20)))
            (br $more)))
         (call $exit (local.get $n))",
    );
    assert_eq!(silo.run(&["run", "--rm", "--memory", "256m", "guest"]).code, 3);
    assert_eq!(silo.run(&["run", "--rm", "guest"]).code, 20);
}

#[test]
fn an_endless_loop_ends_by_stop_kill_and_timeout() {
    let silo = silo_with_module("(loop $for_ever (br $for_ever))");
    silo.ok(&["run", "-d", "--name", "stopped", "guest"]);
    silo.ok(&["stop", "-t", "1", "stopped"]);
    let code = silo.inspect("stopped", "{{.State.ExitCode}}");
    assert!(code == "137" || code == "143", "{code}");
    silo.ok(&["run", "-d", "--name", "killed", "guest"]);
    silo.ok(&["kill", "killed"]);
    assert_eq!(silo.ok(&["wait", "killed"]), "137");
    let start = Instant::now();
    assert_eq!(silo.run(&["run", "--rm", "--timeout", "1s", "guest"]).code, 137);
    assert!(start.elapsed() < Duration::from_secs(20));
    silo.ok(&["rm", "stopped", "killed"]);
    silo.assert_nothing_left(&[]);
}

#[test]
fn an_import_that_is_not_offered_is_named_before_the_start() {
    use crate::support::{Silo, guests::load_program, layout::File};
    let silo = Silo::new();
    let module = wat::parse_str(
        r#"(module (import "env" "escape" (func)) (memory (export "memory") 1) (func (export "_start")))"#,
    )
    .unwrap();
    load_program(&silo, "guest", &[File::program("guest.wasm", &module)]);
    let ended = silo.run(&["run", "--rm", "guest"]);
    assert!(matches!(ended.code, 125..=127), "{ended:?}");
    assert!(ended.stderr.contains("env") && ended.stderr.contains("escape"), "{}", ended.stderr);
}
