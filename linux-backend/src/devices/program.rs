//! The program that version 2 of cgroups asks about a device (`BPF_PROG_TYPE_CGROUP_DEVICE`, Linux 4.15).
//!
//! It is given the address of three words (linux/bpf.h, `struct bpf_cgroup_dev_ctx`): the access in the
//! upper half of the first and the kind of device in the lower, the major number, the minor one. It
//! answers 1 where that is permitted, else 0.

use silo_isolation::DeviceAccess;

use super::{DeviceList, Exception};
use crate::sys::BpfInstruction as Instruction;

const BLOCK: i32 = 1;
const CHAR: i32 = 2;

const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;

/// Registers. The program is called with its argument in the second, and answers in the first.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
/// Free once the words are read.
const SCRATCH: u8 = CONTEXT;

// Operations of 32 bits: a class, how the operand is given, and what is done (linux/bpf_common.h, linux/bpf.h).
const LOAD_WORD: u8 = 0x61; // LDX | MEM | W
const MOVE: u8 = 0xb4; // ALU | MOV | K
const MOVE_REGISTER: u8 = 0xbc; // ALU | MOV | X
const AND: u8 = 0x54; // ALU | AND | K
const SHIFT_RIGHT: u8 = 0x74; // ALU | RSH | K
const JUMP_UNEQUAL: u8 = 0x56; // JMP32 | JNE | K
const JUMP_UNEQUAL_REGISTER: u8 = 0x5e; // JMP32 | JNE | X
const JUMP_EQUAL: u8 = 0x16; // JMP32 | JEQ | K
const EXIT: u8 = 0x95; // JMP | EXIT

const fn operation(code: u8, to: u8, from: u8, offset: i16, operand: i32) -> Instruction {
    Instruction { code, registers: from << 4 | to, offset, operand }
}

