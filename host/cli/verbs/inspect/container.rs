//! A container in the shape that Docker gives it.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};
use silo_engine::{Status, Summary};
use silo_isolation::{
    AppArmor, Ceiling, Device, Limits, Mount, MountKind, Network, Publication, Seccomp, Security,
    Throttle, Ulimit, Users,
};

/// Docker's time for what has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What /dev/shm holds where nothing else was asked for, in bytes.
const DEFAULT_SHM_SIZE: u64 = 64 << 20;

/// The container whose files are in `directory`.
pub(super) fn describe(summary: &Summary, directory: &Path) -> Value {
    let container = &summary.container;
    let process = &container.bundle.process;
    let (path, args) =
        process.args.split_first().map_or(("", &[][..]), |(path, args)| (path, args));
    json!({
        "Id": container.id,
        "Created": container.created,
        "Path": path,
        "Args": args,
        "State": state(summary),
        "Image": container.image.id,
        "LogPath": directory.join("log.json"),
        "Name": format!("/{}", container.name),
        "Platform": container.image.platform.os,
        "Backend": container.backend,
        "HostConfig": host_config(summary),
        "Mounts": container.bundle.mounts.iter().map(mount).collect::<Vec<_>>(),
        "Config": {
            "Hostname": container.bundle.hostname,
            "User": process.user.as_ref().map_or_else(String::new, |user| format!("{}:{}", user.uid, user.gid)),
            "AttachStdin": container.interactive,
            "Tty": process.terminal,
            "OpenStdin": container.interactive,
            "Env": process.env,
            "Cmd": process.args,
            "Image": container.image.name,
            "WorkingDir": process.cwd,
            "StopSignal": container.stop_signal.to_string(),
        },
        "NetworkSettings": {
            "Networks": { (network(container.bundle.network)): {} },
            "Ports": ports(&summary.state.ports),
        },
    })
}

fn state(summary: &Summary) -> Value {
    let state = &summary.state;
    let time =
        |time: Option<Timestamp>| time.map_or_else(|| NEVER.to_owned(), |time| time.to_string());
    json!({
        "Status": state.status.as_str(),
        "Running": state.status.is_live(),
        "Paused": state.status == Status::Paused,
        "Restarting": false,
        "OOMKilled": state.oom_killed(),
        "Dead": false,
        "Pid": state.pid.unwrap_or_default(),
        "ExitCode": state.exit_code.unwrap_or_default(),
        "Error": state.error.as_deref().unwrap_or_default(),
        "StartedAt": time(state.started),
        "FinishedAt": time(state.finished),
    })
}

fn host_config(summary: &Summary) -> Value {
    let container = &summary.container;
    let (bundle, limits) = (&container.bundle, &container.bundle.limits);
    let security = &bundle.security;
    let binds = bundle.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind { source } => {
            let access = if mount.readonly { "ro" } else { "rw" };
            Some(format!("{}:{}:{access}", source.display(), mount.destination))
        }
        MountKind::Tmpfs { .. } => None,
    });
    let mut config = json!({
        "Binds": binds.collect::<Vec<_>>(),
        "NetworkMode": network(bundle.network),
        "PortBindings": ports(&bundle.access.published),
        "AllowNet": bundle.access.allowed,
        "UsernsMode": userns(security.users),
        "CapAdd": security.add_capabilities,
        "CapDrop": security.drop_capabilities,
        "SecurityOpt": security_options(security),
        "Isolation": security.isolation.name(),
        "AutoRemove": container.auto_remove,
        "ReadonlyRootfs": bundle.root.readonly,
        "Privileged": security.privileged,
        "Devices": security.devices.iter().map(device).collect::<Vec<_>>(),
        "DeviceCgroupRules": device_rules(security),
        "Sysctls": bundle.sysctls,
        "Init": bundle.init,
    });
    if let (Value::Object(config), Value::Object(resources)) = (&mut config, resources(limits)) {
        config.extend(resources);
    }
    config
}

