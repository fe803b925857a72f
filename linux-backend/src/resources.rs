//! Which limits of processes and settings of the kernel a container can have here.

use std::fs;

use rustix::thread::CapabilitySet;
use silo_isolation::{Bundle, Limits, Refusal, Resource, Ulimit, Users};

use crate::{plan, policy::Capabilities};

/// What decides how much this process may hand out.
struct Power {
    /// Whether this process is root of the machine and has `CAP_SYS_RESOURCE`.
    may_raise: bool,
    /// Our own hard limit.
    hard: fn(Resource) -> Option<u64>,
    /// The most descriptors that anyone may have (proc(5), `/proc/sys/fs/nr_open`).
    most_files: u64,
    /// Our own score.
    oom_score_adj: i16,
}

/// All that cannot be had.
pub(crate) fn refusals(bundle: &Bundle, privileged: bool) -> Vec<Refusal> {
    let limits = &bundle.limits;
    let mut refusals = Vec::new();
    if !limits.ulimits.is_empty() || limits.oom_score_adj.is_some() {
        refusals.extend(Power::own(privileged).refusals(limits));
    }
    if bundle.init {
        refusals.extend(why_no_init(bundle, privileged).map(|why| Refusal::new("--init", why)));
    }
    refusals.extend(bundle.sysctls.keys().filter_map(|name| {
        let why = plan::sysctl_path(name, bundle.network).err()?;
        Some(Refusal::new(format!("--sysctl {name}"), why))
    }));
    refusals
}

/// Why a container can have no init process, which is undumpable and a copy of this one.
fn why_no_init(bundle: &Bundle, privileged: bool) -> Option<&'static str> {
    if !privileged {
        return Some("without root, exec and cp would find no way past it into the container");
    }
    let shared = crate::policy::users(&bundle.security) == Users::Host;
    let traces = Capabilities::asked(&bundle.security).is_ok_and(|set| set.has("CAP_SYS_PTRACE"));
    // Who is given the host may look into anything.
    (shared && traces && !bundle.security.privileged)
        .then_some("with the host's users and CAP_SYS_PTRACE, all could look into it")
}

impl Power {
    fn own(privileged: bool) -> Self {
        let has = |capability| {
            rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
        };
        let number = |path| fs::read_to_string(path).ok()?.trim().parse::<i64>().ok();
        let score = number("/proc/self/oom_score_adj").and_then(|score| score.try_into().ok());
        let most = number("/proc/sys/fs/nr_open").and_then(|most| most.try_into().ok());
        Self {
            may_raise: privileged && has(CapabilitySet::SYS_RESOURCE),
            hard: |resource| rustix::process::getrlimit(plan::kernels(resource)).maximum,
            most_files: most.unwrap_or(u64::MAX),
            oom_score_adj: score.unwrap_or_default(),
        }
    }

    fn refusals(&self, limits: &Limits) -> Vec<Refusal> {
        let mut refusals: Vec<_> = limits
            .ulimits
            .iter()
            .filter_map(|limit| {
                let what = format!("--ulimit {limit}");
                self.why_not(limit).map(|why| Refusal::new(what, why))
            })
            .collect();
        if limits.oom_score_adj.is_some_and(|score| score < self.oom_score_adj) && !self.may_raise {
            let why = format!(
                "to go below silo's own {} takes CAP_SYS_RESOURCE, which silo lacks here",
                self.oom_score_adj
            );
            refusals.push(Refusal::new("--oom-score-adj", why));
        }
        refusals
    }

    fn why_not(&self, limit: &Ulimit) -> Option<String> {
        if limit.resource == Resource::Nofile
            && limit.hard.is_none_or(|hard| hard > self.most_files)
        {
            return Some(format!("the kernel allows {} (fs.nr_open)", self.most_files));
        }
        let own = (self.hard)(limit.resource)?;
        (!self.may_raise && limit.hard.is_none_or(|hard| hard > own)).then(|| {
            format!("to raise silo's own hard limit of {own} takes CAP_SYS_RESOURCE, which silo lacks here")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(may_raise: bool, ulimits: &[&str], oom_score_adj: i16) -> Vec<String> {
        let hard = |resource| (resource != Resource::Core).then_some(100);
        let power = Power { may_raise, hard, most_files: 200, oom_score_adj: -5 };
        let limits = Limits {
            ulimits: ulimits.iter().map(|text| text.parse().unwrap()).collect(),
            oom_score_adj: Some(oom_score_adj),
            ..Limits::default()
        };
        power.refusals(&limits).into_iter().map(|refusal| refusal.what).collect()
    }

    #[test]
    fn limits_are_raised_only_by_who_may() {
        let asked = ["nofile=1:101", "nproc=-1", "core=-1", "stack=100"];
        assert_eq!(
            refused(false, &asked, -6),
            ["--ulimit nofile=1:101", "--ulimit nproc=-1:-1", "--oom-score-adj"]
        );
        assert!(refused(true, &asked, -6).is_empty());
        assert!(refused(false, &["nofile=5:100"], -5).is_empty());
    }

    #[test]
    fn nobody_has_more_descriptors_than_the_kernel_allows() {
        for limit in ["nofile=1:201", "nofile=-1"] {
            assert_eq!(refused(true, &[limit], 0).len(), 1, "{limit}");
        }
    }
}
