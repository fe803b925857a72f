//! Real Linux images in every form that tools write.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use serde_json::json;

use crate::support::{Layout, Silo, data, host::text, layout::File, wait_until};

fn load_and_run(archive: &str, name: &str) {
    let Some(archive) = data(archive) else { return };
    let silo = Silo::new();
    let said = silo.ok(&["load", "-i", text(&archive)]);
    assert!(said.starts_with("Loaded image"), "{said}");
    let note = silo.ok(&["run", "--rm", name, "cat", "/etc/silo-note"]);
    assert_eq!(note, "made by umoci");
    assert_eq!(silo.ok(&["run", "--rm", name, "sh", "-c", "echo $SILO_IMAGE"]), "busybox");
    silo.assert_nothing_left(&[]);
}

macro_rules! loads {
    ($($test:ident: $archive:literal as $name:literal;)*) => {$(
        #[test]
        fn $test() {
            load_and_run(concat!("busybox/", $archive), $name);
        }
    )*};
}

loads! {
    skopeos_docker_archive_loads: "docker-archive.tar" as "busybox:archive";
    docker_saves_archive_loads: "docker-save.tar" as "busybox:archive";
    podman_saves_docker_archive_loads: "podman-docker.tar" as "busybox:archive";
    podman_saves_oci_archive_loads: "podman-oci.tar" as "busybox:archive";
    an_oci_archive_of_gzip_layers_loads: "oci-gzip.tar" as "busybox:gzip";
    an_oci_archive_of_zstd_layers_loads: "oci-zstd.tar" as "busybox:zstd";
    an_oci_archive_of_uncompressed_layers_loads: "oci-plain.tar" as "busybox:plain";
}

#[test]
fn umocis_layout_directory_loads() {
    let Some(layout) = data("busybox/layout") else { return };
    let silo = Silo::new();
    silo.ok(&["load", "-i", text(&layout)]);
    let ids = silo.ok(&["images", "-q"]);
    let id = ids.lines().next().expect("an image");
    assert_eq!(silo.ok(&["run", "--rm", id, "cat", "/etc/silo-note"]), "made by umoci");
}

#[test]
fn an_archive_loads_from_standard_input() {
    let Some(archive) = data("busybox/docker-archive.tar") else { return };
    let silo = Silo::new();
    let ended = silo.with_input(&["load"], &std::fs::read(archive).unwrap());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(silo.ok(&["run", "--rm", "busybox:archive", "echo", "here"]), "here");
}

#[test]
fn a_layer_that_hides_all_below_hides_it_from_everyone() {
    let Some(busybox) = data("busybox/layout") else { return };
    let silo = Silo::new();
    let mut layout = Layout::new();
    let below = layout.layer(&[File::new("below", b""), File::new("bin/below", b"")]);
    let opaque = layout.layer(&[File::new(".wh..wh..opq", b""), File::new("above", b"")]);
    let layers = [vec![below, opaque], layout.layers_of(&busybox)].concat();
    let image = layout.image("linux/amd64", &layers, &json!({}));
    layout.name("opaque", image).load(&silo);
    let list = ["run", "--network", "none", "--name", "lists", "opaque", "find", "/", "-xdev"];
    let seen = silo.ok(&list);
    let exported = silo.command(&["export", "lists"]).output().expect("export").stdout;
    let exported = String::from_utf8_lossy(&exported);
    for (name, there) in [("above", true), ("below", false)] {
        assert_eq!(seen.contains(name), there, "{seen}");
        assert_eq!(exported.contains(name), there, "{name} in the export");
    }
}

#[test]
fn a_root_file_system_imports() {
    let Some(archive) = data("busybox/rootfs.tar") else { return };
    let silo = Silo::new();
    let id = silo.ok(&["import", text(&archive), "mine:1"]);
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(silo.ok(&["run", "--rm", "mine:1", "echo", "here"]), "here");
}

#[test]
fn debian_imports_and_runs() {
    let Some(archive) = data("debian/rootfs.tar") else { return };
    let silo = Silo::new();
    silo.ok(&["import", text(&archive), "debian:12"]);
    let release = silo.ok(&["run", "--rm", "debian:12", "cat", "/etc/os-release"]);
    assert!(release.contains("Debian GNU/Linux 12 (bookworm)"), "{release}");
    let sum =
        ["run", "--rm", "debian:12", "python3", "-c", "import json; print(json.dumps({'a': 6*7}))"];
    assert_eq!(silo.ok(&sum), "{\"a\": 42}");
    let packages = silo.ok(&["run", "--rm", "debian:12", "dpkg-query", "-W", "bash"]);
    assert!(packages.starts_with("bash"), "{packages}");
}

#[test]
fn debian_of_zstd_layers_runs_its_command() {
    let Some(archive) = data("debian/oci-zstd.tar") else { return };
    let silo = Silo::new();
    silo.ok(&["load", "-q", "-i", text(&archive)]);
    let release = silo.ok(&["run", "--rm", "debian:zstd"]);
    assert!(release.contains("bookworm"), "{release}");
}

#[test]
fn nginx_serves_on_the_hosts_network() {
    let Some(layout) = data("debian/layout") else { return };
    let silo = Silo::new();
    silo.ok(&["load", "-q", "-i", text(&layout)]);
    let images = silo.ok(&["images", "-q"]);
    let image = images.lines().next().expect("an image");
    let port = free_port();
    let config = format!(
        "daemon off; pid /tmp/nginx.pid; events {{}}\n\
         http {{ access_log off; server {{ listen 127.0.0.1:{port}; \
         location / {{ return 200 'from nginx\\n'; }} }} }}\n"
    );
    let config = silo.file("nginx.conf", config);
    let volume = format!("{}:/etc/nginx/nginx.conf:ro", text(&config));
    silo.ok(&["run", "-d", "--name", "web", "--network", "host", "-v", &volume, image, "nginx"]);
    wait_until("nginx to listen", || {
        assert_eq!(
            silo.inspect("web", "{{.State.Status}}"),
            "running",
            "{}",
            silo.run(&["logs", "web"]).stderr
        );
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("200 OK") && answer.ends_with("from nginx\n"), "{answer}");
    silo.ok(&["stop", "web"]);
    assert_eq!(silo.inspect("web", "{{.State.ExitCode}}"), "0");
    silo.ok(&["rm", "web"]);
    silo.assert_nothing_left(&[]);
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}
