//! From tables of system calls to a seccomp filter (seccomp(2), BPF).
//!
//! The kernel runs the filter on every call whose answer depends on arguments, and once per
//! number at installation to learn which do not. A list of comparisons is slow at both, so the
//! numbers are cut into ranges of equal answers and found by bisection.

mod profile;

use std::fmt;

pub(crate) use profile::{FLAGS, listening_profile, profile};

use crate::{
    policy::{Calls, Condition, FIRST_UNKNOWN, Verdict},
    sys::Instruction,
};

/// A compiled filter.
#[derive(PartialEq, Eq)]
pub(crate) struct Filter {
    program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*` of seccomp(2).
    flags: u32,
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
const NEW_LISTENER: u32 = 1 << 3;

impl Filter {
    pub(crate) fn instructions(&self) -> &[Instruction] {
        &self.program
    }

    pub(crate) const fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether a program outside answers some calls (`seccomp_unotify(2)`).
    pub(crate) const fn listens(&self) -> bool {
        self.flags & NEW_LISTENER != 0
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter(..)")
    }
}

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64

/// Of the programs of another width that the machine runs, too: `AUDIT_ARCH_I386`.
const COMPATIBLE: u32 = 0x4000_0003;

/// x32 calls carry this bit under x86-64's architecture.
#[cfg(target_arch = "x86_64")]
const OTHER_ABI: Option<u32> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const OTHER_ABI: Option<u32> = None;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const IF_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const IF_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Offsets in `struct seccomp_data`.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const ARGUMENTS_OFFSET: u32 = 16;

/// The eight `CLONE_NEW*` flags. NEWTIME shares its bit with the exit signal of clone(2),
/// where no signal reaches it.
const NEW_NAMESPACES: u32 = 0x7e02_0080;
const PERSONALITIES: &[u32] = &[0, 0x8, 0x2_0000, 0x2_0008, u32::MAX];
const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const AF_ALG: u32 = 38;
const AF_VSOCK: u32 = 40;
const NETLINK_ROUTE: u32 = 0;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
/// `PR_*` of linux/prctl.h: to get and set the signal of the parent's death, dumpability, capabilities
/// kept and bounded, the name, seccomp, timer slack, `securebits`, subreaping, `no_new_privs`, huge pages,
/// ambient capabilities, speculation, names of mappings, memory that is never executable, and Yama's
/// tracer.
const ATTRIBUTES: &[u32] = &[
    1,
    2,
    3,
    4,
    7,
    8,
    15,
    16,
    21,
    22,
    23,
    24,
    25,
    27,
    28,
    29,
    30,
    36,
    37,
    38,
    39,
    40,
    41,
    42,
    47,
    52,
    53,
    65,
    66,
    0x5356_4d41,
    0x5961_6d61,
];

/// What a call is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Return(Action),
    If(Condition),
    /// The first rule that holds for the arguments, or else this.
    Rules(Vec<Rule>, Action),
}

/// A return value of a filter (seccomp(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Action(u32);

impl Action {
    const ALLOW: Self = Self(0x7fff_0000); // SECCOMP_RET_ALLOW
    const NOT_PERMITTED: Self = Self::errno(1); // EPERM
    const NO_SUCH_CALL: Self = Self::errno(38); // ENOSYS
    const KILL: Self = Self(0x8000_0000); // SECCOMP_RET_KILL_PROCESS

    const LOG: Self = Self(0x7ffc_0000); // SECCOMP_RET_LOG
    const NOTIFY: Self = Self(0x7fc0_0000); // SECCOMP_RET_USER_NOTIF

    /// `SECCOMP_RET_TRACE`.
    const fn trace(number: u16) -> Self {
        Self(0x7ff0_0000 | number as u32)
    }

    /// Whether it permits a call, perhaps after somebody was told of it.
    const fn permits(self) -> bool {
        matches!(self.0 & 0xffff_0000, 0x7fff_0000 | 0x7ffc_0000 | 0x7ff0_0000)
    }

    /// `SECCOMP_RET_ERRNO`.
    const fn errno(number: u16) -> Self {
        Self(0x5_0000 | number as u32)
    }
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow => Self::Return(Action::ALLOW),
            Verdict::If(condition) => Self::If(condition),
            Verdict::Missing => Self::Return(Action::NO_SUCH_CALL),
        }
    }
}

/// What is done on some arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// All of which hold.
    compare: Vec<Compare>,
    action: Action,
}

/// A comparison of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Compare {
    /// Which: 0 to 5.
    argument: u32,
    /// The bits that are looked at.
    mask: u64,
    operator: Operator,
    value: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is answered to the programs of one architecture.
struct Table {
    architecture: u32,
    /// In ascending order.
    rows: Vec<(u32, Answer)>,
    otherwise: Answer,
    /// From which number on `ENOSYS` is answered.
    first_unknown: Option<u32>,
}

/// The filter that answers `calls`, and EPERM to the rest.
pub(crate) fn filter(calls: &Calls) -> Filter {
    let table = |architecture, rows: &[(u32, Verdict)]| Table {
        architecture,
        rows: rows.iter().map(|&(number, verdict)| (number, verdict.into())).collect(),
        otherwise: Answer::Return(Action::NOT_PERMITTED),
        first_unknown: Some(FIRST_UNKNOWN),
    };
    let mut tables = vec![table(NATIVE, &calls.native)];
    tables.extend(calls.compatible.as_deref().map(|rows| table(COMPATIBLE, rows)));
    compile(&tables)
}

/// A filter of tables; programs of an architecture that has none are ended.
fn compile(tables: &[Table]) -> Filter {
    let mut program = vec![load(ARCHITECTURE_OFFSET)];
    for table in tables {
        let answers = search(&table.ranges());
        program.extend([
            jump(IF_EQUAL, table.architecture, 1, 0),
            jump_over(answers.len() + 1),
            load(NUMBER_OFFSET),
        ]);
        program.extend(answers);
    }
    program.push(give(Action::KILL));
    Filter { program, flags: 0 }
}

impl Table {
    /// The first number of each range of equal answers, and the answer. The first is 0.
    fn ranges(&self) -> Vec<(u32, &Answer)> {
        const NO_SUCH_CALL: &Answer = &Answer::Return(Action::NO_SUCH_CALL);
        const KILL: &Answer = &Answer::Return(Action::KILL);
        let otherwise = &self.otherwise;
        let end = self.first_unknown.unwrap_or(u32::MAX);
        let mut ranges = Vec::new();
        let mut next = 0;
        for (number, answer) in &self.rows {
            if *number > next {
                push(&mut ranges, next, otherwise);
            }
            push(&mut ranges, *number, answer);
            next = number + 1;
        }
        if next < end {
            push(&mut ranges, next, otherwise);
        }
        if let Some(first) = self.first_unknown {
            push(&mut ranges, first.max(next), NO_SUCH_CALL);
        }
        if let Some(bit) = OTHER_ABI.filter(|_| self.architecture == NATIVE) {
            push(&mut ranges, bit, KILL);
        }
        ranges
    }
}

fn push<'a>(ranges: &mut Vec<(u32, &'a Answer)>, first: u32, answer: &'a Answer) {
    if ranges.last().is_none_or(|&(_, last)| last != answer) {
        ranges.push((first, answer));
    }
}

/// Finds the range of the number in the accumulator and answers.
fn search(ranges: &[(u32, &Answer)]) -> Vec<Instruction> {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let Some(&(first, answer)) = upper.first() else { return vec![give(Action::NOT_PERMITTED)] };
    if lower.is_empty() {
        return leaf(answer);
    }
    let lower = search(lower);
    let mut program = match u8::try_from(lower.len()) {
        Ok(distance) => vec![jump(IF_AT_LEAST, first, distance, 0)],
        // A conditional jump reaches 255 instructions; an unconditional one any.
        Err(_) => vec![jump(IF_AT_LEAST, first, 0, 1), jump_over(lower.len())],
    };
    program.extend(lower);
    program.extend(search(upper));
    program
}

fn leaf(answer: &Answer) -> Vec<Instruction> {
    match answer {
        Answer::Return(action) => vec![give(*action)],
        Answer::If(condition) => check(*condition),
        Answer::Rules(rules, otherwise) => {
            let mut program: Vec<_> = rules.iter().flat_map(follow).collect();
            program.push(give(*otherwise));
            program
        }
    }
}

/// Does what a rule says if all its comparisons hold, and else goes on behind it.
fn follow(rule: &Rule) -> Vec<Instruction> {
    let mut program = vec![give(rule.action)];
    for compare in rule.compare.iter().rev() {
        let behind = program.len();
        let mut compared = compare.instructions(behind);
        compared.append(&mut program);
        program = compared;
    }
    program
}

/// The upper and the lower half.
#[allow(clippy::cast_possible_truncation)] // the other half is what is cut off
const fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

impl Compare {
    /// Goes on behind these if it holds, and else leaves out as many more as `behind` says.
    /// Registers are half as wide as arguments: the upper half decides unless it is equal.
    fn instructions(self, behind: usize) -> Vec<Instruction> {
        use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        let (high, low) = halves(self.value);
        let (high_mask, low_mask) = halves(self.mask);
        // Where to go on if it does not hold, from an instruction with so many more of these behind.
        let fail = |more: usize| u8::try_from(behind + more).unwrap_or(u8::MAX);
        let [first, second, last] = match self.operator {
            Equal => [jump(IF_EQUAL, high, 0, fail(4)), NOTHING, jump(IF_EQUAL, low, 0, fail(0))],
            NotEqual => [jump(IF_EQUAL, high, 0, 4), NOTHING, jump(IF_EQUAL, low, fail(0), 0)],
            Greater => [
                jump(IF_GREATER, high, 4, 0),
                jump(IF_EQUAL, high, 0, fail(3)),
                jump(IF_GREATER, low, 0, fail(0)),
            ],
            GreaterOrEqual => [
                jump(IF_GREATER, high, 4, 0),
                jump(IF_EQUAL, high, 0, fail(3)),
                jump(IF_AT_LEAST, low, 0, fail(0)),
            ],
            Less => [
                jump(IF_AT_LEAST, high, 0, 4),
                jump(IF_EQUAL, high, 0, fail(3)),
                jump(IF_AT_LEAST, low, fail(0), 0),
            ],
            LessOrEqual => [
                jump(IF_AT_LEAST, high, 0, 4),
                jump(IF_EQUAL, high, 0, fail(3)),
                jump(IF_GREATER, low, fail(0), 0),
            ],
        };
        let half = |offset| load(argument(self.argument) + offset);
        let mask = |mask| jump(AND, mask, 0, 0);
        vec![half(4), mask(high_mask), first, second, half(0), mask(low_mask), last]
    }
}

/// Loads nothing new and decides nothing.
const NOTHING: Instruction = jump(JUMP, 0, 0, 0);

/// Looks at the arguments and answers.
fn check(condition: Condition) -> Vec<Instruction> {
    match condition {
        Condition::NoNewNamespaces => vec![
            load(argument(0)),
            jump(IF_ANY_BIT, NEW_NAMESPACES, 1, 0),
            give(Action::ALLOW),
            give(Action::NOT_PERMITTED),
        ],
        Condition::PlainPersonality => one_of(0, PERSONALITIES),
        Condition::UnixSocket => one_of(0, &[AF_UNIX]),
        Condition::OrdinaryAttribute => one_of(0, ATTRIBUTES),
        Condition::DockersSocket => none_of(0, &[AF_ALG, AF_VSOCK]),
        Condition::OrdinarySocket => vec![
            load(argument(0)),
            jump(IF_EQUAL, AF_UNIX, 5, 0),
            jump(IF_EQUAL, AF_INET, 4, 0),
            jump(IF_EQUAL, AF_INET6, 3, 0),
            jump(IF_EQUAL, AF_NETLINK, 0, 3),
            load(argument(2)),
            jump(IF_EQUAL, NETLINK_ROUTE, 0, 1),
            give(Action::ALLOW),
            give(Action::NOT_PERMITTED),
        ],
        Condition::NoTerminalInjection => none_of(1, &[TIOCSTI, TIOCLINUX]),
    }
}

/// Permits the call when the argument is one of `values`.
fn one_of(index: u32, values: &[u32]) -> Vec<Instruction> {
    let mut program = vec![load(argument(index))];
    for value in values {
        program.extend([jump(IF_EQUAL, *value, 0, 1), give(Action::ALLOW)]);
    }
    program.push(give(Action::NOT_PERMITTED));
    program
}

/// Permits the call when the argument is none of `values`.
fn none_of(index: u32, values: &[u32]) -> Vec<Instruction> {
    let mut program = vec![load(argument(index))];
    for value in values {
        program.extend([jump(IF_EQUAL, *value, 0, 1), give(Action::NOT_PERMITTED)]);
    }
    program.push(give(Action::ALLOW));
    program
}

/// The offset of the lower half of an argument, on a little-endian machine.
const fn argument(index: u32) -> u32 {
    ARGUMENTS_OFFSET + 8 * index
}

const fn load(offset: u32) -> Instruction {
    jump(LOAD, offset, 0, 0)
}

const fn give(action: Action) -> Instruction {
    jump(RETURN, action.0, 0, 0)
}

fn jump_over(instructions: usize) -> Instruction {
    jump(JUMP, u32::try_from(instructions).unwrap_or(u32::MAX), 0, 0)
}

const fn jump(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

#[cfg(test)]
mod tests;