/// The program of `list`.
pub(crate) fn compile(list: &DeviceList) -> Vec<Instruction> {
    let mut program = vec![
        operation(LOAD_WORD, KIND, CONTEXT, 0, 0),
        operation(MOVE_REGISTER, ACCESS, KIND, 0, 0),
        operation(AND, KIND, 0, 0, 0xffff),
        operation(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        operation(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        operation(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for exception in &list.exceptions {
        program.extend(except(exception, list.allows_by_default));
    }
    program.extend(answer(list.allows_by_default));
    program
}

fn answer(allow: bool) -> [Instruction; 2] {
    [operation(MOVE, RESULT, 0, 0, i32::from(allow)), operation(EXIT, 0, 0, 0, 0)]
}

/// Answers for the devices of `exception`, and goes on to what follows for all others.
fn except(exception: &Exception, allows_by_default: bool) -> Vec<Instruction> {
    let numbers = exception.numbers;
    let kind = if numbers.block { BLOCK } else { CHAR };
    let mut part = vec![operation(JUMP_UNEQUAL, KIND, 0, 0, kind)];
    // All 32 bits are compared, whatever their sign.
    let number =
        |register, number: u32| operation(JUMP_UNEQUAL, register, 0, 0, number.cast_signed());
    part.extend(numbers.major.map(|major| number(MAJOR, major)));
    part.extend(numbers.minor.map(|minor| number(MINOR, minor)));
    if exception.access != DeviceAccess::ALL {
        part.extend([
            operation(MOVE_REGISTER, SCRATCH, ACCESS, 0, 0),
            operation(AND, SCRATCH, 0, 0, bits(exception.access)),
            // To permit takes all that is wanted, to forbid some of it.
            if allows_by_default {
                operation(JUMP_EQUAL, SCRATCH, 0, 0, 0)
            } else {
                operation(JUMP_UNEQUAL_REGISTER, SCRATCH, ACCESS, 0, 0)
            },
        ]);
    }
    part.extend(answer(!allows_by_default));
    skip_to_end(&mut part);
    part
}

/// Has every jump lead behind the last instruction.
fn skip_to_end(part: &mut [Instruction]) {
    let length = part.len();
    for (index, instruction) in part.iter_mut().enumerate() {
        if matches!(instruction.code, JUMP_UNEQUAL | JUMP_UNEQUAL_REGISTER | JUMP_EQUAL) {
            // A part is ten instructions at most.
            instruction.offset = i16::try_from(length - index - 1).unwrap_or_default();
        }
    }
}

fn bits(access: DeviceAccess) -> i32 {
    let bit = |is_set, bit| if is_set { bit } else { 0 };
    bit(access.mknod, MKNOD) | bit(access.read, READ) | bit(access.write, WRITE)
}

#[cfg(test)]
mod tests {
    use silo_isolation::DeviceRule;

    use super::{
        super::{Id, RULES},
        *,
    };

    /// What the kernel's interpreter does with what is used of its instructions.
    fn answers(program: &[Instruction], id: Id, access: DeviceAccess) -> bool {
        let kind = if id.block { BLOCK } else { CHAR };
        let context = [bits(access) << 16 | kind, id.major.cast_signed(), id.minor.cast_signed()];
        let mut registers = [0i32; 11];
        let mut at = 0;
        loop {
            let Instruction { code, registers: pair, offset, operand } = program[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let skip = at + usize::try_from(offset).unwrap();
            at += 1;
            match code {
                LOAD_WORD => registers[to] = context[usize::try_from(offset).unwrap() / 4],
                MOVE => registers[to] = operand,
                MOVE_REGISTER => registers[to] = registers[from],
                AND => registers[to] &= operand,
                SHIFT_RIGHT => registers[to] >>= operand,
                JUMP_UNEQUAL if registers[to] != operand => at = skip + 1,
                JUMP_UNEQUAL_REGISTER if registers[to] != registers[from] => at = skip + 1,
                JUMP_EQUAL if registers[to] == operand => at = skip + 1,
                JUMP_UNEQUAL | JUMP_UNEQUAL_REGISTER | JUMP_EQUAL => {}
                EXIT => return registers[0] == 1,
                code => panic!("no such instruction: {code:#x}"),
            }
        }
    }

    fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
        compile(&DeviceList::of(rules).unwrap())
    }

    fn char(major: u32, minor: u32) -> Id {
        Id { block: false, major, minor }
    }

    #[test]
    fn the_default_devices_open_and_no_others() {
        let program = program(RULES);
        let access = |text: &str| text.parse::<DeviceAccess>().unwrap();
        for (id, text, expected) in [
            (char(1, 3), "rw", true),
            (char(1, 3), "m", true),
            (char(136, 77), "rw", true),
            (char(5, 2), "rw", true),
            (char(1, 1), "r", false),
            (char(10, 229), "rw", false),
            (char(10, 229), "m", true),
            (char(10, 229), "rm", false),
            (Id { block: true, major: 1, minor: 3 }, "r", false),
            (Id { block: true, major: 8, minor: 0 }, "m", true),
        ] {
            assert_eq!(answers(&program, id, access(text)), expected, "{id:?} {text}");
        }
    }

    #[test]
    fn what_is_excepted_from_all_devices_is_refused_by_any_part_of_it() {
        let all: DeviceRule = "a *:* rwm".parse().unwrap();
        let write: DeviceRule = "b 8:16 w".parse().unwrap();
        let program = program(&[all, DeviceRule { allow: false, ..write }]);
        let access = |text: &str| text.parse::<DeviceAccess>().unwrap();
        let disk = Id { block: true, major: 8, minor: 16 };
        assert!(answers(&program, disk, access("r")) && answers(&program, disk, access("m")));
        assert!(!answers(&program, disk, access("w")) && !answers(&program, disk, access("rw")));
        assert!(answers(&program, char(8, 16), access("w")));
    }

    #[test]
    fn numbers_beyond_the_signed_ones_are_compared_as_they_are() {
        let rule: DeviceRule = "c 4294967295:2147483648 r".parse().unwrap();
        let access = "r".parse().unwrap();
        assert!(answers(&program(std::slice::from_ref(&rule)), char(u32::MAX, 1 << 31), access));
        assert!(!answers(&program(&[rule]), char(u32::MAX, 1), access));
    }
}
