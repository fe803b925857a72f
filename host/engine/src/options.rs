//! What a user asks of a new container.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use silo_isolation::{
    Limits, Mount, MountKind, Network, NetworkAccess, Security, Signal, TerminalSize,
};
use silo_layers::Platform;

use crate::{Error, Result};

/// What `create` and `run` are asked for. The default asks for nothing beyond the image.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of a command line")]
pub struct CreateOptions {
    /// The image: a reference, or a prefix of an image's id.
    pub image: String,
    /// What follows the image on the command line: replaces the image's `Cmd`.
    pub args: Vec<String>,
    /// `--name`; a random one where absent.
    pub name: Option<String>,
    /// `--platform`.
    pub platform: Option<Platform>,
    /// `--backend`.
    pub backend: Option<String>,
    /// `--entrypoint`: replaces the image's `Entrypoint` and resets its `Cmd`; empty clears it.
    pub entrypoint: Option<String>,
    /// `-e` and `--env-file`, in the order in which they were given, each `NAME=value`.
    /// A bare `NAME` removes the image's variable of that name.
    pub env: Vec<String>,
    /// `-w`: an absolute path inside the guest.
    pub workdir: Option<String>,
    /// `-u`: `USER[:GROUP]`, names or numbers.
    pub user: Option<String>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `-v` and `--tmpfs`, in the order in which they were given; see [`volume`] and [`tmpfs`].
    pub mounts: Vec<Mount>,
    /// `--read-only`.
    pub readonly: bool,
    /// `--network`.
    pub network: Network,
    /// `--publish` and `--allow-net`.
    pub access: NetworkAccess,
    /// `--plug`: components in the image whose exports the program imports; by default those that the
    /// image's label [`PLUG_LABEL`] names.
    pub components: Vec<String>,
    /// `--memory`, `--cpus` and their like, `--timeout`. Without a limit of processes,
    /// [`DEFAULT_PIDS_LIMIT`] holds.
    pub limits: Limits,
    /// `--isolation`, `--userns`, `--cap-add`, `--device`, `--privileged` and their like.
    pub security: Security,
    /// `--sysctl`, by name.
    pub sysctls: BTreeMap<String, String>,
    /// `--init`.
    pub init: bool,
    /// `-i`: keeps the guest's stdin open.
    pub interactive: bool,
    /// `-t`: gives it a terminal.
    pub terminal: bool,
    /// `--rm`: removes the container when it has ended.
    pub auto_remove: bool,
    /// `--stop-signal`; else the image's `StopSignal`, else TERM.
    pub stop_signal: Option<Signal>,
}

/// The label by which an image names the components that its program is composed with, their paths
/// separated by commas.
pub const PLUG_LABEL: &str = "silo.wasm.plug";

/// The most processes and threads in a container for which nothing else was asked: far above
/// what a server needs, far below what a fork bomb needs.
pub const DEFAULT_PIDS_LIMIT: u64 = 4096;

/// Which of a container's streams a client wants to see from its start on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Send what the client types.
    pub stdin: bool,
    /// Receive stdout, or what the terminal prints.
    pub stdout: bool,
    /// Receive stderr.
    pub stderr: bool,
    /// The client's terminal's, which the guest's begins with.
    pub size: Option<TerminalSize>,
}

impl Attach {
    /// Nothing: a detached container.
    pub const NONE: Self = Self { stdin: false, stdout: false, stderr: false, size: None };
    /// stdout and stderr.
    pub const OUTPUT: Self = Self { stdin: false, stdout: true, stderr: true, size: None };
    /// All three.
    pub const ALL: Self = Self { stdin: true, stdout: true, stderr: true, size: None };

    /// Whether the client wants nothing at all.
    #[must_use]
    pub const fn is_none(self) -> bool {
        !self.stdin && !self.stdout && !self.stderr
    }
}

/// Which log lines are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// `--follow`: keep on until the container ends.
    pub follow: bool,
    /// `--tail`: only the last lines of what there is.
    pub tail: Option<u64>,
    /// `--since`.
    pub since: Option<jiff::Timestamp>,
    /// Whether stdout is wanted.
    pub stdout: bool,
    /// Whether stderr is wanted.
    pub stderr: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { follow: false, tail: None, since: None, stdout: true, stderr: true }
    }
}

/// What `commit` is asked for.
#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    /// The new image's name.
    pub name: Option<silo_layers::Reference>,
    /// `--author`.
    pub author: Option<String>,
    /// `--message`.
    pub message: Option<String>,
    /// `--pause`: a container that runs stands still meanwhile.
    pub pause: bool,
    /// `--exclude`: paths of the guest that are left out, with all that is in them.
    pub exclude: Vec<String>,
    /// `--include-volumes`: the files of volumes become part of the image.
    pub include_volumes: bool,
    /// What the image runs, as the member `config` of its config; by default what the container
    /// was asked to run, see [`commit_config`](crate::Engine::commit_config).
    pub config: Option<serde_json::Value>,
}

/// How `cp` copies.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyOptions {
    /// `--follow-link`: the source is followed where it is a symbolic link.
    pub follow: bool,
    /// `--archive`: users and groups are kept by number; else copies are the container's root's, or
    /// on the host this user's.
    pub owners: bool,
}

