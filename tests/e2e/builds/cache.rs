//! Steps that were carried out before, and images that come out the same.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use super::{Project, assert_nothing_left, cached};
use crate::support::{Silo, data, host::text, wait_until};

const DOCKERFILE: &str = "FROM busybox\nLABEL version=1\nRUN echo slow > /slow\nCOPY data /data\n\
                          RUN cat /data > /result\n";

fn set_time(path: &std::path::Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn steps_are_taken_again_as_long_as_they_would_lead_to_the_same() {
    let Some(silo) = Silo::with_busybox() else { return };
    let project = Project::new(&silo, "cache", DOCKERFILE);
    project.file("data", "one").file("other", "x");
    assert_eq!(cached(&project.told(&silo, &["-t", "one"])), Vec::<String>::new());
    let all = ["RUN echo", "COPY data", "RUN cat"];
    let again = project.told(&silo, &["-t", "two"]);
    assert_eq!(cached(&again), all);
    assert_eq!(silo.inspect("one", "{{.Id}}"), silo.inspect("two", "{{.Id}}"));

    // Neither when a file was changed, nor what is not copied, nor what only the config says matters.
    set_time(&project.path("data"), 1_000_000);
    project.file("other", "y");
    project.file("Dockerfile", DOCKERFILE.replace("version=1", "version=2"));
    assert_eq!(cached(&project.told(&silo, &[])), all);

    project.file("data", "two");
    assert_eq!(cached(&project.told(&silo, &[])), ["RUN echo"]);
    project.file("data", "one");
    assert_eq!(cached(&project.told(&silo, &[])), all, "what was before is known still");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(project.path("data"), mode).unwrap();
    assert_eq!(cached(&project.told(&silo, &[])), ["RUN echo"]);
    project.file("Dockerfile", DOCKERFILE.replace("echo slow", "echo slower"));
    // The layers below the last command are others, though the file is the same.
    assert_eq!(cached(&project.told(&silo, &[])), ["COPY data"]);
    assert_eq!(cached(&project.told(&silo, &["--no-cache"])), Vec::<String>::new());
    assert_nothing_left(&silo);
}

#[test]
fn arguments_matter_where_they_are_seen() {
    let Some(silo) = Silo::with_busybox() else { return };
    let dockerfile = "FROM busybox\nRUN echo before\nARG V=1\nRUN echo $V > /v\n";
    let project = Project::new(&silo, "args", dockerfile);
    project.told(&silo, &[]);
    assert_eq!(cached(&project.told(&silo, &["--build-arg", "V=2"])), ["RUN echo"]);
    let proxied = project.told(&silo, &["--build-arg", "HTTP_PROXY=http://x"]);
    assert_eq!(cached(&proxied), ["RUN echo", "RUN echo"]);
    let unused = project.told(&silo, &["--build-arg", "OTHER=1"]);
    assert!(unused.stderr.contains("--build-arg OTHER: no ARG says"), "{unused:#?}");
}

#[test]
fn the_same_input_makes_the_same_image_in_another_store() {
    let Some(archive) = data("busybox/docker-archive.tar") else { return };
    let dockerfile = "FROM busybox:archive AS made\nRUN mkdir /d && for i in 3 1 2; do echo $i > /d/$i; done; ln /d/1 /d/same\n\
                      FROM busybox:archive\nWORKDIR /new/dir\nCOPY . .\nCOPY --from=made /d /d\nCOPY <<EOF /motd\nhi\nEOF\n\
                      RUN date > /dev/null; touch /stamp\n";
    let build = |epoch: Option<&str>, time: u64| {
        let silo = Silo::new();
        silo.ok(&["load", "-q", "-i", text(&archive)]);
        let project = Project::new(&silo, "same", dockerfile);
        project.file("b/file", "b").file("a/file", "a");
        for name in ["b/file", "a/file", "b", "a", "Dockerfile", "."] {
            let path = project.path(name);
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
            fs::File::open(path).unwrap().set_modified(time).unwrap();
        }
        let mut command = silo.command(&["build", "-q", "-t", "x", project.text()]);
        if let Some(epoch) = epoch {
            command.env("SOURCE_DATE_EPOCH", epoch);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let created = silo.inspect("x", "{{.Created}}");
        (silo.inspect("x", "{{json .RepoDigests}}{{.Id}}"), created)
    };
    let (one, created) = build(None, 1_800_000_000);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(build(None, 1_800_000_000).0, one);
    assert_eq!(created, "2027-01-15T08:00:00Z");
    let (early, created) = build(Some("1000000000"), 1_800_000_000);
    assert_eq!(created, "2001-09-09T01:46:40Z");
    assert_eq!(build(Some("1000000000"), 1_900_000_000).0, early, "later times are clamped");
    assert_ne!(early, one);
}

#[test]
fn what_builds_keep_is_told_and_pruned_and_nothing_that_is_needed_goes() {
    let Some(silo) = Silo::with_busybox() else { return };
    let project = Project::new(&silo, "prune", DOCKERFILE);
    project.file("data", "one");
    let temporary = "FROM busybox AS t\nRUN head -c 300000 /dev/urandom > /big\nFROM scratch\nCOPY data /\n\
                     COPY --from=t /bin/sh /sh\n";
    project.build(&silo, "kept", &[]);
    let other = Project::new(&silo, "other", temporary);
    other.file("data", "one");
    other.build(&silo, "other", &[]);
    let rows = || silo.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Size}}"]);
    let before = rows();
    assert!(before.contains("Build Cache 5 "), "{before}");
    silo.ok(&["image", "prune", "-f"]);
    assert_eq!(cached(&other.told(&silo, &[])).len(), 3, "removing images leaves steps");
    let used = rows();
    assert_eq!(used, before);
    let pruned = silo.ok(&["system", "prune", "-f"]);
    assert!(pruned.contains("Deleted build cache: 5 steps"), "{pruned}");
    assert!(rows().contains("Build Cache 0 "), "{}", rows());
    assert_eq!(silo.ok(&["run", "--rm", "kept", "cat", "/result"]), "one");
    assert_eq!(cached(&project.told(&silo, &[])), Vec::<String>::new());
    silo.ok(&["rmi", "kept", "other"]);
    silo.ok(&["system", "prune", "-a", "-f"]);
    assert!(crate::support::visible_entries(&silo.root().join("layers")).is_empty());
}

