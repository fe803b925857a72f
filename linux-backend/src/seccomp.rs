//! From the table of system calls to a seccomp filter (seccomp(2), BPF).
//!
//! The kernel runs the filter on every call whose answer depends on arguments, and once per
//! number at installation to learn which do not. A list of comparisons is slow at both, so the
//! numbers are cut into ranges of equal answers and found by bisection.

use std::fmt;

use crate::{
    policy::{Condition, FIRST_UNKNOWN, SYSCALLS, Verdict},
    sys::Instruction,
};

/// A compiled filter.
#[derive(PartialEq, Eq)]
pub(crate) struct Filter(Vec<Instruction>);

impl Filter {
    pub(crate) fn instructions(&self) -> &[Instruction] {
        &self.0
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter(..)")
    }
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64

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
const NETLINK_ROUTE: u32 = 0;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

/// What a call is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Allow,
    NotPermitted,
    NoSuchCall,
    Kill,
    If(Condition),
}

impl Answer {
    /// The return value of the filter.
    const fn code(self) -> u32 {
        match self {
            Self::Allow => 0x7fff_0000,                   // SECCOMP_RET_ALLOW
            Self::NotPermitted | Self::If(_) => 0x5_0001, // SECCOMP_RET_ERRNO | EPERM
            Self::NoSuchCall => 0x5_0026,                 // SECCOMP_RET_ERRNO | ENOSYS
            Self::Kill => 0x8000_0000,                    // SECCOMP_RET_KILL_PROCESS
        }
    }
}

/// The filter of the default policy.
pub(crate) fn default_filter() -> Filter {
    let mut program = vec![
        load(ARCHITECTURE_OFFSET),
        jump(IF_EQUAL, ARCHITECTURE, 1, 0),
        give(Answer::Kill),
        load(NUMBER_OFFSET),
    ];
    program.extend(search(&ranges()));
    Filter(program)
}

/// The first number of each range of equal answers, and the answer. The first is 0.
fn ranges() -> Vec<(u32, Answer)> {
    let mut table: Vec<_> =
        SYSCALLS.iter().map(|call| (call.number, answer(call.verdict))).collect();
    table.sort_unstable_by_key(|&(number, _)| number);
    let mut ranges = Vec::new();
    let mut next = 0;
    for (number, answer) in table {
        if number > next {
            push(&mut ranges, next, Answer::NotPermitted);
        }
        push(&mut ranges, number, answer);
        next = number + 1;
    }
    if next < FIRST_UNKNOWN {
        push(&mut ranges, next, Answer::NotPermitted);
    }
    push(&mut ranges, FIRST_UNKNOWN, Answer::NoSuchCall);
    if let Some(bit) = OTHER_ABI {
        push(&mut ranges, bit, Answer::Kill);
    }
    ranges
}

fn push(ranges: &mut Vec<(u32, Answer)>, first: u32, answer: Answer) {
    if ranges.last().is_none_or(|&(_, last)| last != answer) {
        ranges.push((first, answer));
    }
}

const fn answer(verdict: Verdict) -> Answer {
    match verdict {
        Verdict::Allow => Answer::Allow,
        Verdict::If(condition) => Answer::If(condition),
        Verdict::Missing => Answer::NoSuchCall,
    }
}

/// Finds the range of the number in the accumulator and answers.
fn search(ranges: &[(u32, Answer)]) -> Vec<Instruction> {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let Some(&(first, answer)) = upper.first() else { return vec![give(Answer::NotPermitted)] };
    if lower.is_empty() {
        return leaf(answer);
    }
    let lower = search(lower);
    let mut program = match u8::try_from(lower.len()) {
        Ok(distance) => vec![jump(IF_AT_LEAST, first, distance, 0)],
        // A conditional jump reaches 255 instructions; an unconditional one any.
        Err(_) => vec![
            jump(IF_AT_LEAST, first, 0, 1),
            Instruction {
                operand: u32::try_from(lower.len()).unwrap_or(u32::MAX),
                ..jump(JUMP, 0, 0, 0)
            },
        ],
    };
    program.extend(lower);
    program.extend(search(upper));
    program
}

fn leaf(answer: Answer) -> Vec<Instruction> {
    match answer {
        Answer::If(condition) => check(condition),
        plain => vec![give(plain)],
    }
}

/// Looks at the arguments and answers.
fn check(condition: Condition) -> Vec<Instruction> {
    match condition {
        Condition::NoNewNamespaces => vec![
            load(argument(0)),
            jump(IF_ANY_BIT, NEW_NAMESPACES, 1, 0),
            give(Answer::Allow),
            give(Answer::NotPermitted),
        ],
        Condition::PlainPersonality => one_of(0, PERSONALITIES),
        Condition::UnixSocket => one_of(0, &[AF_UNIX]),
        Condition::OrdinarySocket => vec![
            load(argument(0)),
            jump(IF_EQUAL, AF_UNIX, 5, 0),
            jump(IF_EQUAL, AF_INET, 4, 0),
            jump(IF_EQUAL, AF_INET6, 3, 0),
            jump(IF_EQUAL, AF_NETLINK, 0, 3),
            load(argument(2)),
            jump(IF_EQUAL, NETLINK_ROUTE, 0, 1),
            give(Answer::Allow),
            give(Answer::NotPermitted),
        ],
        Condition::NoTerminalInjection => vec![
            load(argument(1)),
            jump(IF_EQUAL, TIOCSTI, 2, 0),
            jump(IF_EQUAL, TIOCLINUX, 1, 0),
            give(Answer::Allow),
            give(Answer::NotPermitted),
        ],
    }
}

