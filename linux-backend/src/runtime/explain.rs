//! From a failed step to a sentence.

use std::{ffi::CStr, io};

use rustix::io::Errno;

use super::{ContainerPlan, Error, MountPlan, MountSource};
use crate::{
    child::hook_failure,
    explain::general,
    plan::ProcessPlan,
    protocol::{Broken, Failure, Step},
};

/// Whose steps they are.
pub(super) enum Subject<'a> {
    Container(&'a ContainerPlan),
    Process(&'a ProcessPlan),
}

pub(super) struct Explain<'a>(pub(super) Subject<'a>);

impl Explain<'_> {
    pub(super) fn broken(&self, broken: Broken) -> Error {
        match broken {
            Broken::Failed(failure) => self.failure(failure),
            Broken::Silent => Error::Step {
                step: "set up the container".to_owned(),
                source: io::Error::other(
                    "its process was killed, perhaps for lack of memory: is its limit too low?",
                ),
            },
            Broken::Socket(errno) => Error::step("hear from the container's process")(errno),
        }
    }

    fn failure(&self, failure: Failure) -> Error {
        match failure.step {
            Step::Execute | Step::Interpret => program(&self.process().program.name, failure),
            Step::RunHook => self.hook(failure),
            _ => Error::step(self.sentence(failure))(failure.errno),
        }
    }

    fn process(&self) -> &ProcessPlan {
        match self.0 {
            Subject::Container(plan) => &plan.process,
            Subject::Process(plan) => plan,
        }
    }

    /// The hooks of the container's own, which tell nothing but that they failed.
    fn hook(&self, failure: Failure) -> Error {
        let stage = match self.0 {
            Subject::Container(plan) if !plan.create_hooks.is_empty() => "createContainer",
            _ => "startContainer",
        };
        Error::Hook { stage, index: failure.index, why: hook_failure(failure.errno) }
    }

    fn sentence(&self, failure: Failure) -> String {
        let index = failure.index;
        let Subject::Container(plan) = self.0 else { return general(failure.step).to_owned() };
        let mount = plan.mounts.get(index);
        let path = |paths: &[std::ffi::CString]| {
            paths.get(index).map_or_else(String::new, |path| shown(path))
        };
        match failure.step {
            Step::JoinNamespaces if index >= 2 => {
                let joined = plan.joined.get(index - 2);
                let path = joined.map(|joined| joined.path.display().to_string());
                format!("join the namespace {}", path.unwrap_or_default())
            }
            Step::AttachRoot | Step::EnterStore => {
                format!("take {} as the root", plan.root.path.to_string_lossy())
            }
            Step::OpenMount | Step::SetMount => mount.map_or_else(String::new, opening),
            Step::FindTarget => {
                let place = mount.map_or_else(String::new, |mount| shown(&mount.target));
                if mount.is_some_and(|mount| mount.kernels) {
                    return format!("mount {place}: it must be mounted on ordinary directory");
                }
                format!("find or make {place} to mount on, where nothing of /proc may be covered")
            }
            Step::AttachMount => {
                format!("mount {}", mount.map_or_else(String::new, |mount| shown(&mount.target)))
            }
            Step::MapMountIds => {
                let place = mount.map_or_else(String::new, |mount| shown(&mount.target));
                format!(
                    "map the ids of the files of {place}, which its file system may not know how to"
                )
            }
            Step::CopyUp => {
                let place = mount.map_or_else(String::new, |mount| shown(&mount.target));
                format!("copy what is in {place} into its tmpfs")
            }
            Step::MakeDevice => {
                let device = plan.devices.get(index);
                let path = device.map(|device| device.host.to_string_lossy().into_owned());
                format!("make the device {}", path.unwrap_or_default())
            }
            Step::MakeLink => {
                let link = plan.links.get(index);
                let name = link.map(|link| link.name.to_string_lossy().into_owned());
                format!("make the link {}", name.unwrap_or_default())
            }
            Step::Mask => format!("mask {}", path(&plan.masked)),
            Step::ReadOnly => format!("make {} read-only", path(&plan.read_only)),
            Step::SetSysctl => {
                let sysctl = plan.sysctls.get(index);
                let file = sysctl.map(|sysctl| sysctl.file.to_string_lossy().into_owned());
                format!("set {}", file.unwrap_or_default())
            }
            step => general(step).to_owned(),
        }
    }
}

fn shown(path: &CStr) -> String {
    format!("/{}", path.to_string_lossy())
}

fn opening(mount: &MountPlan) -> String {
    let target = shown(&mount.target);
    match &mount.source {
        MountSource::Tree { path, .. } => {
            format!("take {} to mount it on {target}", path.to_string_lossy())
        }
        MountSource::New { kind, .. } => {
            format!("make the file system `{}` for {target}", kind.to_string_lossy())
        }
        MountSource::Inside { path, .. } => {
            format!("take {} of the container to mount it on {target}", shown(path))
        }
        MountSource::Again => format!("mount {target} again"),
    }
}

/// The program cannot be run: in the words that engines look for.
pub(super) fn program(name: &str, failure: Failure) -> Error {
    let program = name.to_owned();
    match (failure.step, failure.errno) {
        (Step::Execute, Errno::NOENT | Errno::NOTDIR) if !name.contains('/') => {
            Error::NotInPath { program }
        }
        (Step::Interpret, _) => Error::Interpreter { program },
        (Step::Execute, Errno::NOENT) => {
            Error::Program { program, reason: "no such file or directory".to_owned() }
        }
        (Step::Execute, Errno::ACCESS) => {
            Error::Program { program, reason: "permission denied".to_owned() }
        }
        (Step::Execute, Errno::ISDIR) => {
            Error::Program { program, reason: "is a directory".to_owned() }
        }
        (Step::Execute, Errno::NOEXEC) => {
            Error::Program { program, reason: "exec format error".to_owned() }
        }
        (_, errno) => Error::Program { program, reason: io::Error::from(errno).to_string() },
    }
}
