//! What instructions do to an image.

use std::fs;

use serde_json::{Value, json};

use super::{Project, assert_nothing_left};
use crate::support::Silo;

fn config(silo: &Silo, name: &str) -> Value {
    serde_json::from_str(&silo.inspect(name, "{{json .Config}}")).unwrap()
}

#[test]
fn configs_are_what_instructions_say() {
    let silo = Silo::new();
    let project = Project::new(
        &silo,
        "config",
        r#"ARG FIRST=one
FROM scratch AS base
ARG FIRST
ARG SECOND=$FIRST-two THIRD
ENV A=$SECOND B="b c" C=${THIRD:-none}
ENV A=new D=$A
LABEL first=$FIRST "quoted name"='x y'
EXPOSE 80 53/udp 8000-8001
VOLUME /data /more
VOLUME ["/with space"]
USER web:33
SHELL ["/bin/busybox", "sh", "-c"]
ENTRYPOINT exec server
CMD ["--port", "80"]
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD check me
ONBUILD RUN echo built on
"#,
    );
    let args = ["--build-arg", "FIRST=1", "--label", "own=yes", "--label", "first=later"];
    project.build(&silo, "config", &args);
    assert_eq!(
        config(&silo, "config"),
        json!({
            "Env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "A=new", "B=b c", "C=none", "D=1-two",
            ],
            "Labels": { "first": "later", "quoted name": "x y", "own": "yes" },
            "ExposedPorts": { "80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {} },
            "Volumes": { "/data": {}, "/more": {}, "/with space": {} },
            "User": "web:33",
            "Shell": ["/bin/busybox", "sh", "-c"],
            "Entrypoint": ["/bin/busybox", "sh", "-c", "exec server"],
            "Cmd": ["--port", "80"],
            "StopSignal": "SIGQUIT",
            "Healthcheck": {
                "Test": ["CMD-SHELL", "check me"],
                "Interval": 90_000_000_000_u64, "Timeout": 500_000_000, "Retries": 3,
            },
            "OnBuild": ["RUN echo built on"],
        })
    );
    assert_nothing_left(&silo);
}

#[test]
fn an_entrypoint_drops_the_command_of_the_image_below_and_triggers_run_once() {
    let Some(silo) = Silo::with_busybox() else { return };
    let below =
        "FROM busybox\nCMD [\"below\"]\nONBUILD RUN echo $X > /triggered\nONBUILD ENV Y=$X\n";
    Project::new(&silo, "below", below).build(&silo, "below", &[]);
    let above = "FROM below AS own\nENV X=own\nENTRYPOINT [\"/bin/echo\"]\nFROM own\nCMD [\"y\"]\n";
    Project::new(&silo, "above", above).build(&silo, "above", &[]);
    let config = config(&silo, "above");
    assert_eq!((&config["Entrypoint"], &config["Cmd"]), (&json!(["/bin/echo"]), &json!(["y"])));
    assert_eq!(config["OnBuild"], Value::Null);
    assert_eq!(silo.ok(&["run", "--rm", "above"]), "y");
    let shown = silo.ok(&["run", "--rm", "--entrypoint", "cat", "above", "/triggered"]);
    assert_eq!(shown, "", "the trigger ran before X was set");
}