/// Permits the call when the argument is one of `values`.
fn one_of(index: u32, values: &[u32]) -> Vec<Instruction> {
    let mut program = vec![load(argument(index))];
    for value in values {
        program.extend([jump(IF_EQUAL, *value, 0, 1), give(Answer::Allow)]);
    }
    program.push(give(Answer::NotPermitted));
    program
}

/// The offset of the lower half of an argument, on a little-endian machine.
const fn argument(index: u32) -> u32 {
    ARGUMENTS_OFFSET + 8 * index
}

const fn load(offset: u32) -> Instruction {
    jump(LOAD, offset, 0, 0)
}

const fn give(answer: Answer) -> Instruction {
    jump(RETURN, answer.code(), 0, 0)
}

const fn jump(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel's interpreter would return.
    fn run(filter: &Filter, architecture: u32, number: u32, args: [u32; 3]) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = filter.0[at];
            at += 1;
            let taken = match instruction.code {
                LOAD => {
                    accumulator = match instruction.operand {
                        NUMBER_OFFSET => number,
                        ARCHITECTURE_OFFSET => architecture,
                        offset => args[((offset - ARGUMENTS_OFFSET) / 8) as usize],
                    };
                    continue;
                }
                RETURN => return instruction.operand,
                JUMP => {
                    at += instruction.operand as usize;
                    continue;
                }
                IF_EQUAL => accumulator == instruction.operand,
                IF_AT_LEAST => accumulator >= instruction.operand,
                IF_ANY_BIT => accumulator & instruction.operand != 0,
                other => panic!("unknown instruction {other:#x}"),
            };
            at += usize::from(if taken { instruction.jump_true } else { instruction.jump_false });
        }
    }

    fn call(number: libc::c_long, args: [u32; 3]) -> u32 {
        run(&default_filter(), ARCHITECTURE, u32::try_from(number).unwrap(), args)
    }

    const ALLOW: u32 = Answer::Allow.code();
    const NOT_PERMITTED: u32 = Answer::NotPermitted.code();
    const NO_SUCH_CALL: u32 = Answer::NoSuchCall.code();
    const KILL: u32 = Answer::Kill.code();

    #[test]
    fn the_filter_answers_every_number_as_the_table_does() {
        let filter = default_filter();
        for number in 0..FIRST_UNKNOWN + 100 {
            let row = SYSCALLS.iter().find(|call| call.number == number);
            let expected = match row.map(|call| call.verdict) {
                Some(Verdict::If(_)) => continue,
                Some(verdict) => answer(verdict).code(),
                None if number >= FIRST_UNKNOWN => NO_SUCH_CALL,
                None => NOT_PERMITTED,
            };
            assert_eq!(run(&filter, ARCHITECTURE, number, [0; 3]), expected, "{number}");
        }
    }

    #[test]
    fn other_abis_are_killed() {
        let filter = default_filter();
        assert_eq!(run(&filter, 0x4000_0003, 20, [0; 3]), KILL);
        #[cfg(target_arch = "x86_64")]
        for number in [0x4000_0000, 0x4000_0027, 0x4000_0fff] {
            assert_eq!(run(&filter, ARCHITECTURE, number, [0; 3]), KILL);
        }
    }

    #[test]
    fn no_call_makes_a_namespace() {
        for flag in (0..32).map(|bit| 1u32 << bit).filter(|flag| NEW_NAMESPACES & flag != 0) {
            assert_eq!(call(libc::SYS_clone, [flag | 0x11, 0, 0]), NOT_PERMITTED);
            assert_eq!(call(libc::SYS_unshare, [flag, 0, 0]), NOT_PERMITTED);
        }
        assert_eq!(call(libc::SYS_clone, [0x0120_0011, 0, 0]), ALLOW);
        assert_eq!(call(libc::SYS_clone, [0x003d_0f00, 0, 0]), ALLOW);
        assert_eq!(call(libc::SYS_clone3, [0; 3]), NO_SUCH_CALL);
        assert_eq!(call(libc::SYS_setns, [0; 3]), NOT_PERMITTED);
    }

    #[test]
    fn sockets_are_of_ordinary_families() {
        for family in [AF_UNIX, AF_INET, AF_INET6] {
            assert_eq!(call(libc::SYS_socket, [family, 1, 6]), ALLOW);
        }
        assert_eq!(call(libc::SYS_socket, [AF_NETLINK, 3, NETLINK_ROUTE]), ALLOW);
        for (family, protocol) in [(AF_NETLINK, 12), (17, 0), (38, 0), (40, 0), (0, 0)] {
            assert_eq!(call(libc::SYS_socket, [family, 3, protocol]), NOT_PERMITTED, "{family}");
        }
        assert_eq!(call(libc::SYS_socketpair, [AF_UNIX, 1, 0]), ALLOW);
        assert_eq!(call(libc::SYS_socketpair, [30, 1, 0]), NOT_PERMITTED);
    }

    #[test]
    fn nothing_is_typed_into_a_terminal() {
        assert_eq!(call(libc::SYS_ioctl, [0, TIOCSTI, 0]), NOT_PERMITTED);
        assert_eq!(call(libc::SYS_ioctl, [0, TIOCLINUX, 0]), NOT_PERMITTED);
        assert_eq!(call(libc::SYS_ioctl, [0, 0x5401, 0]), ALLOW);
    }

    #[test]
    fn a_personality_weakens_nothing() {
        assert_eq!(call(libc::SYS_personality, [u32::MAX, 0, 0]), ALLOW);
        assert_eq!(call(libc::SYS_personality, [0x004_0000, 0, 0]), NOT_PERMITTED);
        assert_eq!(call(libc::SYS_personality, [0x040_0000, 0, 0]), NOT_PERMITTED);
    }
}