/// Limits by Docker's names; what is not limited is 0, empty or null, as there.
fn resources(limits: &Limits) -> Value {
    let number = |ceiling: Option<Ceiling>| ceiling.map(Ceiling::number).unwrap_or_default();
    let rates = |what: Throttle| -> Vec<Value> {
        let rates = limits.device_rates.iter().filter(|rate| rate.what == what);
        rates.map(|rate| json!({ "Path": rate.path, "Rate": rate.rate })).collect()
    };
    json!({
        "Memory": limits.memory.unwrap_or_default(),
        "MemoryReservation": limits.memory_reservation.unwrap_or_default(),
        "MemorySwap": number(limits.memory_swap),
        "MemorySwappiness": limits.memory_swappiness,
        "OomKillDisable": limits.oom_kill_disable,
        "NanoCpus": limits.nano_cpus.unwrap_or_default(),
        "CpuShares": limits.cpu_shares.unwrap_or_default(),
        "CpuPeriod": limits.cpu_period.unwrap_or_default(),
        "CpuQuota": number(limits.cpu_quota),
        "CpusetCpus": limits.cpuset_cpus.as_deref().unwrap_or_default(),
        "CpusetMems": limits.cpuset_mems.as_deref().unwrap_or_default(),
        "PidsLimit": limits.pids,
        "Ulimits": limits.ulimits.iter().map(ulimit).collect::<Vec<_>>(),
        "OomScoreAdj": limits.oom_score_adj.unwrap_or_default(),
        "ShmSize": limits.shm_size.unwrap_or(DEFAULT_SHM_SIZE),
        "BlkioWeight": limits.blkio_weight.unwrap_or_default(),
        "BlkioDeviceReadBps": rates(Throttle::ReadBps),
        "BlkioDeviceWriteBps": rates(Throttle::WriteBps),
        "BlkioDeviceReadIOps": rates(Throttle::ReadIops),
        "BlkioDeviceWriteIOps": rates(Throttle::WriteIops),
    })
}

fn ulimit(limit: &Ulimit) -> Value {
    let number = |limit: Option<u64>| Ceiling::of(limit).number();
    json!({ "Name": limit.resource.name(), "Soft": number(limit.soft), "Hard": number(limit.hard) })
}

fn device(device: &Device) -> Value {
    json!({
        "PathOnHost": device.source,
        "PathInContainer": device.destination,
        "CgroupPermissions": device.access.to_string(),
    })
}

fn device_rules(security: &Security) -> Vec<String> {
    security.device_rules.iter().map(ToString::to_string).collect()
}

fn mount(mount: &Mount) -> Value {
    let (kind, source) = match &mount.kind {
        MountKind::Bind { source } => ("bind", source.display().to_string()),
        MountKind::Tmpfs { .. } => ("tmpfs", String::new()),
    };
    json!({ "Type": kind, "Source": source, "Destination": mount.destination, "RW": !mount.readonly })
}

/// By the guest's port, as Docker has them; a port that is left open is empty.
fn ports(publications: &[Publication]) -> Value {
    let mut ports = serde_json::Map::new();
    for publication in publications {
        let host_port = match publication.host_port {
            0 => String::new(),
            port => port.to_string(),
        };
        let binding = json!({ "HostIp": publication.address, "HostPort": host_port });
        let name = format!("{}/{}", publication.guest_port, publication.protocol);
        if let Value::Array(bindings) = ports.entry(name).or_insert_with(|| json!([])) {
            bindings.push(binding);
        }
    }
    Value::Object(ports)
}

fn network(network: Network) -> &'static str {
    match network {
        Network::None => "none",
        Network::Host => "host",
    }
}

/// Docker's words: empty where the users are the container's own.
fn userns(users: Option<Users>) -> &'static str {
    match users {
        None | Some(Users::Own) => "",
        Some(Users::Host) => "host",
        Some(Users::Kept) => "keep-id",
    }
}

/// As `--security-opt` takes them; a profile of seccomp as its text, as Docker shows it.
fn security_options(security: &Security) -> Vec<String> {
    let no_new_privileges =
        security.no_new_privileges.map(|is_set| format!("no-new-privileges={is_set}"));
    let seccomp = match &security.seccomp {
        Seccomp::Isolation => None,
        Seccomp::Unconfined => Some("seccomp=unconfined".to_owned()),
        Seccomp::Profile(text) => Some(format!("seccomp={text}")),
    };
    let paths = security.open_system_paths.then(|| "systempaths=unconfined".to_owned());
    let apparmor = security.apparmor.as_ref().map(|apparmor| match apparmor {
        AppArmor::Unconfined => "apparmor=unconfined".to_owned(),
        AppArmor::Profile(name) => format!("apparmor={name}"),
    });
    [no_new_privileges, seccomp, paths, apparmor].into_iter().flatten().collect()
}
