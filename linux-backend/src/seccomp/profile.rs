//! Profiles in Docker's format, which is that of the OCI runtime specification (config-linux.md,
//! "Seccomp") and conditions on capabilities, architectures and kernels.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    Action, Answer, Compare, Filter, NATIVE, NEW_LISTENER, Operator, Rule, Table, compile,
};
use crate::policy::Capabilities;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<Architectures>,
    #[serde(default)]
    syscalls: Vec<Group>,
    #[serde(default)]
    flags: Vec<String>,
}

/// What the specification calls the flags of seccomp(2), and their bits.
pub(crate) const FLAGS: [(&str, u32); 4] = [
    // Of a process with one thread it asks nothing.
    ("SECCOMP_FILTER_FLAG_TSYNC", 0),
    ("SECCOMP_FILTER_FLAG_LOG", 1 << 1),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", 1 << 2),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", WAIT_KILLABLE),
];
const WAIT_KILLABLE: u32 = 1 << 5;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architectures {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    #[serde(default)]
    names: Vec<String>,
    /// The older form.
    #[serde(default)]
    name: String,
    action: String,
    errno_ret: Option<u16>,
    args: Option<Vec<Argument>>,
    includes: Option<Condition>,
    excludes: Option<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// What a group holds for.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// How this machine is called in profiles: its architecture in libseccomp's words and in Go's.
#[cfg(target_arch = "x86_64")]
const NAMES: [&str; 2] = ["SCMP_ARCH_X86_64", "amd64"];
#[cfg(target_arch = "aarch64")]
const NAMES: [&str; 2] = ["SCMP_ARCH_AARCH64", "arm64"];

/// The filter of a profile for a container that has `capabilities`, or what is wrong with it.
pub(crate) fn profile(text: &str, capabilities: Capabilities) -> Result<Filter, String> {
    let filter = listening_profile(text, capabilities)?;
    if filter.listens() {
        let why = "`SCMP_ACT_NOTIFY` needs a program outside that answers; there is none";
        return Err(why.to_owned());
    }
    Ok(filter)
}

/// The same where there may be a program outside that answers calls.
pub(crate) fn listening_profile(text: &str, capabilities: Capabilities) -> Result<Filter, String> {
    let profile: Profile =
        serde_json::from_str(text).map_err(|error| format!("it is no seccomp profile: {error}"))?;
    let otherwise = action(&profile.default_action, profile.default_errno_ret)?;
    let mut groups = Vec::new();
    for group in &profile.syscalls {
        if group.holds(capabilities)? {
            groups.extend(group.rules()?.into_iter().map(|rule| (group, rule)));
        }
    }
    let native =
        |name: &str| name.parse().ok().and_then(|call: syscalls::Sysno| call.id().try_into().ok());
    let all = &profile.syscalls;
    let mut tables = vec![table(NATIVE, all, &groups, otherwise, native)];
    #[cfg(target_arch = "x86_64")]
    if profile.names("SCMP_ARCH_X86") {
        let compatible = |name: &str| {
            name.parse().ok().and_then(|call: syscalls::x86::Sysno| call.id().try_into().ok())
        };
        tables.push(table(super::COMPATIBLE, all, &groups, otherwise, compatible));
    }
    let notifies = groups.iter().map(|(_, rule)| rule.action).chain([otherwise]);
    let listener =
        if notifies.into_iter().any(|it| it == Action::NOTIFY) { NEW_LISTENER } else { 0 };
    Ok(Filter { flags: profile.flags(listener)?, ..compile(&tables) })
}

/// The rules of one architecture. Names that it does not have are passed over, as there is nothing to
/// permit or to refuse.
fn table(
    architecture: u32,
    all: &[Group],
    groups: &[(&Group, Rule)],
    otherwise: Action,
    number: impl Fn(&str) -> Option<u32>,
) -> Table {
    let mut rules: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
    for (group, rule) in groups {
        for number in group.names().filter_map(&number) {
            rules.entry(number).or_default().push(rule.clone());
        }
    }
    let answer = |mut rules: Vec<Rule>| {
        // What holds whatever the arguments are ends the search.
        let always = rules.iter().position(|rule| rule.compare.is_empty());
        let last = always.map_or(otherwise, |at| rules.split_off(at)[0].action);
        if rules.is_empty() { Answer::Return(last) } else { Answer::Rules(rules, last) }
    };
    // A profile knows no call that is newer than the newest that it names, for whomever: programs ask for such a one
    // and do without it where they are told that there is none (as runc).
    let last = all.iter().flat_map(Group::names).filter_map(&number).max();
    let first_unknown = last.map(|last| last + 1);
    Table {
        architecture,
        rows: rules.into_iter().map(|(number, rules)| (number, answer(rules))).collect(),
        otherwise: Answer::Return(otherwise),
        first_unknown: first_unknown.filter(|_| !otherwise.permits()),
    }
}

impl Profile {
    /// The flags that the filter is installed with, `listener` among them.
    fn flags(&self, listener: u32) -> Result<u32, String> {
        self.flags.iter().try_fold(listener, |flags, name| {
            let flag = FLAGS.iter().find(|(known, _)| known == name);
            let &(_, flag) = flag.ok_or_else(|| format!("`{name}` is no flag of seccomp(2)"))?;
            // It is about waiting for an answer from outside, and refused where there is none.
            Ok(flags | if listener == 0 { flag & !WAIT_KILLABLE } else { flag })
        })
    }

    /// Whether an architecture is named beside this machine's own.
    fn names(&self, architecture: &str) -> bool {
        let beside = self
            .arch_map
            .iter()
            .filter(|map| map.architecture == NAMES[0])
            .flat_map(|map| map.sub_architectures.iter().flatten());
        beside.chain(&self.architectures).any(|name| name == architecture)
    }
}

impl Group {
    fn names(&self) -> impl Iterator<Item = &str> {
        let older = Some(self.name.as_str()).filter(|name| !name.is_empty());
        self.names.iter().map(String::as_str).chain(older)
    }

    fn holds(&self, capabilities: Capabilities) -> Result<bool, String> {
        let included = match &self.includes {
            Some(includes) => includes.all(capabilities)?,
            None => true,
        };
        let excluded = match &self.excludes {
            Some(excludes) => excludes.any(capabilities)?,
            None => false,
        };
        Ok(included && !excluded)
    }

    /// One rule for all comparisons, but one for each where two are of the same argument: of such at least
    /// one is to hold (as runc, for what old profiles mean).
    fn rules(&self) -> Result<Vec<Rule>, String> {
        let action = action(&self.action, self.errno_ret)?;
        let compare = self.args.iter().flatten().map(Argument::compare);
        let compare = compare.collect::<Result<Vec<_>, _>>()?;
        let is_twice = |one: &Compare| {
            compare.iter().filter(|other| other.argument == one.argument).count() > 1
        };
        if compare.iter().any(is_twice) {
            let rule = |one| Rule { compare: vec![one], action };
            return Ok(compare.into_iter().map(rule).collect());
        }
        Ok(vec![Rule { compare, action }])
    }
}

impl Condition {
    fn has(capabilities: Capabilities) -> impl Fn(&String) -> bool {
        move |name| capabilities.has(name)
    }

    fn is_here(&self) -> bool {
        self.arches.iter().any(|name| NAMES.contains(&name.as_str()))
    }

    fn all(&self, capabilities: Capabilities) -> Result<bool, String> {
        Ok(self.caps.iter().all(Self::has(capabilities))
            && (self.arches.is_empty() || self.is_here())
            && self.min_kernel.as_deref().map_or(Ok(true), is_kernel_at_least)?)
    }

    fn any(&self, capabilities: Capabilities) -> Result<bool, String> {
        Ok(self.caps.iter().any(Self::has(capabilities))
            || self.is_here()
            || self.min_kernel.as_deref().map_or(Ok(false), is_kernel_at_least)?)
    }
}

fn is_kernel_at_least(version: &str) -> Result<bool, String> {
    let numbers = |text: &str| -> Option<(u32, u32)> {
        let (major, rest) = text.split_once('.')?;
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let least = numbers(version).ok_or_else(|| format!("`{version}` is no kernel's version"))?;
    let uname = rustix::system::uname();
    Ok(numbers(&uname.release().to_string_lossy()).is_some_and(|own| own >= least))
}

impl Argument {
    fn compare(&self) -> Result<Compare, String> {
        if self.index > 5 {
            return Err(format!("a system call has no argument {}", self.index));
        }
        let operator = match self.op.as_str() {
            "SCMP_CMP_EQ" | "SCMP_CMP_MASKED_EQ" => Operator::Equal,
            "SCMP_CMP_NE" => Operator::NotEqual,
            "SCMP_CMP_LT" => Operator::Less,
            "SCMP_CMP_LE" => Operator::LessOrEqual,
            "SCMP_CMP_GT" => Operator::Greater,
            "SCMP_CMP_GE" => Operator::GreaterOrEqual,
            other => return Err(format!("`{other}` is no comparison")),
        };
        // Of a masked comparison the first value is the mask.
        let (mask, value) = match self.op.as_str() {
            "SCMP_CMP_MASKED_EQ" => (self.value, self.value_two),
            _ => (u64::MAX, self.value),
        };
        Ok(Compare { argument: self.index, mask, operator, value })
    }
}

fn action(name: &str, errno: Option<u16>) -> Result<Action, String> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::ALLOW,
        "SCMP_ACT_ERRNO" => errno.map_or(Action::NOT_PERMITTED, Action::errno),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action(0),
        "SCMP_ACT_KILL_PROCESS" => Action::KILL,
        "SCMP_ACT_TRAP" => Action(0x3_0000),
        "SCMP_ACT_LOG" => Action::LOG,
        "SCMP_ACT_TRACE" => Action::trace(errno.unwrap_or(1)),
        "SCMP_ACT_NOTIFY" => Action::NOTIFY,
        other => return Err(format!("`{other}` is no action")),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::tests::run, *};

    fn answers(text: &str, number: libc::c_long, args: [u64; 6]) -> u32 {
        let filter = profile(text, Capabilities::default()).unwrap();
        run(&filter, NATIVE, u32::try_from(number).unwrap(), args)
    }

    const REFUSED: u32 = 0x5_0001;
    const ALLOWED: u32 = 0x7fff_0000;

    #[test]
    fn the_first_rule_that_holds_answers() {
        let text = r#"{
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "syscalls": [
                {"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
                {"name": "write", "action": "SCMP_ACT_KILL_PROCESS"},
                {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 3,
                 "args": [{"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}]},
                {"names": ["kill"], "action": "SCMP_ACT_ALLOW"}
            ]}"#;
        assert_eq!(answers(text, libc::SYS_read, [0; 6]), ALLOWED);
        assert_eq!(answers(text, libc::SYS_write, [0; 6]), 0x8000_0000);
        assert_eq!(answers(text, libc::SYS_close, [0; 6]), 0x5_0026);
        assert_eq!(answers(text, libc::SYS_kill, [0, 9, 0, 0, 0, 0]), 0x5_0003);
        assert_eq!(answers(text, libc::SYS_kill, [0, 15, 0, 0, 0, 0]), ALLOWED);
    }

    #[test]
    fn a_call_that_is_newer_than_the_profile_is_told_to_be_missing() {
        let text = |otherwise: &str| {
            format!(
                r#"{{"defaultAction": "{otherwise}", "syscalls": [
                {{"names": ["read", "close"], "action": "SCMP_ACT_ALLOW"}}]}}"#
            )
        };
        for otherwise in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
            assert_eq!(answers(&text(otherwise), libc::SYS_close + 1, [0; 6]), 0x5_0026);
            assert_ne!(answers(&text(otherwise), libc::SYS_write, [0; 6]), 0x5_0026);
        }
        assert_eq!(answers(&text("SCMP_ACT_LOG"), 500, [0; 6]), 0x7ffc_0000);
    }

    #[test]
    fn of_two_comparisons_of_one_argument_one_is_to_hold() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["personality"],
            "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 0, "op": "SCMP_CMP_EQ"},
                {"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}]}"#;
        for (argument, expected) in [(0, ALLOWED), (8, ALLOWED), (9, REFUSED)] {
            let answer = answers(text, libc::SYS_personality, [argument, 0, 0, 0, 0, 0]);
            assert_eq!(answer, expected, "{argument}");
        }
    }

    #[test]
    fn flags_are_those_of_the_profile_and_a_listener_where_somebody_is_asked() {
        let of = |action: &str, flag: &str| {
            let text = format!(
                r#"{{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["{flag}"], "syscalls": [
                {{"names": ["mkdir"], "action": "{action}"}}]}}"#
            );
            listening_profile(&text, Capabilities::default()).map(|filter| filter.flags())
        };
        assert_eq!(of("SCMP_ACT_ERRNO", "SECCOMP_FILTER_FLAG_LOG"), Ok(2));
        assert_eq!(of("SCMP_ACT_ERRNO", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"), Ok(0));
        assert_eq!(of("SCMP_ACT_NOTIFY", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"), Ok(40));
        assert!(of("SCMP_ACT_ERRNO", "SECCOMP_FILTER_FLAG_NONE").is_err());
    }

    #[test]
    fn comparisons_are_of_all_64_bits() {
        type Holds = fn(&u64, &u64) -> bool;
        let text = |op: &str| {
            format!(
                r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["read"],
                "action": "SCMP_ACT_ALLOW", "args": [{{"index": 2, "value": 21474836487, "op": "{op}"}}]}}]}}"#
            )
        };
        let value: u64 = 0x5_0000_0007;
        let others = [value, value - 1, value + 1, 7, 0x4_ffff_ffff, 0x6_0000_0000, u64::MAX, 0];
        let operators: [(&str, Holds); 6] = [
            ("SCMP_CMP_EQ", u64::eq),
            ("SCMP_CMP_NE", u64::ne),
            ("SCMP_CMP_LT", u64::lt),
            ("SCMP_CMP_LE", u64::le),
            ("SCMP_CMP_GT", u64::gt),
            ("SCMP_CMP_GE", u64::ge),
        ];
        for (operator, holds) in operators {
            for other in others {
                let expected = if holds(&other, &value) { ALLOWED } else { REFUSED };
                let answer = answers(&text(operator), libc::SYS_read, [0, 0, other, 0, 0, 0]);
                assert_eq!(answer, expected, "{other:#x} {operator}");
            }
        }
    }

    #[test]
    fn a_mask_leaves_the_other_bits_alone() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["clone"],
            "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"},
                {"index": 1, "value": 1, "op": "SCMP_CMP_GE"}]}]}"#;
        assert_eq!(answers(text, libc::SYS_clone, [0x11, 1, 0, 0, 0, 0]), ALLOWED);
        assert_eq!(answers(text, libc::SYS_clone, [0x11, 0, 0, 0, 0, 0]), REFUSED);
        assert_eq!(answers(text, libc::SYS_clone, [0x1000_0011, 1, 0, 0, 0, 0]), REFUSED);
    }

    #[test]
    fn groups_hold_for_capabilities_architectures_and_kernels() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["close"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "999.0"}},
            {"names": ["write"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}}]}"#;
        for (call, expected) in [
            (libc::SYS_mount, REFUSED),
            (libc::SYS_read, ALLOWED),
            (libc::SYS_ptrace, ALLOWED),
            (libc::SYS_close, REFUSED),
            (libc::SYS_write, REFUSED),
        ] {
            assert_eq!(answers(text, call, [0; 6]), expected, "{call}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn another_architecture_is_ended_unless_it_is_named() {
        let with = |more: &str| {
            let text = format!(
                r#"{{"defaultAction": "SCMP_ACT_ERRNO", {more}
                "syscalls": [{{"names": ["getpid"], "action": "SCMP_ACT_ALLOW"}}]}}"#
            );
            let filter = profile(&text, Capabilities::default()).unwrap();
            run(&filter, super::super::COMPATIBLE, 20, [0; 6])
        };
        assert_eq!(with(""), 0x8000_0000);
        assert_eq!(with(r#""architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],"#), ALLOWED);
        let map = r#""archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],"#;
        assert_eq!(with(map), ALLOWED);
    }

    #[test]
    fn what_is_wrong_with_a_profile_is_told() {
        let problem = |text: &str| profile(text, Capabilities::default()).unwrap_err();
        assert!(problem("[]").starts_with("it is no seccomp profile: "));
        assert_eq!(problem(r#"{"defaultAction": "ALLOW"}"#), "`ALLOW` is no action");
        assert_eq!(
            problem(r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#),
            "`SCMP_ACT_NOTIFY` needs a program outside that answers; there is none"
        );
        let argument = |argument: &str| {
            problem(&format!(
                r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{argument}]}}]}}"#
            ))
        };
        assert_eq!(
            argument(r#"{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}"#),
            "a system call has no argument 6"
        );
        assert_eq!(argument(r#"{"index": 0, "value": 1, "op": "EQ"}"#), "`EQ` is no comparison");
    }
}