#[test]
fn commands_run_in_the_shell_as_programs_and_as_files() {
    let Some(silo) = Silo::with_busybox() else { return };
    let project = Project::new(
        &silo,
        "run",
        r#"FROM busybox
ARG GREETING=hello
ENV NAME=world
RUN echo "$GREETING $NAME" > /shell && \
    # a comment
    hostname >> /shell
RUN ["/bin/busybox", "cp", "/shell", "/exec copy"]
RUN <<EOF
echo one > /lines
echo two >> /lines
EOF
RUN <<'EOF'
#!/bin/busybox sh
echo "from $0 $NAME" > /script
EOF
RUN cat <<-ONE > /joined && cat <<TWO >> /joined
	stripped $NAME
	ONE
plain
TWO
WORKDIR /work/deep
RUN pwd > here
WORKDIR ../other
USER 1234:99
RUN id -u > /tmp/me; id -g >> /tmp/me; pwd >> /tmp/me
SHELL ["/bin/busybox", "sh", "-e", "-c"]
RUN false; true || true
"#,
    );
    let failed = silo.run(&["build", "-t", "run", project.text()]);
    assert_eq!(failed.code, 1, "-e ends at false: {failed:#?}");
    let dockerfile = fs::read_to_string(project.path("Dockerfile")).unwrap();
    project.file("Dockerfile", dockerfile.replace("RUN false; true || true\n", ""));
    project.build(&silo, "run", &[]);
    let cat = |path: &str| silo.ok(&["run", "--rm", "run", "cat", path]);
    assert_eq!(cat("/shell"), "hello world\nsilo-build");
    assert_eq!(cat("/exec copy"), "hello world\nsilo-build");
    assert_eq!(cat("/lines"), "one\ntwo");
    assert_eq!(cat("/script"), "from /.silo-script world");
    assert_eq!(cat("/joined"), "stripped world\nplain");
    assert_eq!(cat("/work/deep/here"), "/work/deep");
    assert_eq!(cat("/tmp/me"), "1234\n99\n/work/other");
    let left = silo.ok(&["run", "--rm", "run", "find", "/", "-maxdepth", "1", "-name", ".silo*"]);
    assert_eq!(left, "", "the script's place is no part of the image");
    assert_nothing_left(&silo);
}

#[test]
fn stages_that_nothing_needs_are_not_carried_out() {
    let Some(silo) = Silo::with_busybox() else { return };
    let dockerfile = "FROM busybox AS a\nRUN echo a > /a\nFROM busybox AS broken\nRUN false\n\
                      FROM a AS b\nRUN echo b > /b\nFROM scratch AS c\nCOPY --from=b /a /b /c/\n";
    let project = Project::new(&silo, "stages", dockerfile);
    project.build(&silo, "c", &[]);
    project.build(&silo, "a", &["--target", "A"]);
    assert_eq!(silo.ok(&["run", "--rm", "a", "ls", "/a"]), "/a");
    let files = silo.ok(&["create", "--name", "files", "c", "/none"]);
    assert!(!files.is_empty());
    let copied = silo.home().join("copied");
    silo.ok(&["cp", "files:/c", copied.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(copied.join("b")).unwrap(), "b\n");
    assert_eq!(silo.run(&["build", "--target", "broken", project.text()]).code, 1);
}

#[test]
fn a_dockerfile_may_come_from_stdin_and_the_id_go_to_a_file() {
    let silo = Silo::new();
    let project = Project::new(&silo, "stdin", "FROM nothing\n");
    project.file("data", "x");
    let id = silo.home().join("id");
    let args = ["build", "-q", "-f", "-", "--iidfile", id.to_str().unwrap(), project.text()];
    let ended = silo.with_input(&args, b"FROM scratch\nCOPY data /\n");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:#?}");
    assert_eq!(fs::read_to_string(id).unwrap(), ended.stdout.trim());
    assert!(ended.stdout.starts_with("sha256:"));
    let ended =
        silo.with_input(&["build", "-t", "a", "-t", "b:2", "-"], b"FROM scratch\nENV A=1\n");
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(silo.inspect("a", "{{.Id}}"), silo.inspect("b:2", "{{.Id}}"));
    let ended = silo.with_input(&["build", "-"], b"FROM scratch\nCOPY a /\n");
    assert!(ended.stderr.contains("there is no context"), "{ended:#?}");
}

#[test]
fn ordinary_users_build_as_root_does() {
    let Some(archive) = crate::support::data("busybox/docker-archive.tar") else { return };
    let silo = Silo::unprivileged();
    let copy = silo.file("busybox.tar", fs::read(archive).unwrap());
    silo.ok(&["load", "-q", "-i", copy.to_str().unwrap()]);
    let dockerfile = "FROM busybox:archive\nRUN mkdir /made && echo x > /made/file\n\
                      COPY --chmod=600 data /made/\nCMD cat /made/file /made/data\n";
    let project = Project::new(&silo, "rootless", dockerfile);
    project.file("data", "y\n");
    project.build(&silo, "own", &[]);
    assert_eq!(silo.ok(&["run", "--rm", "own"]), "x\ny");
    assert_nothing_left(&silo);
}
