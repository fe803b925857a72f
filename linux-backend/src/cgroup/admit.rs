//! Which limits can be held on this host.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::FileType;
use silo_isolation::{Error, Limits, NumberSet, Refusal, Result};

use super::{Controller, Devices, Hierarchy, LEAST_NANO_CPUS, settings};

/// All of `limits` that cannot be held here.
pub(crate) fn refusals(limits: &Limits) -> Vec<Refusal> {
    let mut refusals = limits.contradictions();
    let asked = settings::asked(limits);
    if asked.is_empty() {
        return refusals;
    }
    match Hierarchy::detect() {
        Err(why) => {
            refusals.extend(asked.iter().map(|(what, _)| Refusal::new(*what, why.clone())));
        }
        Ok(hierarchy) => refusals.extend(unavailable(limits, &hierarchy)),
    }
    if limits.nano_cpus.is_some_and(|nanos| nanos < LEAST_NANO_CPUS) {
        refusals.push(Refusal::new("--cpus", "the least the kernel deals out is 0.01"));
    }
    for rate in &limits.device_rates {
        if device(&rate.path).is_none() {
            refusals.push(Refusal::new(rate.what.option(), no_device(&rate.path)));
        }
    }
    refusals
}

/// Why no rules about devices can be held here.
pub(crate) fn why_no_rules() -> Option<String> {
    let has = |hierarchy: Hierarchy| {
        let controller = Controller::Devices;
        (!hierarchy.has(controller)).then(|| hierarchy.why_without(controller))
    };
    Hierarchy::detect().map_or_else(Some, has)
}

/// What of `limits` this hierarchy does not hold.
fn unavailable(limits: &Limits, hierarchy: &Hierarchy) -> Vec<Refusal> {
    let asked = settings::asked(limits);
    let (present, missing): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|(_, controller)| hierarchy.has(*controller));
    let mut refusals: Vec<_> = missing
        .into_iter()
        .map(|(what, controller)| Refusal::new(what, hierarchy.why_without(controller)))
        .collect();
    for (what, _) in present {
        refusals.extend(why_not(what, limits, hierarchy).map(|why| Refusal::new(what, why)));
    }
    refusals
}

/// Why an option cannot be honoured although its controller is there.
fn why_not(what: &str, limits: &Limits, hierarchy: &Hierarchy) -> Option<String> {
    let unified = hierarchy.is_unified();
    let only_1 = || unified.then(|| "cgroup v2, which this host has, knows no such".to_owned());
    let lacks = |files: &[&str], why: &str| (!hierarchy.offers(files)).then(|| why.to_owned());
    match what {
        "--memory-swappiness" | "--oom-kill-disable" => only_1(),
        "--memory-swap" => lacks(
            &["memory.swap.max", "memory.memsw.limit_in_bytes"],
            "this kernel does not count swap (see swapaccount=1 of its command line)",
        ),
        // In version 1 that of the root tells of the weight of all others.
        "--blkio-weight" => lacks(
            &["io.bfq.weight", "io.weight", "blkio.bfq.io_service_bytes"],
            "this kernel weighs no input and output (it takes the scheduler BFQ)",
        ),
        "--cpuset-cpus" => {
            beyond(limits.cpuset_cpus.as_deref()?, &hierarchy.available("cpuset.cpus")?)
        }
        "--cpuset-mems" => {
            beyond(limits.cpuset_mems.as_deref()?, &hierarchy.available("cpuset.mems")?)
        }
        _ => None,
    }
}

fn beyond(asked: &str, available: &str) -> Option<String> {
    // What is no list at all has been told.
    let (asked, all) = (asked.parse::<NumberSet>().ok()?, available.parse::<NumberSet>().ok()?);
    (!asked.is_within(&all)).then(|| format!("there is {available}"))
}

/// The number of a block device.
fn device(path: &Path) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::metadata(path).ok()?;
    let is_block = FileType::from_raw_mode(found.mode()) == FileType::BlockDevice;
    is_block.then(|| (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev())))
}

/// The numbers of the devices that `limits` name.
pub(crate) fn devices(limits: &Limits) -> Result<Devices> {
    let number = |path: &PathBuf| {
        let missing = || Error::Unsupported { what: no_device(path) };
        Ok((path.clone(), device(path).ok_or_else(missing)?))
    };
    limits.device_rates.iter().map(|rate| number(&rate.path)).collect()
}

fn no_device(path: &Path) -> String {
    format!("{} is no block device", path.display())
}

#[cfg(test)]
mod tests {
    use silo_isolation::Ceiling;

    use super::*;

    /// A tree of version 2 with a cgroup that has `files`.
    fn unified(controllers: &str, files: &[&str]) -> (tempfile::TempDir, Hierarchy) {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("cgroup.subtree_control"), controllers).unwrap();
        fs::write(base.path().join("cpuset.cpus.effective"), "0-3\n").unwrap();
        let child = base.path().join("some.slice");
        fs::create_dir(&child).unwrap();
        for file in files {
            fs::write(child.join(file), "").unwrap();
        }
        let hierarchy = Hierarchy::Unified { base: base.path().to_owned() };
        (base, hierarchy)
    }

    fn refused(limits: &Limits, hierarchy: &Hierarchy) -> Vec<String> {
        unavailable(limits, hierarchy).into_iter().map(|refusal| refusal.what).collect()
    }

    #[test]
    fn version_2_lacks_what_only_version_1_has() {
        let (_base, hierarchy) = unified("memory", &["memory.swap.max"]);
        let limits = Limits {
            memory: Some(1),
            memory_swap: Some(Ceiling::Unlimited),
            memory_swappiness: Some(1),
            oom_kill_disable: true,
            ..Limits::default()
        };
        assert_eq!(refused(&limits, &hierarchy), ["--memory-swappiness", "--oom-kill-disable"]);
    }

    #[test]
    fn what_the_kernel_was_built_without_is_refused() {
        let (_base, hierarchy) = unified("cpuset memory io", &[]);
        let limits = Limits {
            memory_swap: Some(Ceiling::Unlimited),
            cpuset_cpus: Some("2-4".to_owned()),
            pids: Some(1),
            blkio_weight: Some(10),
            ..Limits::default()
        };
        assert_eq!(
            refused(&limits, &hierarchy),
            ["--pids-limit", "--memory-swap", "--cpuset-cpus", "--blkio-weight"]
        );
        let (_base, hierarchy) = unified("io", &["io.weight"]);
        let limits = Limits { blkio_weight: Some(10), ..Limits::default() };
        assert!(refused(&limits, &hierarchy).is_empty());
    }

    #[test]
    fn a_rate_is_of_a_block_device() {
        assert_eq!(device(Path::new("/dev/null")), None);
        assert_eq!(device(Path::new("/nonexistent")), None);
    }
}
