//! A docker-registry of a test's own.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use tempfile::TempDir;

use crate::support::host::{self, leave_out};

/// A registry on a port of its own, which ends when this is dropped.
pub(crate) struct Server {
    process: Child,
    address: String,
    directory: TempDir,
}

/// What is asked of whoever comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demands {
    /// A name and a password: `me` and `secret`.
    pub(crate) password: bool,
    pub(crate) tls: bool,
}

impl Server {
    /// One that takes anybody, or `None` where there is no docker-registry, and the test is left out.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        Self::demanding(Demands::default())
    }

    #[track_caller]
    pub(crate) fn demanding(demands: Demands) -> Option<Self> {
        let Ok(found) = Command::new("docker-registry").arg("--version").output() else {
            leave_out("there is no docker-registry; .ci/setup installs it");
            return None;
        };
        assert!(found.status.success(), "{found:?}");
        let directory = tempfile::Builder::new().prefix("silo-registry-").tempdir().unwrap();
        let config = config(directory.path(), demands);
        let path = directory.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry starts");
        let mut log = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let mut said = Vec::new();
        let address = log.by_ref().map_while(Result::ok).find_map(|line| {
            let address = line.split("listening on ").nth(1).map(|rest| {
                rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect()
            });
            said.push(line);
            address
        });
        // Its log has a reader to its end.
        thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        let address = address.unwrap_or_else(|| panic!("docker-registry ended: {said:#?}"));
        Some(Self { process, address, directory })
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The name of an image there.
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// The same for skopeo.
    pub(crate) fn docker(&self, image: &str) -> String {
        format!("docker://{}/{image}", self.address)
    }

    /// Its certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    /// Where it keeps its blobs.
    pub(crate) fn blob_path(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        let blobs = self.directory.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn config(directory: &Path, demands: Demands) -> String {
    let place = |name: &str| directory.join(name);
    let mut lines = vec![
        "version: 0.1".to_owned(),
        format!("storage: {{filesystem: {{rootdirectory: {}}}}}", place("data").display()),
        "http:".to_owned(),
        "  addr: 127.0.0.1:0".to_owned(),
    ];
    if demands.tls {
        let (certificate, key) = (place("certificate.pem"), place("key.pem"));
        make_certificate(&certificate, &key);
        let (certificate, key) = (certificate.display(), key.display());
        lines.push(format!("  tls: {{certificate: {certificate}, key: {key}}}"));
    }
    if demands.password {
        let made = host::done(Command::new("htpasswd").args(["-Bbn", "me", "secret"]));
        fs::write(place("htpasswd"), made).unwrap();
        let path = place("htpasswd");
        lines.push(format!("auth: {{htpasswd: {{realm: test, path: {}}}}}", path.display()));
    }
    lines.join("\n")
}

/// A certificate for loopback that signs itself.
fn make_certificate(certificate: &Path, key: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-nodes", "-days", "2", "-subj", "/CN=registry"]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    host::done(openssl.arg("-keyout").arg(key).arg("-out").arg(certificate));
}
