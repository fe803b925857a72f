//! `COPY`, `ADD` and `.dockerignore`.

use std::{fs, io::Write as _, os::unix::fs::symlink};

use super::{Project, assert_nothing_left};
use crate::support::{Silo, filters};

/// The files of an image with their permissions, owners and contents or targets.
fn files(silo: &Silo, image: &str, directory: &str) -> String {
    let script = format!(
        "cd {directory} && find . | sort | while read -r f; do stat -c '%A %u:%g %n' \"$f\"; \
         [ -f \"$f\" ] && [ ! -L \"$f\" ] && sed 's/^/  /' \"$f\"; \
         [ -L \"$f\" ] && echo \"  -> $(readlink \"$f\")\"; done; true"
    );
    silo.ok(&["run", "--rm", image, "sh", "-c", &script])
}

#[test]
fn sources_go_where_docker_puts_them() {
    let Some(silo) = Silo::with_busybox() else { return };
    let project = Project::new(
        &silo,
        "copy",
        r#"FROM busybox
RUN mkdir -p /real/there && ln -s /real /link && echo old > /real/there/old
WORKDIR /w
COPY one.txt renamed.txt
COPY one.txt two.txt many/
COPY tree into-new
COPY tree /link/there
COPY --chown=33:44 --chmod=750 tree /owned/
COPY t?o.txt *.md globs/
COPY tree/*/deep.txt /w/deep/
COPY ["name with space", "spaced/"]
COPY <<A <<"B" here/
expanded $HOME
A
not $HOME
B
COPY to-file as-file
COPY --from=busybox /bin/busybox /from/image
"#,
    );
    project.file("one.txt", "1\n").file("two.txt", "2\n").file("a.md", "a\n").file("b.md", "b\n");
    project.file("tree/sub/deep.txt", "deep\n").file("tree/top.txt", "top\n");
    project.file("name with space", "s\n");
    symlink("top.txt", project.path("tree/link.txt")).unwrap();
    symlink("one.txt", project.path("to-file")).unwrap();
    project.build(&silo, "copy", &[]);
    let mut all = files(&silo, "copy", "/w");
    all.push_str("\n/real\n");
    all.push_str(&files(&silo, "copy", "/real"));
    all.push_str("\n/owned\n");
    all.push_str(&files(&silo, "copy", "/owned"));
    filters(&silo).bind(|| insta::assert_snapshot!("build-copy", all));
    let size =
        silo.ok(&["run", "--rm", "copy", "sh", "-c", "cmp /bin/busybox /from/image && echo same"]);
    assert_eq!(size, "same");
    assert_nothing_left(&silo);
}

#[test]
fn what_dockerignore_excludes_is_not_there() {
    let Some(silo) = Silo::with_busybox() else { return };
    let project = Project::new(&silo, "ignore", "FROM busybox\nCOPY . /all/\n");
    project
        .file(".dockerignore", "# comment\n*\n!src\nsrc/**/*.tmp\n!src/keep.tmp\n!docs/*/in.md\n");
    for name in
        ["src/main.c", "src/a/x.tmp", "src/keep.tmp", "secret", "docs/a/in.md", "docs/out.md"]
    {
        project.file(name, name);
    }
    project.build(&silo, "ignore", &[]);
    let list = |image: &str| {
        silo.ok(&["run", "--rm", image, "sh", "-c", "cd /all && find . -type f | sort"])
    };
    assert_eq!(list("ignore"), "./docs/a/in.md\n./src/keep.tmp\n./src/main.c");
    project.file("Dockerfile.dockerignore", "src\ndocs\n*ignore\n");
    project.build(&silo, "own", &[]);
    assert_eq!(list("own"), "./Dockerfile\n./secret");
}

#[test]
fn local_archives_are_unpacked_by_add_alone() {
    let Some(silo) = Silo::with_busybox() else { return };
    let dockerfile = "FROM busybox\nADD plain.tar /plain/\nADD --chown=7:8 packed.tgz /packed\n\
                      COPY plain.tar /copied/\nADD not.tar /not/\n";
    let project = Project::new(&silo, "add", dockerfile);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, mode, uid) in [("d/one", 0o640, 33), ("two", 0o4755, 0)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(0);
        archive.append_data(&mut header, name, &b"hi\n"[..]).unwrap();
    }
    let bytes = archive.into_inner().unwrap();
    project.file("plain.tar", &bytes).file("not.tar", "no archive\n");
    let packed = fs::File::create(project.path("packed.tgz")).unwrap();
    let mut gzip = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(packed)
        .spawn()
        .unwrap();
    gzip.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(gzip.wait().unwrap().success());
    project.build(&silo, "add", &[]);
    let mut all = String::new();
    for directory in ["/plain", "/packed", "/not"] {
        all.extend([directory, "\n", &files(&silo, "add", directory), "\n"]);
    }
    all.push_str(&silo.ok(&["run", "--rm", "add", "ls", "/copied"]));
    filters(&silo).bind(|| insta::assert_snapshot!("build-add", all));
}

#[test]
fn links_lead_out_of_no_context_and_no_image() {
    let Some(silo) = Silo::with_busybox() else { return };
    let secret = silo.file("secret", "of the host");
    let project = Project::new(
        &silo,
        "links",
        "FROM busybox\nRUN ln -s ../../../../../../tmp /out\nCOPY file /out/made\nCOPY dir /dir\n",
    );
    project.file("file", "x").file("dir/in", "in");
    symlink(&secret, project.path("dir/secret")).unwrap();
    symlink(&secret, project.path("leak")).unwrap();
    symlink(silo.home(), project.path("home")).unwrap();
    project.build(&silo, "links", &[]);
    assert_eq!(silo.ok(&["run", "--rm", "links", "cat", "/tmp/made"]), "x");
    let target = silo.ok(&["run", "--rm", "links", "readlink", "/dir/secret"]);
    assert_eq!(target, secret.to_str().unwrap(), "a link is copied as it is");
    for source in ["leak", "home/secret", "../secret", "dir/../../secret"] {
        let text = format!("FROM scratch\nCOPY {source} /x\n");
        let ended = silo.with_input(&["build", "-f", "-", project.text()], text.as_bytes());
        assert_eq!(ended.code, 1, "{source}: {ended:#?}");
        assert!(ended.stderr.contains("context"), "{source}: {ended:#?}");
    }
    assert!(!std::path::Path::new("/tmp/made").exists());
}
