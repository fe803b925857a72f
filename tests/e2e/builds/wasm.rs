//! Images of WebAssembly programs, and commands that are such programs.

use super::{Project, assert_nothing_left};
use crate::support::{
    Silo,
    guests::{micropython, module},
    host::needs_root,
};

#[test]
fn a_program_is_built_into_an_image_that_runs() {
    let silo = Silo::new();
    let dockerfile = "FROM scratch\nCOPY guest.wasm /\nENTRYPOINT [\"/guest.wasm\"]\n";
    let project = Project::new(&silo, "wasm", dockerfile);
    project.file("guest.wasm", module("(call $say)"));
    project.build(&silo, "guest", &["--platform", "wasi/wasm"]);
    assert_eq!(silo.inspect("guest", "{{.Os}}/{{.Architecture}}"), "wasi/wasm");
    assert_eq!(silo.ok(&["run", "--rm", "guest"]), "said");
    assert_nothing_left(&silo);
}

#[test]
fn commands_of_a_wasi_stage_are_webassembly_programs() {
    let Some(program) = micropython() else { return };
    let silo = Silo::new();
    let dockerfile = r#"FROM --platform=wasi/wasm scratch AS made
COPY micropython.wasm /
WORKDIR /data
RUN ["/micropython.wasm", "-c", "f = open('/data/made', 'w'); f.write('by wasm'); f.close()"]
FROM --platform=wasi/wasm scratch
COPY --from=made /data/made /made
COPY micropython.wasm /
ENTRYPOINT ["/micropython.wasm", "-c", "print(open('/made').read())"]
"#;
    let project = Project::new(&silo, "commands", dockerfile);
    project.file("micropython.wasm", program);
    project.build(&silo, "made", &[]);
    assert_eq!(silo.ok(&["run", "--rm", "made"]), "by wasm");
    assert_eq!(super::cached(&project.told(&silo, &[])).len(), 5);
    let shell = "FROM --platform=wasi/wasm scratch\nRUN echo\n";
    let ended = silo.with_input(&["build", "-"], shell.as_bytes());
    assert!(ended.stderr.contains("WebAssembly images have no shell"), "{ended:#?}");
    assert_nothing_left(&silo);
}

#[test]
fn several_platforms_are_built_as_an_index() {
    let Some(silo) = Silo::with_busybox() else { return };
    if !needs_root() {
        return;
    }
    let dockerfile = "FROM --platform=$BUILDPLATFORM busybox AS names\nARG TARGETPLATFORM TARGETOS\n\
                      RUN echo $TARGETPLATFORM > /name\nFROM scratch\nCOPY --from=names /name /\n\
                      COPY guest.wasm /\nENTRYPOINT [\"/guest.wasm\"]\n";
    let project = Project::new(&silo, "index", dockerfile);
    project.file("guest.wasm", module("(call $say)"));
    let id = project.build(&silo, "both", &["--platform", "linux/amd64,wasi/wasm"]);
    let listed = silo.ok(&["images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}"]);
    assert!(listed.contains(&format!("both {id}")), "{listed}");
    assert_eq!(silo.ok(&["run", "--rm", "--platform", "wasi/wasm", "both"]), "said");
    for (platform, container) in [("linux/amd64", "l"), ("wasi/wasm", "w")] {
        silo.ok(&["create", "--name", container, "--platform", platform, "both"]);
        let copy = silo.home().join(container);
        silo.ok(&["cp", &format!("{container}:/name"), copy.to_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(copy).unwrap(), format!("{platform}\n"));
        silo.ok(&["rm", container]);
    }
    assert_nothing_left(&silo);
}
