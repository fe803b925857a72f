//! The default system calls.
//!
//! The aim: nginx, postgres, redis, python, apt and gcc of Debian run, and what remains is
//! about two thirds of what Docker permits. Left out beside what is privileged anyway are tracing, keyrings,
//! namespaces, `io_uring`, asynchronous I/O, POSIX and System V message queues, real-time
//! scheduling, and old calls whose work newer C libraries do by another call.

use libc::c_long;

/// A row of the table.
pub(crate) struct Syscall {
    pub(crate) name: &'static str,
    pub(crate) number: u32,
    pub(crate) verdict: Verdict,
}

/// What becomes of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Permitted.
    Allow,
    /// Permitted with some arguments.
    If(Condition),
    /// ENOSYS: the caller then does its work by an older call.
    Missing,
}

/// On which arguments a system call is permitted. All of these are `int` or hold their bits in the
/// lower half: the kernel, too, looks at no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The first argument has no `CLONE_NEW*` flag.
    NoNewNamespaces,
    /// The first argument is a personality that leaves address space randomisation and
    /// the protection of memory alone, or asks for the present one.
    PlainPersonality,
    /// A Unix or internet socket, or one that asks the kernel for addresses and routes.
    OrdinarySocket,
    /// A Unix socket.
    UnixSocket,
    /// Any socket but those that speak to the hypervisor (`AF_VSOCK`) or to the kernel's
    /// cryptography (`AF_ALG`).
    DockersSocket,
    /// The request types nothing into a terminal: not TIOCSTI, not TIOCLINUX.
    NoTerminalInjection,
    /// An attribute of the process that widens nothing and leads into no rare code of the kernel.
    OrdinaryAttribute,
}

impl Verdict {
    /// Whether any call gets through.
    pub(crate) const fn permits(self) -> bool {
        !matches!(self, Self::Missing)
    }

    /// The condition in words.
    pub(crate) const fn summary(self) -> Option<&'static str> {
        match self {
            Self::Allow | Self::Missing => None,
            Self::If(condition) => Some(match condition {
                Condition::NoNewNamespaces => "without CLONE_NEW* flags",
                Condition::PlainPersonality => "PER_LINUX and PER_LINUX32, or asking",
                Condition::OrdinarySocket => "AF_UNIX, AF_INET, AF_INET6, NETLINK_ROUTE",
                Condition::UnixSocket => "AF_UNIX",
                Condition::DockersSocket => "not AF_VSOCK, not AF_ALG",
                Condition::NoTerminalInjection => "not TIOCSTI, not TIOCLINUX",
                Condition::OrdinaryAttribute => {
                    "names, signals, capabilities, seccomp, timers, memory labels"
                }
            }),
        }
    }
}

/// The first number that this table does not know: from here on calls are answered with ENOSYS,
/// so that a newer C library falls back (Linux 6.10's last is mseal, 462).
pub(crate) const FIRST_UNKNOWN: u32 = 463;

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked by a test
const fn syscall(name: &'static str, number: c_long, verdict: Verdict) -> Syscall {
    Syscall { name, number: number as u32, verdict }
}