/// Where `cp` copies a container's files.
pub enum CopyTarget<'a> {
    /// To this path of the host.
    Path(&'a Path),
    /// Into a tar archive.
    Archive(&'a mut dyn std::io::Write),
}

/// What `cp` copies into a container.
pub enum CopySource<'a> {
    /// This file or directory of the host.
    Path(&'a Path),
    /// What a tar archive holds.
    Archive(&'a mut dyn std::io::Read),
}

/// What `exec` is asked for.
#[derive(Clone, Debug, Default)]
pub struct ExecOptions {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `-e`: added to the container's own environment, each `NAME=value`.
    pub env: Vec<String>,
    /// `-w`; else the container's.
    pub workdir: Option<String>,
    /// `-u`; else the container's.
    pub user: Option<String>,
    /// `-i`.
    pub interactive: bool,
    /// `-t`.
    pub terminal: bool,
    /// The client's terminal's, which the process's begins with.
    pub size: Option<TerminalSize>,
}

/// Reads a `-v` value: `HOST:GUEST[:ro|rw]`, `HOST` absolute, or relative to `base` and
/// beginning with `.`. Windows drive letters (`C:\data:/data`) are understood.
pub fn volume(text: &str, base: &Path) -> Result<Mount> {
    let invalid = |why: &str| Error::invalid("-v", text, why);
    let (rest, readonly) = match text.rsplit_once(':') {
        Some((rest, "ro")) => (rest, true),
        Some((rest, "rw")) => (rest, false),
        _ => (text, false),
    };
    let (source, destination) =
        rest.rsplit_once(':').ok_or_else(|| invalid("expected HOST:GUEST[:ro|rw]"))?;
    if !destination.starts_with('/') {
        return Err(invalid("the guest's path must be absolute, and the options are ro and rw"));
    }
    let path = PathBuf::from(source);
    let relative =
        source == "." || source == ".." || source.starts_with("./") || source.starts_with("../");
    let windows_relative =
        cfg!(windows) && (source.starts_with(".\\") || source.starts_with("..\\"));
    let source = if path.is_absolute() || (cfg!(windows) && source.starts_with('/')) {
        path
    } else if relative || windows_relative {
        base.join(path)
    } else {
        return Err(Error::NamedVolume { name: source.to_owned() });
    };
    let source = std::path::absolute(&source).map_err(Error::file("make absolute", &source))?;
    Ok(Mount { destination: destination.to_owned(), kind: MountKind::Bind { source }, readonly })
}

/// Reads a `--tmpfs` value: `GUEST[:OPTION,...]` with `size=BYTES[kmg]`, `mode=OCTAL`, `ro`, `rw`.
pub fn tmpfs(text: &str) -> Result<Mount> {
    let invalid = |why: String| Error::invalid("--tmpfs", text, why);
    let (destination, options) = text.split_once(':').unwrap_or((text, ""));
    let (mut size, mut mode, mut readonly) = (None, None, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("size", value) => {
                size = Some(bytes(value).ok_or_else(|| invalid(format!("`{value}` is no size")))?);
            }
            ("mode", value) => {
                let bits = u32::from_str_radix(value, 8).ok().filter(|&bits| bits <= 0o7777);
                mode = Some(bits.ok_or_else(|| invalid(format!("`{value}` is no octal mode")))?);
            }
            ("ro", "") => readonly = true,
            ("rw", "") => readonly = false,
            _ => return Err(invalid(format!("there is no option `{option}`"))),
        }
    }
    if !destination.starts_with('/') {
        return Err(invalid("the guest's path must be absolute".to_owned()));
    }
    Ok(Mount {
        destination: destination.to_owned(),
        kind: MountKind::Tmpfs { size, mode },
        readonly,
    })
}

/// A number of bytes with an optional binary suffix, as in Docker: `64m`, `1.5g` is none.
fn bytes(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    fn bind(text: &str) -> (PathBuf, String, bool) {
        let mount = volume(text, Path::new("/base")).unwrap();
        let MountKind::Bind { source } = mount.kind else { panic!("{text} is a bind mount") };
        (source, mount.destination, mount.readonly)
    }

    #[cfg(unix)]
    #[test]
    fn a_volume_is_absolute_or_begins_with_a_dot() {
        assert_eq!(bind("/a:/b"), ("/a".into(), "/b".to_owned(), false));
        assert_eq!(bind("/a:/b:ro"), ("/a".into(), "/b".to_owned(), true));
        assert_eq!(bind("./a:/b:rw"), ("/base/a".into(), "/b".to_owned(), false));
        assert_eq!(bind(".:/b"), ("/base".into(), "/b".to_owned(), false));
    }

    #[test]
    fn a_bare_volume_name_is_told_apart_from_a_typing_error() {
        let error = volume("data:/b", Path::new("/base")).unwrap_err();
        assert!(matches!(error, Error::NamedVolume { .. }), "{error}");
        for text in ["", "/a", "/a:b", "/a:/b:rx"] {
            assert!(
                matches!(volume(text, Path::new("/base")), Err(Error::Invalid { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn tmpfs_options_are_read() {
        let mount = tmpfs("/run:size=64m,mode=1777,ro").unwrap();
        assert_eq!(mount.kind, MountKind::Tmpfs { size: Some(64 << 20), mode: Some(0o1777) });
        assert!(mount.readonly);
        for text in ["run", "/run:size=x", "/run:mode=9", "/run:noexec=1", "/run:size=99999999999g"]
        {
            assert!(tmpfs(text).is_err(), "{text}");
        }
    }
}
