//! A disk that is full: nothing is lost, nothing is left behind.

use std::{fs, process::Command};

use crate::support::{
    Silo, data, filters,
    host::{needs_root, text},
};

/// What a row of commands says whose store is a disk of `size`, in a mount namespace of their
/// own. `silo`, `fill` and `free` are there.
pub(crate) fn on_a_disk(silo: &Silo, size: &str, script: &str) -> String {
    fs::create_dir_all(silo.root()).unwrap();
    let program = silo.command(&[]);
    let script = format!(
        r#"mount -t tmpfs -o size={size},mode=700 none {root} || exit 1
        quiet() {{ {program} --root {root} "$@"; }}
        silo() {{ echo "$ silo $*"; quiet "$@" 2>&1; echo "[$?]"; echo; }}
        fill() {{ dd if=/dev/zero of={root}/cache/fill bs=4k >/dev/null 2>&1; }}
        free() {{ rm {root}/cache/fill; }}
        {script}
        ls -A {root}/tmp {root}/containers {root}/names | grep -v '\.lock$'"#,
        root = text(&silo.root()),
        program = text(program.get_program().as_ref()),
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", &script]);
    command.current_dir(silo.home());
    let output = command.output().expect("unshare starts");
    let said = String::from_utf8_lossy(&output.stdout).replace(text(&silo.root()), "ROOT");
    let said = said.replace("ROOT/tmp", "tmp").replace("ROOT/containers", "containers");
    said + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
pub(crate) fn assert_said(silo: &Silo, name: &str, said: &str) {
    let mut settings = filters(silo);
    settings.set_snapshot_path("snapshots");
    settings.add_filter(r"work-\w+", "work-[RANDOM]");
    settings.add_filter(r"names/[a-z]+_[a-z]+", "names/[RANDOM]");
    // dd's figures depend on what else is on the disk.
    settings.add_filter(r"(?m)^\d+\+\d records (in|out)\n", "");
    settings.bind(|| insta::assert_snapshot!(name, said));
}

#[test]
fn a_full_disk_at_load_leaves_no_half_image() {
    let Some(archive) = data("busybox/docker-archive.tar") else { return };
    if !needs_root() {
        return;
    }
    let silo = Silo::new();
    fs::copy(archive, silo.home().join("busybox.tar")).unwrap();
    let script = "silo load -q -i busybox.tar; silo images -q; silo system check";
    assert_said(&silo, "a-full-disk-at-load", &on_a_disk(&silo, "3m", script));
}

#[test]
fn a_full_disk_at_run_loses_nothing_and_containers_can_be_removed() {
    let Some(archive) = data("busybox/docker-archive.tar") else { return };
    if !needs_root() {
        return;
    }
    let silo = Silo::new();
    fs::copy(archive, silo.home().join("busybox.tar")).unwrap();
    let script = "
        quiet load -q -i busybox.tar
        quiet run -d --name early busybox:archive sleep 1000 >/dev/null
        fill
        silo run --rm busybox:archive true
        silo create --name c busybox:archive true
        silo ps -a --format '{{.Names}} {{.State}}'
        silo stop -t 0 early
        silo ps -a --format '{{.Names}} {{.State}}'
        silo rm -f early
        free
        silo run --rm busybox:archive echo again
        silo run --name writer busybox:archive dd if=/dev/zero of=/big bs=1M
        silo ps -a --format '{{.Names}} {{.State}}'
        silo rm -f writer
        silo run --rm busybox:archive echo again
        silo system check";
    assert_said(&silo, "a-full-disk-at-run", &on_a_disk(&silo, "12m", script));
}
