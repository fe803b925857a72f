use silo_isolation::Security;

use super::*;
use crate::policy::{Policy, SYSCALLS};

/// What the kernel's interpreter would return.
pub(super) fn run(filter: &Filter, architecture: u32, number: u32, args: [u64; 6]) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let instruction = filter.program[at];
        at += 1;
        let taken = match instruction.code {
            LOAD => {
                accumulator = match instruction.operand {
                    NUMBER_OFFSET => number,
                    ARCHITECTURE_OFFSET => architecture,
                    offset => {
                        let offset = offset - ARGUMENTS_OFFSET;
                        let argument = args[(offset / 8) as usize];
                        halves(argument >> (8 * (offset % 8))).1
                    }
                };
                continue;
            }
            RETURN => return instruction.operand,
            JUMP => {
                at += instruction.operand as usize;
                continue;
            }
            AND => {
                accumulator &= instruction.operand;
                continue;
            }
            IF_GREATER => accumulator > instruction.operand,
            IF_EQUAL => accumulator == instruction.operand,
            IF_AT_LEAST => accumulator >= instruction.operand,
            IF_ANY_BIT => accumulator & instruction.operand != 0,
            other => panic!("unknown instruction {other:#x}"),
        };
        at += usize::from(if taken { instruction.jump_true } else { instruction.jump_false });
    }
}

fn default_filter() -> Filter {
    Policy::of(&Security::default()).unwrap().filter.unwrap()
}

fn call(number: libc::c_long, args: [u32; 3]) -> u32 {
    let [a, b, c] = args.map(u64::from);
    run(&default_filter(), NATIVE, u32::try_from(number).unwrap(), [a, b, c, 0, 0, 0])
}

const ALLOW: u32 = Action::ALLOW.0;
const NOT_PERMITTED: u32 = Action::NOT_PERMITTED.0;
const NO_SUCH_CALL: u32 = Action::NO_SUCH_CALL.0;
const KILL: u32 = Action::KILL.0;

#[test]
fn the_filter_answers_every_number_as_the_table_does() {
    let filter = default_filter();
    for number in 0..FIRST_UNKNOWN + 100 {
        let row = SYSCALLS.iter().find(|call| call.number == number);
        let expected = match row.map(|call| call.verdict) {
            Some(Verdict::If(_)) => continue,
            Some(Verdict::Allow) => ALLOW,
            Some(Verdict::Missing) => NO_SUCH_CALL,
            None if number >= FIRST_UNKNOWN => NO_SUCH_CALL,
            None => NOT_PERMITTED,
        };
        assert_eq!(run(&filter, NATIVE, number, [0; 6]), expected, "{number}");
    }
}

#[test]
fn other_abis_are_killed() {
    let filter = default_filter();
    assert_eq!(run(&filter, COMPATIBLE, 20, [0; 6]), KILL);
    #[cfg(target_arch = "x86_64")]
    for number in [0x4000_0000, 0x4000_0027, 0x4000_0fff] {
        assert_eq!(run(&filter, NATIVE, number, [0; 6]), KILL);
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
