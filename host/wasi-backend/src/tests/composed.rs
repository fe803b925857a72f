//! Programs of several components.

use super::harness::Container;

/// A component whose run prints nothing, and fails unless `answer` gives 42.
const PROGRAM: &str = r#"(component
    (import "test:parts/numbers@0.1.0" (instance $numbers (export "answer" (func (result u32)))))
    (core func $answer (canon lower (func $numbers "answer")))
    (core module $main
        (import "" "answer" (func $answer (result i32)))
        (func (export "run") (result i32) (i32.ne (call $answer) (i32.const 42))))
    (core instance $main (instantiate $main (with "" (instance (export "answer" (func $answer))))))
    (func $run (result (result)) (canon lift (core func $main "run")))
    (instance $run-instance (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $run-instance)))"#;

/// One that exports `answer`, of another patch version.
fn numbers(answer: u32) -> String {
    format!(
        r#"(component
    (core module $m (func (export "answer") (result i32) (i32.const {answer})))
    (core instance $i (instantiate $m))
    (func $answer (result u32) (canon lift (core func $i "answer")))
    (instance $numbers (export "answer" (func $answer)))
    (export "test:parts/numbers@0.1.7" (instance $numbers)))"#
    )
}

/// One that exports `answer` by what another gives.
const HALVES: &str = r#"(component
    (import "test:parts/halves@1.0.0" (instance $halves (export "half" (func (result u32)))))
    (core func $half (canon lower (func $halves "half")))
    (core module $m
        (import "" "half" (func $half (result i32)))
        (func (export "answer") (result i32) (i32.add (call $half) (call $half))))
    (core instance $i (instantiate $m (with "" (instance (export "half" (func $half))))))
    (func $answer (result u32) (canon lift (core func $i "answer")))
    (instance $numbers (export "answer" (func $answer)))
    (export "test:parts/numbers@0.1.0" (instance $numbers)))"#;

const HALF: &str = r#"(component
    (core module $m (func (export "half") (result i32) (i32.const 21)))
    (core instance $i (instantiate $m))
    (func $half (result u32) (canon lift (core func $i "half")))
    (instance $halves (export "half" (func $half)))
    (export "test:parts/halves@1.0.0" (instance $halves)))"#;

fn container(parts: &[(&str, &str)]) -> Container {
    let mut container = Container::new(PROGRAM);
    for (name, content) in parts {
        container.image_file(name, content);
        container.bundle.components.push(format!("/{name}"));
    }
    container
}

#[test]
fn a_program_imports_what_others_export() {
    for (answer, code) in [(42, 0), (41, 1)] {
        let parts = container(&[("lib/numbers.wasm", &numbers(answer))]);
        // The second time from the cache.
        assert_eq!((parts.run().exit.code(), parts.run().exit.code()), (code, code));
    }
    let chain = container(&[("numbers.wat", HALVES), ("half.wat", HALF)]);
    assert_eq!(chain.run().exit.code(), 0);
}

#[test]
fn what_is_not_exported_is_refused_by_its_name() {
    let error = container(&[]).refused();
    assert_eq!(error.exit_code(), 126);
    assert!(error.to_string().contains("test:parts/numbers@0.1.0"), "{error}");
    let error = container(&[("numbers.wat", HALVES)]).refused();
    assert!(error.to_string().contains("test:parts/halves@1.0.0"), "{error}");
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let numbers = numbers(42);
    let other = numbers.replace("(result u32)", "(result s32)");
    for (parts, says) in [
        (
            vec![("numbers.wat", numbers.as_str()), ("half.wat", HALF)],
            "nothing imports what /half.wat exports",
        ),
        (vec![("numbers.wat", other.as_str())], "does not fit"),
        (vec![("numbers.wat", "#!/bin/sh")], "/numbers.wat: it is a script"),
        (vec![("numbers.wat", "(component")], "not valid WebAssembly text"),
    ] {
        let error = container(&parts).refused();
        assert!(error.to_string().contains(says), "{error}");
    }
    let mut container = Container::new(PROGRAM);
    container.bundle.components.push("/missing.wasm".to_owned());
    assert_eq!(container.refused().exit_code(), 127);
}
