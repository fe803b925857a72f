//! The system calls of the isolation `docker`, and those that capabilities unlock in any.
//!
//! Docker's own policy permits what it knows and names; put the other way round it is short. It is
//! followed in what it refuses, as the documentation of Docker has it ("Seccomp security profiles
//! for Docker") and as its filter was measured.

use syscalls::Sysno;

use super::{Condition, Verdict, capabilities::Set};

/// What no capability unlocks: keyrings, `io_uring`, faults handled in user space, other kernels, and calls
/// that are obsolete or were never there.
#[rustfmt::skip]
const REFUSED: &[&str] = &[
    "_sysctl", "add_key", "afs_syscall", "bdflush", "break", "create_module", "epoll_ctl_old",
    "epoll_wait_old", "ftime", "get_kernel_syms", "getpmsg", "gtty", "idle", "io_uring_enter",
    "io_uring_register", "io_uring_setup", "kexec_file_load", "kexec_load", "keyctl", "lock",
    "migrate_pages", "move_pages", "mpx", "nfsservctl", "pivot_root", "prof", "profil", "putpmsg",
    "query_module", "request_key", "security", "stty", "swapoff", "swapon", "sysfs", "tuxcall",
    "ulimit", "uprobe", "uretprobe", "uselib", "userfaultfd", "ustat", "vm86", "vm86old", "vserver",
];

/// Which calls a capability unlocks: where the kernel itself asks for it, and what is refused without
/// because it reaches too far.
#[rustfmt::skip]
pub(crate) const UNLOCKED: &[(&str, &[&str])] = &[
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("CAP_SYS_ADMIN", &[
        "bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick",
        "lookup_dcookie", "mount", "mount_setattr", "move_mount", "open_tree", "perf_event_open",
        "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns", "syslog", "umount",
        "umount2", "unshare",
    ]),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    ("CAP_SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("CAP_SYS_PACCT", &["acct"]),
    ("CAP_SYS_PTRACE", &[
        "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
    ]),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    ("CAP_SYS_TIME", &[
        "adjtimex", "clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64",
        "settimeofday", "stime",
    ]),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
    ("CAP_SYS_NICE", &[
        "get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node",
        "sched_setattr", "sched_setparam", "sched_setscheduler",
    ]),
    ("CAP_SYSLOG", &["syslog"]),
    ("CAP_BPF", &["bpf"]),
    ("CAP_PERFMON", &["perf_event_open"]),
    ("CAP_IPC_LOCK", &["mlockall", "munlockall"]),
    ("CAP_SYS_RESOURCE", &["ioprio_set"]),
];

/// What Docker leaves to everyone of what capabilities unlock elsewhere.
#[rustfmt::skip]
const OPEN: &[&str] = &[
    "adjtimex", "clock_adjtime", "clock_adjtime64", "clone", "ioprio_set", "mlockall", "munlockall",
    "process_madvise", "ptrace", "sched_setattr", "sched_setparam", "sched_setscheduler",
];

/// What becomes of the call `name`; `None` where it is refused.
pub(super) fn verdict(name: &str, capabilities: Set) -> Option<Verdict> {
    let of_capabilities: Vec<_> =
        UNLOCKED.iter().filter(|(_, calls)| calls.contains(&name)).collect();
    if of_capabilities.iter().any(|(capability, _)| capabilities.has(capability)) {
        return Some(Verdict::Allow);
    }
    match name {
        "clone3" => Some(Verdict::Missing),
        "clone" => Some(Verdict::If(Condition::NoNewNamespaces)),
        "personality" => Some(Verdict::If(Condition::PlainPersonality)),
        "socket" => Some(Verdict::If(Condition::DockersSocket)),
        _ if REFUSED.contains(&name) => None,
        _ if of_capabilities.is_empty() || OPEN.contains(&name) => Some(Verdict::Allow),
        _ => None,
    }
}

/// The numbers of this machine's calls that are not refused, in ascending order.
pub(super) fn native(capabilities: Set) -> Vec<(u32, Verdict)> {
    rows(Sysno::iter().map(|call| (call.id(), call.name())), capabilities)
}

/// Those of the 32-bit programs that the machine runs, too.
#[cfg(target_arch = "x86_64")]
pub(super) fn compatible(capabilities: Set) -> Vec<(u32, Verdict)> {
    use syscalls::x86::Sysno;
    rows(Sysno::iter().map(|call| (call.id(), call.name())), capabilities)
}

fn rows<'a>(calls: impl Iterator<Item = (i32, &'a str)>, capabilities: Set) -> Vec<(u32, Verdict)> {
    calls
        .filter_map(|(number, name)| {
            Some((u32::try_from(number).ok()?, verdict(name, capabilities)?))
        })
        .collect()
}

/// The name of a call of this machine.
pub(super) fn name(number: u32) -> Option<&'static str> {
    Sysno::new(usize::try_from(number).ok()?).map(|call| call.name())
}

/// The number of a call of this machine.
pub(super) fn number(name: &str) -> Option<u32> {
    let call: Sysno = name.parse().ok()?;
    u32::try_from(call.id()).ok()
}
