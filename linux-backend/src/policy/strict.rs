//! The system calls of the isolation `strict`: what a program needs that computes, reads, writes
//! where it may and speaks over Unix sockets.

/// Those of the default table that it keeps, by name, sorted. Without their old forms where C libraries
/// have newer ones, changes of owners and users, links, watches, shared memory of System V, and code that
/// comes from memory alone.
#[rustfmt::skip]
pub(crate) const STRICT: &[&str] = &[
    "accept4", "access", "arch_prctl", "bind", "brk", "chdir", "clock_getres", "clock_gettime",
    "clock_nanosleep", "clone", "clone3", "close", "connect", "dup", "dup2", "dup3",
    "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd2", "execve",
    "execveat", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fchmod", "fchmodat",
    "fchmodat2", "fcntl", "fdatasync", "flock", "fork", "fstat", "fstatfs", "fsync", "ftruncate",
    "futex", "getcwd", "getdents64", "getegid", "geteuid", "getgid", "getgroups", "getpid",
    "getppid", "getrandom", "getrusage", "getsockname", "getsockopt", "gettid", "getuid",
    "io_uring_setup", "ioctl", "kill", "landlock_create_ruleset", "listen", "lseek", "lstat",
    "madvise", "mkdir", "mkdirat", "mlock2", "mmap", "mprotect", "mremap", "mseal", "msync",
    "munmap", "nanosleep", "newfstatat", "open", "openat", "openat2", "pipe2", "poll", "ppoll",
    "prctl", "pread64", "preadv2", "prlimit64", "pselect6", "pwrite64", "pwritev2", "read",
    "readlink", "readlinkat", "recvfrom", "recvmsg", "rename", "renameat2", "restart_syscall",
    "rmdir", "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend",
    "rt_sigtimedwait", "sched_getaffinity", "sched_yield", "select", "sendmsg", "sendto",
    "set_robust_list", "set_tid_address", "setpgid", "setsid", "setsockopt", "shutdown",
    "sigaltstack", "socket", "socketpair", "stat", "statfs", "statx", "sysinfo", "tgkill", "umask",
    "uname", "unlink", "unlinkat", "utimensat", "vfork", "wait4", "waitid", "write", "writev",
];
