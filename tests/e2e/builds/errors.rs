//! What is wrong with a build is told with its place, and nothing is left of it.

use std::{fs, process::Command};

use super::{Project, assert_nothing_left};
use crate::{
    full_disk::{assert_said, on_a_disk},
    support::{
        Silo, data,
        host::{needs_root, text},
        transcript::Transcript,
        wait_until,
    },
};

#[test]
fn dockerfiles_that_are_wrong_are_told() {
    let silo = Silo::new();
    let project = Project::new(&silo, "p", "FROM scratch\n");
    let from_stdin = ["build", "-f", "-", project.text()];
    let mut transcript = Transcript::of(&silo);
    for text in [
        "",
        "FROM scratch\nRUNN true\n",
        "FROM scratch\nRUN --mount=type=cache,target=/x \\\n  true\n",
        "FROM scratch\nENV A=\"x\n",
        "FROM scratch\nENV A=1 \\\n    B=${C^^}\n",
        "FROM scratch\nEXPOSE http\n",
        "FROM scratch\nSTOPSIGNAL SIGNOTHING\n",
        "FROM $BASE\n",
        "FROM --platform=amd64 scratch\n",
        "FROM scratch\nCOPY nothing /\n",
        "FROM scratch\nCOPY ../outside /\n",
        "FROM scratch\nCOPY *.none /\n",
        "FROM scratch\nCOPY Dockerfile Dockerfile /both\n",
        "FROM scratch\nCOPY --chmod=rwx Dockerfile /\n",
        "FROM scratch\nCOPY --chown=nobody Dockerfile /\n",
        "FROM scratch\nCOPY --from=1 /a /\n",
        "FROM scratch\nCOPY Dockerfile /d\nCOPY . /d\n",
        "FROM scratch\nADD https://example.org/file /\n",
        "FROM scratch\nRUN [\"/none\"]\n",
    ] {
        transcript.with_input(&from_stdin, text.as_bytes());
    }
    transcript.assert("build-dockerfiles");
    assert_nothing_left(&silo);
    assert_eq!(silo.ok(&["images", "-q"]), "");
}

#[test]
fn builds_that_cannot_begin_are_told() {
    let silo = Silo::new();
    let project =
        Project::new(&silo, "p", "FROM scratch AS one\nENV A=1\nFROM scratch AS two\nENV B=2\n");
    let (ignored, file) =
        (Project::new(&silo, "ignored", "FROM scratch\nCOPY . /\n"), silo.file("file", ""));
    ignored.file(".dockerignore", "fine\n[a-\n");
    let bare = silo.home().join("bare");
    fs::create_dir(&bare).unwrap();
    Transcript::of(&silo)
        .run(&["build"])
        .run(&["build", "/nowhere"])
        .run(&["build", text(&file)])
        .run(&["build", "https://example.org/repository.git"])
        .run(&["build", text(&bare)])
        .run(&["build", "-f", "/none", project.text()])
        .run(&["build", "--target", "three", project.text()])
        .run(&["build", "--target", "2", project.text()])
        .run(&["build", "--build-arg", "=x", project.text()])
        .run(&["build", "--platform", "amd64", project.text()])
        .run(&["build", "--progress", "fancy", project.text()])
        .run(&["build", "--secret", "id=x", project.text()])
        .run(&["build", "-t", "Not A Name", project.text()])
        .run(&["build", ignored.text()])
        .assert("build-cannot-begin");
    let told = silo.command(&["build", project.text()]).env("SOURCE_DATE_EPOCH", "soon").output();
    let told = String::from_utf8(told.unwrap().stderr).unwrap();
    assert!(told.contains("SOURCE_DATE_EPOCH is `soon`"), "{told}");
    assert_nothing_left(&silo);
}

#[test]
fn commands_that_fail_are_told_with_their_code_and_last_lines() {
    let Some(silo) = Silo::with_busybox() else { return };
    let dockerfile = "FROM busybox\nRUN echo fine\nRUN seq 1 30; \\\n    echo why >&2; exit 7\n";
    let failing = Project::new(&silo, "failing", dockerfile);
    let missing = Project::new(&silo, "missing", "FROM busybox\nRUN no-such-program\n");
    let program = Project::new(&silo, "program", "FROM busybox\nRUN [\"no-such-program\"]\n");
    let user = Project::new(&silo, "user", "FROM busybox\nUSER nobody-here\nRUN true\n");
    Transcript::of(&silo)
        .run(&["build", "-q", failing.text()])
        .run(&["build", missing.text()])
        .run(&["build", program.text()])
        .run(&["build", user.text()])
        .run(&["build", "-q", "--platform", "linux/riscv64", missing.text()])
        .assert("build-commands-that-fail");
    assert_nothing_left(&silo);
}

#[test]
fn a_signal_ends_a_build_and_leaves_nothing() {
    let Some(silo) = Silo::with_busybox() else { return };
    let project = Project::new(&silo, "p", "FROM busybox\nRUN trap '' TERM INT; sleep 1000\n");
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let build = silo.spawn(&["build", project.text()]);
        wait_until("the command to run", || !silo.ok(&["ps", "-q"]).is_empty());
        let id = silo.ok(&["ps", "-q", "--no-trunc"]);
        let sent =
            Command::new("kill").args([format!("-{signal}"), build.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let ended = crate::support::ended(&build.wait_with_output().unwrap());
        assert_eq!(ended.code, code, "{ended:#?}");
        assert!(ended.stderr.contains(&format!("interrupted by SIG{signal}")), "{ended:#?}");
        silo.assert_nothing_left(&[id]);
        assert_nothing_left(&silo);
    }
}

#[test]
fn a_full_disk_at_build_leaves_no_half_image() {
    let Some(archive) = data("busybox/docker-archive.tar") else { return };
    if !needs_root() {
        return;
    }
    let silo = Silo::new();
    fs::copy(archive, silo.home().join("busybox.tar")).unwrap();
    let project = Project::new(&silo, "p", "FROM busybox:archive\nCOPY small /\nCOPY big /\n");
    project.file("small", "x").file("big", vec![b'x'; 20 << 20]);
    let written =
        Project::new(&silo, "w", "FROM busybox:archive\nRUN dd if=/dev/zero of=/big bs=1M\n");
    written.file("none", "");
    let script = "
        quiet load -q -i busybox.tar
        silo build -q p
        silo build -q w
        silo images --format '{{.Repository}}'
        silo ps -aq
        silo system check
        ls ROOT_/cache/build/steps | grep -c -v lock";
    let script = script.replace("ROOT_", text(&silo.root()));
    assert_said(&silo, "a-full-disk-at-build", &on_a_disk(&silo, "12m", &script));
}
