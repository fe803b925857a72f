//! Real WebAssembly images: CPython and MicroPython with files of their own.

use std::{collections::BTreeMap, fs, path::Path};

use crate::support::{
    Silo,
    guests::{load_program, micropython, silo_with_python},
    host::text,
    layout::{File, digest, tar},
};

const SCRIPT: &str = r"
import collections, hashlib, json, os, re, sys
os.makedirs('/work/a/b')
with open('/work/a/one.txt', 'w') as f:
    f.write('written\n')
os.rename('/work/a/one.txt', '/work/a/b/two.txt')
assert open('/work/a/b/two.txt').read() == 'written\n'
assert not os.path.exists('/work/a/one.txt')
assert sorted(os.listdir('/app')) == ['data.txt', 'doomed.txt', 'main.py'], os.listdir('/app')
with open('/app/data.txt', 'a') as f:
    f.write('more\n')
assert open('/app/data.txt').read() == 'of the image\nmore\n'
os.remove('/app/doomed.txt')
assert sorted(os.listdir('/app')) == ['data.txt', 'main.py']
os.rename('/app/data.txt', '/app/renamed.txt')
assert sorted(os.listdir('/app')) == ['main.py', 'renamed.txt']
os.remove('/work/a/b/two.txt'); os.rmdir('/work/a/b')
try:
    open('/app/none'); raise SystemExit('opened')
except FileNotFoundError:
    pass
print(json.dumps({'md5': hashlib.md5(b'silo').hexdigest(), 'args': sys.argv[1:], 'x': os.environ.get('X')}))
";

fn script_files() -> Vec<File<'static>> {
    vec![
        File::new("app/main.py", SCRIPT.as_bytes()),
        File::new("app/data.txt", b"of the image\n"),
        File::new("app/doomed.txt", b"of the image\n"),
    ]
}

/// Every file below `folder` with its content's digest.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.is_symlink() {
                pending.push(path);
            } else if path.is_file() {
                found.insert(text(&path).to_owned(), digest(&fs::read(&path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn cpython_changes_files_and_the_image_stays_untouched() {
    let Some(silo) = silo_with_python(&script_files()) else { return };
    let image = || (tree(&silo.root().join("blobs")), tree(&silo.root().join("layers")));
    let before = image();
    // The second finds what the image holds, not what the first made of it.
    for _ in 0..2 {
        let said = silo.ok(&["run", "--rm", "-e", "X=7", "python", "/app/main.py", "one", "two"]);
        let expected =
            r#"{"md5": "0bf0117cfdd4fdf9a9dfcb2eab3e3b43", "args": ["one", "two"], "x": "7"}"#;
        let without_md5 = |text: &str| text.split_once("\", ").map(|(_, rest)| rest.to_owned());
        assert_eq!(without_md5(&said), without_md5(expected));
    }
    assert_eq!(before, image());
    silo.assert_nothing_left(&[]);
}

#[test]
fn cpython_sees_no_file_of_the_host() {
    let Some(silo) = silo_with_python(&[]) else { return };
    let secret = silo.file("secret", "of the host");
    let script = format!(
        "import os\nprint(sorted(os.listdir('/')))\nprint(os.path.exists({:?}), os.path.exists('/etc/passwd'), os.path.exists('/../../etc/passwd'))\nprint(sorted(os.environ))",
        text(&secret)
    );
    let said = silo.ok(&["run", "--rm", "python", "-c", &script]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "['usr']");
    assert_eq!(lines[1], "False False False");
    assert_eq!(lines[2], "['PYTHONDONTWRITEBYTECODE']"); // The image's, and no other.
}

#[test]
fn cpython_reads_standard_input_and_gives_its_exit_code() {
    let Some(silo) = silo_with_python(&[]) else { return };
    let script = "import sys; print(sys.stdin.read().upper()); print('to stderr', file=sys.stderr); sys.exit(7)";
    let ended = silo.with_input(&["run", "--rm", "-i", "python", "-c", script], b"words");
    assert_eq!((ended.code, ended.stdout.as_str()), (7, "WORDS\n"));
    assert_eq!(ended.stderr, "to stderr\n");
}

#[test]
fn cpython_uses_volumes_and_only_those() {
    let Some(silo) = silo_with_python(&[]) else { return };
    let folder = silo.home().join("shared");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("in.txt"), "from the host").unwrap();
    let volume = format!("{}:/data", text(&folder));
    let script = "open('/data/out.txt', 'w').write(open('/data/in.txt').read())";
    silo.ok(&["run", "--rm", "-v", &volume, "python", "-c", script]);
    assert_eq!(fs::read_to_string(folder.join("out.txt")).unwrap(), "from the host");
    let read_only = format!("{volume}:ro");
    let script = "open('/data/in.txt').read()\ntry:\n  open('/data/x', 'w'); print('written')\nexcept OSError as e: print(type(e).__name__)";
    let said = silo.ok(&["run", "--rm", "-v", &read_only, "python", "-c", script]);
    assert_ne!(said, "written");
    std::os::unix::fs::symlink("/etc/passwd", folder.join("link")).unwrap();
    let script = "try:\n  print(open('/data/link').read())\nexcept OSError as e: print('refused')";
    assert_eq!(silo.ok(&["run", "--rm", "-v", &volume, "python", "-c", script]), "refused");
}

#[test]
fn cpython_with_a_read_only_root_writes_to_a_tmpfs_alone() {
    let Some(silo) = silo_with_python(&[]) else { return };
    let script = "open('/tmp/x', 'w').write('1')\ntry:\n  open('/x', 'w'); print('written')\nexcept OSError as e: print(e.errno)";
    let args = ["run", "--rm", "--read-only", "--tmpfs", "/tmp", "python", "-c", script];
    assert_eq!(silo.ok(&args), "69"); // WASI's EROFS
}

#[test]
fn micropython_runs_from_an_image_made_by_import() {
    let Some(program) = micropython() else { return };
    let silo = Silo::new();
    let archive = silo.file("rootfs.tar", tar(&[File::program("micropython.wasm", &program)]));
    silo.ok(&["import", "--platform", "wasi/wasm", text(&archive), "micropython"]);
    let script = "print(sum(range(10)))";
    let args = ["run", "--rm", "micropython", "/micropython.wasm", "-c", script];
    assert_eq!(silo.ok(&args), "45");
}

#[test]
fn micropython_writes_lists_and_deletes_files() {
    let Some(program) = micropython() else { return };
    let silo = Silo::new();
    let files =
        [File::program("micropython.wasm", &program), File::new("app/data.txt", b"of the image")];
    load_program(&silo, "micropython", &files);
    let script = "f = open('/app/new.txt', 'w'); f.write('new'); f.close(); print(open('/app/new.txt').read(), open('/app/data.txt').read())";
    for _ in 0..2 {
        let said = silo.ok(&["run", "--rm", "micropython", "-c", script]);
        assert_eq!(said, "new of the image");
    }
}