#[test]
fn builds_at_once_share_a_step() {
    let Some(silo) = Silo::with_busybox() else { return };
    let count = silo.home().join("count");
    fs::create_dir(&count).unwrap();
    let dockerfile = "FROM busybox\nRUN sleep 2; cat /proc/sys/kernel/random/uuid > /id\n";
    let project = Project::new(&silo, "shared", dockerfile);
    let builds: Vec<_> = (0..3)
        .map(|number| silo.spawn(&["build", "-t", &format!("n{number}"), project.text()]))
        .collect();
    let ended: Vec<_> = builds
        .into_iter()
        .map(|build| crate::support::ended(&build.wait_with_output().unwrap()))
        .collect();
    assert!(ended.iter().all(|ended| ended.code == 0), "{ended:#?}");
    let waited = ended.iter().filter(|ended| ended.stderr.contains("another build")).count();
    assert_eq!(waited, 2, "{ended:#?}");
    let ids: std::collections::BTreeSet<_> = ended.iter().map(|ended| &ended.stdout).collect();
    assert_eq!(ids.len(), 1);
    assert_nothing_left(&silo);
}

#[test]
fn what_a_killed_build_had_done_is_not_done_again() {
    let Some(silo) = Silo::with_busybox() else { return };
    let dockerfile = "FROM busybox\nRUN echo first > /first\nRUN sleep 1000\n";
    let project = Project::new(&silo, "killed", dockerfile);
    let mut build = silo.spawn(&["build", project.text()]);
    wait_until("the second step", || {
        !silo.ok(&["ps", "-q"]).is_empty()
            && silo.ok(&["ps", "--format", "{{.Command}}"]).contains("sleep")
    });
    build.kill().unwrap();
    build.wait().unwrap();
    wait_until("the container to go", || silo.ok(&["ps", "-aq"]).is_empty());
    project.file("Dockerfile", dockerfile.replace("sleep 1000", "true"));
    assert_eq!(cached(&project.told(&silo, &[])), ["RUN echo"]);
    silo.ok(&["system", "prune", "-f"]);
    assert_nothing_left(&silo);
}
