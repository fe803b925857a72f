//! bpf(2): the program that a cgroup asks about devices.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::check;

/// One instruction of eBPF, `struct bpf_insn` of linux/bpf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct BpfInstruction {
    pub(crate) code: u8,
    /// That which is written to in the lower half, that which is read in the upper.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) operand: i32,
}

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Those of the cgroups above hold as well, whatever this one says.
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes the rest as zeros.
#[repr(C)]
struct Load {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The same for `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Has the cgroup v2 of `directory` ask `program` whether a device may be opened or made. It does so until
/// it is removed.
pub(crate) fn guard_devices(
    directory: BorrowedFd<'_>,
    program: &[BpfInstruction],
) -> Result<(), Errno> {
    let loaded = load(program)?;
    let attach = Attach {
        target: directory.as_raw_fd().unsigned_abs(),
        program: loaded.as_raw_fd().unsigned_abs(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the kernel reads as many bytes of `attach` as its size says, and it holds no pointer.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attach, size_of::<Attach>())
    };
    check(result).map(drop)
}

fn load(program: &[BpfInstruction]) -> Result<OwnedFd, Errno> {
    let load = Load {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        instructions: program.as_ptr() as u64,
        // It matters for functions that the program does not call.
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads as many bytes of `load` as its size says. `BpfInstruction` has the layout of
    // `bpf_insn`, of which there are as many at `instructions` as `count` says; the license is a C
    // string. All outlive the call, and there is no log to write to.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>()) };
    let descriptor = check(result)?;
    let descriptor = i32::try_from(descriptor).map_err(|_| Errno::BADF)?;
    // SAFETY: on success it is a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

const _: () = assert!(size_of::<BpfInstruction>() == 8);