/// Every system call that is not answered with EPERM.
#[rustfmt::skip]
pub(crate) const SYSCALLS: &[Syscall] = &[
    syscall("accept", libc::SYS_accept, Verdict::Allow),
    syscall("accept4", libc::SYS_accept4, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("access", libc::SYS_access, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("alarm", libc::SYS_alarm, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("arch_prctl", libc::SYS_arch_prctl, Verdict::Allow),
    syscall("bind", libc::SYS_bind, Verdict::Allow),
    syscall("brk", libc::SYS_brk, Verdict::Allow),
    syscall("capget", libc::SYS_capget, Verdict::Allow),
    syscall("capset", libc::SYS_capset, Verdict::Allow),
    syscall("chdir", libc::SYS_chdir, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("chmod", libc::SYS_chmod, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("chown", libc::SYS_chown, Verdict::Allow),
    syscall("chroot", libc::SYS_chroot, Verdict::Allow),
    syscall("clock_getres", libc::SYS_clock_getres, Verdict::Allow),
    syscall("clock_gettime", libc::SYS_clock_gettime, Verdict::Allow),
    syscall("clock_nanosleep", libc::SYS_clock_nanosleep, Verdict::Allow),
    syscall("clone", libc::SYS_clone, Verdict::If(Condition::NoNewNamespaces)),
    syscall("clone3", 435, Verdict::Missing),
    syscall("close", libc::SYS_close, Verdict::Allow),
    syscall("close_range", 436, Verdict::Allow),
    syscall("connect", libc::SYS_connect, Verdict::Allow),
    syscall("copy_file_range", libc::SYS_copy_file_range, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("creat", libc::SYS_creat, Verdict::Allow),
    syscall("dup", libc::SYS_dup, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("dup2", libc::SYS_dup2, Verdict::Allow),
    syscall("dup3", libc::SYS_dup3, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("epoll_create", libc::SYS_epoll_create, Verdict::Allow),
    syscall("epoll_create1", libc::SYS_epoll_create1, Verdict::Allow),
    syscall("epoll_ctl", libc::SYS_epoll_ctl, Verdict::Allow),
    syscall("epoll_pwait", libc::SYS_epoll_pwait, Verdict::Allow),
    syscall("epoll_pwait2", 441, Verdict::Missing),
    #[cfg(target_arch = "x86_64")]
    syscall("epoll_wait", libc::SYS_epoll_wait, Verdict::Allow),
    syscall("eventfd2", libc::SYS_eventfd2, Verdict::Allow),
    syscall("execve", libc::SYS_execve, Verdict::Allow),
    syscall("execveat", libc::SYS_execveat, Verdict::Missing),
    syscall("exit", libc::SYS_exit, Verdict::Allow),
    syscall("exit_group", libc::SYS_exit_group, Verdict::Allow),
    syscall("faccessat", libc::SYS_faccessat, Verdict::Allow),
    syscall("faccessat2", 439, Verdict::Allow),
    syscall("fadvise64", libc::SYS_fadvise64, Verdict::Allow),
    syscall("fallocate", libc::SYS_fallocate, Verdict::Allow),
    syscall("fchdir", libc::SYS_fchdir, Verdict::Allow),
    syscall("fchmod", libc::SYS_fchmod, Verdict::Allow),
    syscall("fchmodat", libc::SYS_fchmodat, Verdict::Allow),
    syscall("fchmodat2", 452, Verdict::Missing),
    syscall("fchown", libc::SYS_fchown, Verdict::Allow),
    syscall("fchownat", libc::SYS_fchownat, Verdict::Allow),
    syscall("fcntl", libc::SYS_fcntl, Verdict::Allow),
    syscall("fdatasync", libc::SYS_fdatasync, Verdict::Allow),
    syscall("fgetxattr", libc::SYS_fgetxattr, Verdict::Allow),
    syscall("flistxattr", libc::SYS_flistxattr, Verdict::Allow),
    syscall("flock", libc::SYS_flock, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("fork", libc::SYS_fork, Verdict::Allow),
    syscall("fremovexattr", libc::SYS_fremovexattr, Verdict::Allow),
    syscall("fsetxattr", libc::SYS_fsetxattr, Verdict::Allow),
    syscall("fstat", libc::SYS_fstat, Verdict::Allow),
    syscall("fstatfs", libc::SYS_fstatfs, Verdict::Allow),
    syscall("fsync", libc::SYS_fsync, Verdict::Allow),
    syscall("ftruncate", libc::SYS_ftruncate, Verdict::Allow),
    syscall("futex", libc::SYS_futex, Verdict::Allow),
    syscall("getcwd", libc::SYS_getcwd, Verdict::Allow),
    syscall("getdents64", libc::SYS_getdents64, Verdict::Allow),
    syscall("getegid", libc::SYS_getegid, Verdict::Allow),
    syscall("geteuid", libc::SYS_geteuid, Verdict::Allow),
    syscall("getgid", libc::SYS_getgid, Verdict::Allow),
    syscall("getgroups", libc::SYS_getgroups, Verdict::Allow),
    syscall("getpeername", libc::SYS_getpeername, Verdict::Allow),
    syscall("getpgid", libc::SYS_getpgid, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("getpgrp", libc::SYS_getpgrp, Verdict::Allow),
    syscall("getpid", libc::SYS_getpid, Verdict::Allow),
    syscall("getppid", libc::SYS_getppid, Verdict::Allow),
    syscall("getpriority", libc::SYS_getpriority, Verdict::Allow),
    syscall("getrandom", libc::SYS_getrandom, Verdict::Allow),
    syscall("getresgid", libc::SYS_getresgid, Verdict::Allow),
    syscall("getresuid", libc::SYS_getresuid, Verdict::Allow),
    syscall("getrlimit", libc::SYS_getrlimit, Verdict::Allow),
    syscall("getrusage", libc::SYS_getrusage, Verdict::Allow),
    syscall("getsid", libc::SYS_getsid, Verdict::Allow),
    syscall("getsockname", libc::SYS_getsockname, Verdict::Allow),
    syscall("getsockopt", libc::SYS_getsockopt, Verdict::Allow),
    syscall("gettid", libc::SYS_gettid, Verdict::Allow),
    syscall("gettimeofday", libc::SYS_gettimeofday, Verdict::Allow),
    syscall("getuid", libc::SYS_getuid, Verdict::Allow),
    syscall("getxattr", libc::SYS_getxattr, Verdict::Allow),
    syscall("inotify_add_watch", libc::SYS_inotify_add_watch, Verdict::Allow),
    syscall("inotify_init1", libc::SYS_inotify_init1, Verdict::Allow),
    syscall("inotify_rm_watch", libc::SYS_inotify_rm_watch, Verdict::Allow),
    syscall("io_uring_setup", 425, Verdict::Missing),
    syscall("ioctl", libc::SYS_ioctl, Verdict::If(Condition::NoTerminalInjection)),
    syscall("kill", libc::SYS_kill, Verdict::Allow),
    syscall("landlock_create_ruleset", 444, Verdict::Missing),
    #[cfg(target_arch = "x86_64")]
    syscall("lchown", libc::SYS_lchown, Verdict::Allow),
    syscall("lgetxattr", libc::SYS_lgetxattr, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("link", libc::SYS_link, Verdict::Allow),
    syscall("linkat", libc::SYS_linkat, Verdict::Allow),
    syscall("listen", libc::SYS_listen, Verdict::Allow),
    syscall("listxattr", libc::SYS_listxattr, Verdict::Allow),
    syscall("llistxattr", libc::SYS_llistxattr, Verdict::Allow),
    syscall("lremovexattr", libc::SYS_lremovexattr, Verdict::Allow),
    syscall("lseek", libc::SYS_lseek, Verdict::Allow),
    syscall("lsetxattr", libc::SYS_lsetxattr, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("lstat", libc::SYS_lstat, Verdict::Allow),
    syscall("madvise", libc::SYS_madvise, Verdict::Allow),
    syscall("membarrier", libc::SYS_membarrier, Verdict::Allow),
    syscall("memfd_create", libc::SYS_memfd_create, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("mkdir", libc::SYS_mkdir, Verdict::Allow),
    syscall("mkdirat", libc::SYS_mkdirat, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("mknod", libc::SYS_mknod, Verdict::Allow),
    syscall("mknodat", libc::SYS_mknodat, Verdict::Allow),
    syscall("mlock", libc::SYS_mlock, Verdict::Allow),
    syscall("mlock2", libc::SYS_mlock2, Verdict::Missing),
    syscall("mmap", libc::SYS_mmap, Verdict::Allow),
    syscall("mprotect", libc::SYS_mprotect, Verdict::Allow),
    syscall("mremap", libc::SYS_mremap, Verdict::Allow),
    syscall("mseal", 462, Verdict::Missing),
    syscall("msync", libc::SYS_msync, Verdict::Allow),
    syscall("munlock", libc::SYS_munlock, Verdict::Allow),
    syscall("munmap", libc::SYS_munmap, Verdict::Allow),
    syscall("nanosleep", libc::SYS_nanosleep, Verdict::Allow),
    syscall("newfstatat", libc::SYS_newfstatat, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("open", libc::SYS_open, Verdict::Allow),
    syscall("openat", libc::SYS_openat, Verdict::Allow),
    syscall("openat2", 437, Verdict::Missing),
    #[cfg(target_arch = "x86_64")]
    syscall("pause", libc::SYS_pause, Verdict::Allow),
    syscall("personality", libc::SYS_personality, Verdict::If(Condition::PlainPersonality)),
    syscall("pidfd_open", 434, Verdict::Allow),
    syscall("pidfd_send_signal", 424, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("pipe", libc::SYS_pipe, Verdict::Allow),
    syscall("pipe2", libc::SYS_pipe2, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("poll", libc::SYS_poll, Verdict::Allow),
    syscall("ppoll", libc::SYS_ppoll, Verdict::Allow),
    syscall("prctl", libc::SYS_prctl, Verdict::If(Condition::OrdinaryAttribute)),
    syscall("pread64", libc::SYS_pread64, Verdict::Allow),
    syscall("preadv", libc::SYS_preadv, Verdict::Allow),
    syscall("preadv2", libc::SYS_preadv2, Verdict::Missing),
    syscall("prlimit64", libc::SYS_prlimit64, Verdict::Allow),
    syscall("pselect6", libc::SYS_pselect6, Verdict::Allow),
    syscall("pwrite64", libc::SYS_pwrite64, Verdict::Allow),
    syscall("pwritev", libc::SYS_pwritev, Verdict::Allow),
    syscall("pwritev2", libc::SYS_pwritev2, Verdict::Missing),
    syscall("read", libc::SYS_read, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("readlink", libc::SYS_readlink, Verdict::Allow),
    syscall("readlinkat", libc::SYS_readlinkat, Verdict::Allow),
    syscall("readv", libc::SYS_readv, Verdict::Allow),
    syscall("recvfrom", libc::SYS_recvfrom, Verdict::Allow),
    syscall("recvmmsg", libc::SYS_recvmmsg, Verdict::Allow),
    syscall("recvmsg", libc::SYS_recvmsg, Verdict::Allow),
    syscall("removexattr", libc::SYS_removexattr, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("rename", libc::SYS_rename, Verdict::Allow),
    syscall("renameat", libc::SYS_renameat, Verdict::Allow),
    syscall("renameat2", libc::SYS_renameat2, Verdict::Allow),
    syscall("restart_syscall", libc::SYS_restart_syscall, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("rmdir", libc::SYS_rmdir, Verdict::Allow),
    syscall("rseq", libc::SYS_rseq, Verdict::Allow),
    syscall("rt_sigaction", libc::SYS_rt_sigaction, Verdict::Allow),
    syscall("rt_sigprocmask", libc::SYS_rt_sigprocmask, Verdict::Allow),
    syscall("rt_sigreturn", libc::SYS_rt_sigreturn, Verdict::Allow),
    syscall("rt_sigsuspend", libc::SYS_rt_sigsuspend, Verdict::Allow),
    syscall("rt_sigtimedwait", libc::SYS_rt_sigtimedwait, Verdict::Allow),
    syscall("sched_getaffinity", libc::SYS_sched_getaffinity, Verdict::Allow),
    syscall("sched_setaffinity", libc::SYS_sched_setaffinity, Verdict::Allow),
    syscall("sched_yield", libc::SYS_sched_yield, Verdict::Allow),
    syscall("seccomp", libc::SYS_seccomp, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("select", libc::SYS_select, Verdict::Allow),
    syscall("semctl", libc::SYS_semctl, Verdict::Allow),
    syscall("semget", libc::SYS_semget, Verdict::Allow),
    syscall("semop", libc::SYS_semop, Verdict::Allow),
    syscall("sendfile", libc::SYS_sendfile, Verdict::Allow),
    syscall("sendmmsg", libc::SYS_sendmmsg, Verdict::Allow),
    syscall("sendmsg", libc::SYS_sendmsg, Verdict::Allow),
    syscall("sendto", libc::SYS_sendto, Verdict::Allow),
    syscall("set_robust_list", libc::SYS_set_robust_list, Verdict::Allow),
    syscall("set_tid_address", libc::SYS_set_tid_address, Verdict::Allow),
    syscall("setgid", libc::SYS_setgid, Verdict::Allow),
    syscall("setgroups", libc::SYS_setgroups, Verdict::Allow),
    syscall("setitimer", libc::SYS_setitimer, Verdict::Allow),
    syscall("setpgid", libc::SYS_setpgid, Verdict::Allow),
    syscall("setpriority", libc::SYS_setpriority, Verdict::Allow),
    syscall("setregid", libc::SYS_setregid, Verdict::Allow),
    syscall("setresgid", libc::SYS_setresgid, Verdict::Allow),
    syscall("setresuid", libc::SYS_setresuid, Verdict::Allow),
    syscall("setreuid", libc::SYS_setreuid, Verdict::Allow),
    syscall("setrlimit", libc::SYS_setrlimit, Verdict::Allow),
    syscall("setsid", libc::SYS_setsid, Verdict::Allow),
    syscall("setsockopt", libc::SYS_setsockopt, Verdict::Allow),
    syscall("setuid", libc::SYS_setuid, Verdict::Allow),
    syscall("setxattr", libc::SYS_setxattr, Verdict::Allow),
    syscall("shmat", libc::SYS_shmat, Verdict::Allow),
    syscall("shmctl", libc::SYS_shmctl, Verdict::Allow),
    syscall("shmdt", libc::SYS_shmdt, Verdict::Allow),
    syscall("shmget", libc::SYS_shmget, Verdict::Allow),
    syscall("shutdown", libc::SYS_shutdown, Verdict::Allow),
    syscall("sigaltstack", libc::SYS_sigaltstack, Verdict::Allow),
    syscall("signalfd4", libc::SYS_signalfd4, Verdict::Allow),
    syscall("socket", libc::SYS_socket, Verdict::If(Condition::OrdinarySocket)),
    syscall("socketpair", libc::SYS_socketpair, Verdict::If(Condition::UnixSocket)),
    syscall("splice", libc::SYS_splice, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("stat", libc::SYS_stat, Verdict::Allow),
    syscall("statfs", libc::SYS_statfs, Verdict::Allow),
    syscall("statx", libc::SYS_statx, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("symlink", libc::SYS_symlink, Verdict::Allow),
    syscall("symlinkat", libc::SYS_symlinkat, Verdict::Allow),
    syscall("sync", libc::SYS_sync, Verdict::Allow),
    syscall("sync_file_range", libc::SYS_sync_file_range, Verdict::Allow),
    syscall("sysinfo", libc::SYS_sysinfo, Verdict::Allow),
    syscall("tgkill", libc::SYS_tgkill, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("time", libc::SYS_time, Verdict::Allow),
    syscall("timer_create", libc::SYS_timer_create, Verdict::Allow),
    syscall("timer_delete", libc::SYS_timer_delete, Verdict::Allow),
    syscall("timer_settime", libc::SYS_timer_settime, Verdict::Allow),
    syscall("timerfd_create", libc::SYS_timerfd_create, Verdict::Allow),
    syscall("timerfd_settime", libc::SYS_timerfd_settime, Verdict::Allow),
    syscall("times", libc::SYS_times, Verdict::Allow),
    syscall("tkill", libc::SYS_tkill, Verdict::Allow),
    syscall("truncate", libc::SYS_truncate, Verdict::Allow),
    syscall("umask", libc::SYS_umask, Verdict::Allow),
    syscall("uname", libc::SYS_uname, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("unlink", libc::SYS_unlink, Verdict::Allow),
    syscall("unlinkat", libc::SYS_unlinkat, Verdict::Allow),
    syscall("unshare", libc::SYS_unshare, Verdict::If(Condition::NoNewNamespaces)),
    syscall("utimensat", libc::SYS_utimensat, Verdict::Allow),
    #[cfg(target_arch = "x86_64")]
    syscall("vfork", libc::SYS_vfork, Verdict::Allow),
    syscall("wait4", libc::SYS_wait4, Verdict::Allow),
    syscall("waitid", libc::SYS_waitid, Verdict::Allow),
    syscall("write", libc::SYS_write, Verdict::Allow),
    syscall("writev", libc::SYS_writev, Verdict::Allow),
];
