//! The options of `run` and `create` that say how a container is kept apart.

use std::fs;

use clap::{Args, ValueEnum};
use silo_isolation::{AppArmor, Device, DeviceRule, Isolation, Seccomp, Security, Users};

use crate::{
    failure::{Failure, Result},
    values,
};

/// What holds for all that is not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IsolationArg {
    /// As strongly as ordinary servers and compilers allow
    Default,
    /// As strongly as can be: no capability, a read-only root, no network
    Strict,
    /// As Docker does
    Docker,
}

/// Whose users those of a container are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum UsersArg {
    /// Its own: root inside is nobody outside
    Auto,
    /// The host's: root inside is root outside
    Host,
    /// Its own, but you are yourself inside
    KeepId,
}

/// What is asked of the isolation.
#[derive(Debug, Args)]
pub(crate) struct SecurityArgs {
    /// How strongly the program is kept apart; docs/defaults.md has what each means
    #[arg(
        long,
        value_enum,
        default_value = "default",
        value_name = "default|strict|docker",
        hide_possible_values = true
    )]
    isolation: IsolationArg,
    /// Whose users those in the container are: its own (auto), the host's, or its own with you in it
    /// as yourself (keep-id, for ordinary users)
    #[arg(long, value_enum, value_name = "auto|host|keep-id", hide_possible_values = true)]
    userns: Option<UsersArg>,
    /// Give user 0 a capability, for example `NET_RAW`, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Take a capability from user 0, or ALL; what is added wins
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// seccomp=FILE (a profile in Docker's format) or seccomp=unconfined; apparmor=PROFILE or
    /// apparmor=unconfined; systempaths=unconfined; no-new-privileges[=true|false]; label=disable
    #[arg(long, value_name = "OPTION[=VALUE]")]
    security_opt: Vec<String>,
    /// Give the program a device of the host, or all in a directory, to read (r), write (w) and make
    /// nodes of (m)
    #[arg(long, value_name = "HOST[:GUEST][:rwm]", value_parser = values::device)]
    device: Vec<Device>,
    /// Permit devices by kind and number, for example `c 42:* rmw`
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<DeviceRule>,
    /// Give the program all that there is to give: capabilities, system calls, devices and, where root
    /// runs it, the host's users, and with them the host
    #[arg(long)]
    privileged: bool,
}

impl SecurityArgs {
    /// The engine's view of the options.
    pub(crate) fn security(&self) -> Result<Security> {
        let mut security = Security {
            isolation: match self.isolation {
                IsolationArg::Default => Isolation::Default,
                IsolationArg::Strict => Isolation::Strict,
                IsolationArg::Docker => Isolation::Docker,
            },
            users: self.userns.map(|users| match users {
                UsersArg::Auto => Users::Own,
                UsersArg::Host => Users::Host,
                UsersArg::KeepId => Users::Kept,
            }),
            add_capabilities: self.cap_add.clone(),
            drop_capabilities: self.cap_drop.clone(),
            privileged: self.privileged,
            devices: self.device.clone(),
            device_rules: self.device_cgroup_rule.clone(),
            ..Security::default()
        };
        for option in &self.security_opt {
            add(&mut security, option)?;
        }
        Ok(security)
    }
}

/// Docker separates name and value by `=`, and did so by `:`.
fn add(security: &mut Security, option: &str) -> Result<()> {
    let (name, value) = option
        .split_once('=')
        .or_else(|| option.split_once(':'))
        .map_or((option, None), |(name, value)| (name, Some(value)));
    match (name, value) {
        ("no-new-privileges", None | Some("true")) => security.no_new_privileges = Some(true),
        ("no-new-privileges", Some("false")) => security.no_new_privileges = Some(false),
        ("seccomp", Some("builtin")) => security.seccomp = Seccomp::Isolation,
        ("seccomp", Some("unconfined")) => security.seccomp = Seccomp::Unconfined,
        ("seccomp", Some(path)) => {
            let profile = fs::read_to_string(path).map_err(|source| {
                Failure::caused(format!("cannot read the seccomp profile {path}"), source)
            })?;
            security.seccomp = Seccomp::Profile(profile);
        }
        ("systempaths", Some("unconfined")) => security.open_system_paths = true,
        ("apparmor", Some("unconfined")) => security.apparmor = Some(AppArmor::Unconfined),
        ("apparmor", Some(profile)) if !profile.is_empty() => {
            security.apparmor = Some(AppArmor::Profile(profile.to_owned()));
        }
        // What there is not cannot confine: Docker takes it everywhere, too.
        ("label", Some("disable")) => {}
        ("label", _) => {
            return Err(Failure::new(format!("cannot follow --security-opt {option}"))
                .with_hint("silo sets no labels of SELinux; label=disable asks for none"));
        }
        _ => {
            return Err(Failure::new(format!("cannot follow --security-opt {option}")).with_hint(
                "there are seccomp=FILE, seccomp=unconfined, apparmor=PROFILE, \
                 apparmor=unconfined, systempaths=unconfined, no-new-privileges[=true|false] and \
                 label=disable",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security(options: &[&str]) -> Result<Security> {
        let mut security = Security::default();
        options.iter().try_for_each(|option| add(&mut security, option)).map(|()| security)
    }

    #[test]
    fn security_options_are_dockers() {
        let asked = security(&["no-new-privileges:true", "seccomp=unconfined"]).unwrap();
        assert_eq!(asked.no_new_privileges, Some(true));
        assert_eq!(asked.seccomp, Seccomp::Unconfined);
        assert!(security(&["systempaths=unconfined"]).unwrap().open_system_paths);
        assert_eq!(security(&["label=disable"]).unwrap(), Security::default());
        let profile = security(&["apparmor=x"]).unwrap().apparmor;
        assert_eq!(profile, Some(AppArmor::Profile("x".to_owned())));
        let none = security(&["apparmor:unconfined"]).unwrap().apparmor;
        assert_eq!(none, Some(AppArmor::Unconfined));
        for wrong in ["apparmor=", "label=type:t", "no-new-privileges=maybe", "fly", "seccomp"] {
            assert!(security(&[wrong]).is_err(), "{wrong}");
        }
    }
}
