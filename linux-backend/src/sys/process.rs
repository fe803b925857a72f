//! clone3(2), execve(2), signals and capabilities.

use std::{
    convert::Infallible,
    ffi::{CStr, CString, c_char},
    fmt,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use rustix::io::Errno;

use super::check;

/// A process that [`clone`] made.
#[derive(Debug)]
pub(crate) struct Cloned {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

/// Where a cloned process goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Where<'fd> {
    /// Under this process, in new namespaces: `CLONE_NEW*`.
    Child {
        namespaces: u32,
        /// The cgroup v2 directory that it starts in (Linux 5.7).
        cgroup: Option<BorrowedFd<'fd>>,
    },
    /// Under this process, and in its table of file descriptors.
    Helper,
    /// Beside this process, under the same parent, in new namespaces.
    Sibling {
        namespaces: u32,
        /// The cgroup v2 directory that it starts in (Linux 5.7).
        cgroup: Option<BorrowedFd<'fd>>,
    },
}

// Flags beyond the lower 32 bits of clone3(2), for which libc's type is too narrow.
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// All eight namespaces.
const CLONE_NEW: i32 = 0x7e02_0080;

/// Clones this process; the copy runs `child` and ends.
///
/// Of a parent with several threads the copy has but one, and locks that the others
/// held stay locked in it: `child` must neither allocate nor lock nor panic.
pub(crate) fn clone(place: Where<'_>, child: impl FnOnce() -> Infallible) -> Result<Cloned, Errno> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is numbers, for which zero means absent.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.pidfd = (&raw mut pidfd) as u64;
    let flags = libc::CLONE_PIDFD as u64;
    if let Where::Child { cgroup: Some(cgroup), .. } | Where::Sibling { cgroup: Some(cgroup), .. } =
        place
    {
        args.flags = CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    match place {
        Where::Child { namespaces, .. } => {
            args.flags |= flags | CLONE_CLEAR_SIGHAND | u64::from(namespaces);
            args.exit_signal = libc::SIGCHLD as u64;
        }
        Where::Helper => {
            args.flags = flags | CLONE_CLEAR_SIGHAND | libc::CLONE_FILES as u64;
            args.exit_signal = libc::SIGCHLD as u64;
        }
        // Of a sibling the parent is sent what it is sent of this process.
        Where::Sibling { namespaces, .. } => {
            args.flags |=
                flags | CLONE_CLEAR_SIGHAND | libc::CLONE_PARENT as u64 | u64::from(namespaces);
        }
    }
    // SAFETY: without CLONE_VM and with no stack given, the child is a copy of this process
    // that returns here as after fork(2). `args` outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    let pid = check(result)?;
    if pid == 0 {
        child();
    }
    // SAFETY: on success the kernel stored a new descriptor, which nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    #[allow(clippy::cast_possible_truncation)] // a pid is an int
    Ok(Cloned { pid: pid as i32, pidfd })
}

/// Ends this process at once: no destructor, no exit handler.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// A null-terminated array of C strings, as execve(2) takes it.
pub(crate) struct Strings {
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        // A CString's bytes are on the heap: moving it moves none of them.
        let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        pointers.push(ptr::null());
        Self { strings, pointers }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &CStr> {
        self.strings.iter().map(CString::as_c_str)
    }
}

impl fmt::Debug for Strings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Replaces this process's program; returns only to say why it did not.
pub(crate) fn execute(path: &CStr, args: &Strings, env: &Strings) -> Errno {
    // SAFETY: all three are C strings or null-terminated arrays of them that outlive the call.
    let result =
        unsafe { libc::execve(path.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    check(result.into()).err().unwrap_or(Errno::INVAL)
}

/// Has this process run another program, found by its descriptor (execveat(2)); returns only to say
/// why it does not.
pub(crate) fn execute_descriptor(program: BorrowedFd<'_>, args: &Strings, env: &Strings) -> Errno {
    // SAFETY: as for `execute`; the path is a C string.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            args.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    check(result).err().unwrap_or(Errno::INVAL)
}

/// The kind of a namespace that is open: `CLONE_NEW*` (`NS_GET_NSTYPE`, `ioctl_nsfs(2)`).
pub(crate) fn namespace_kind(namespace: BorrowedFd<'_>) -> Result<u32, Errno> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the request takes no argument, and returns a number.
    let result = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE as _) };
    let kind = check(result.into())?;
    u32::try_from(kind).map_err(|_| Errno::INVAL)
}

/// Gives this process a session keyring of its own, with none of the keys of the one that it had
/// (`keyctl_join_session_keyring(3)`).
pub(crate) fn join_keyring() -> Result<(), Errno> {
    // SAFETY: a null name asks for an anonymous keyring; the others are numbers.
    let result = unsafe {
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<c_char>())
    };
    check(result).map(drop)
}

/// Sets the execution domain of this process (personality(2)).
pub(crate) fn set_personality(personality: u32) -> Result<(), Errno> {
    // SAFETY: personality takes a number.
    let result = unsafe { libc::personality(personality.into()) };
    check(result.into()).map(drop)
}

/// Gives every signal its default action and blocks none: what was ignored or blocked in the
/// parent would else stay so over execve(2).
pub(crate) fn reset_signals() {
    // The kernel's struct sigaction and its set of signals, of zeros: SIG_DFL, no flag, none
    // blocked. The C library's own calls spare the two signals that it uses itself.
    let default = [0u64; 4];
    let size = size_of::<u64>();
    for signal in 1..=64 {
        // SAFETY: `default` is as large as the structure on any architecture and is only read.
        // SIG_DFL runs no code of this process. KILL and STOP are refused, which is as well.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null_mut::<u64>(),
                size,
            )
        };
    }
    // SAFETY: the set is 8 bytes, as `size` says, and only read.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            default.as_ptr(),
            ptr::null_mut::<u64>(),
            size,
        )
    };
}

/// Marks every descriptor from `first` on to be closed by execve(2) (Linux 5.11).
pub(crate) fn set_close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: changes a flag of descriptors and touches no memory.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    check(result).map(drop)
}

/// Closes, in a cloned process, every descriptor from `first` on but `kept` (`close_range(2)`, Linux 5.9).
pub(crate) fn close_others(first: u32, kept: BorrowedFd<'_>) {
    let kept = kept.as_raw_fd().unsigned_abs();
    let close = |from: u32, to: u32| {
        if from <= to {
            // SAFETY: the owners of what is closed are values of the parent's, whose copies in this
            // process are neither used nor dropped any more: it ends by execve(2) or _exit(2).
            unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) };
        }
    };
    close(first, kept.saturating_sub(1));
    close(first.max(kept.saturating_add(1)), u32::MAX);
}

/// Drops every capability that is not in `keep` from the bounding set (`PR_CAPBSET_DROP`).
pub(crate) fn clear_bounding_set(keep: u64) -> Result<(), Errno> {
    for capability in (0..64).filter(|capability| keep & (1u64 << capability) == 0) {
        // SAFETY: this prctl takes numbers only.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match check(result.into()) {
            Ok(_) => {}
            // Beyond the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Puts this process, or for time its next program, into new namespaces: `CLONE_NEW*`.
pub(crate) fn unshare(namespaces: u32) -> Result<(), Errno> {
    let namespaces = namespaces.cast_signed() & CLONE_NEW;
    // SAFETY: with these flags no descriptor or memory is unshared.
    let result = unsafe { libc::unshare(namespaces) };
    check(result.into()).map(drop)
}

/// Does `act` with `id` as the user and group whose files this thread makes, and with all its
/// capabilities over files that this would else take from root (setfsuid(2), capabilities(7)).
pub(crate) fn acting_on_files_as<T>(id: u32, act: impl FnOnce() -> T) -> Result<T, Errno> {
    struct Restore(rustix::thread::CapabilitySets, u32, u32);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: these calls take numbers, and change this thread only.
            unsafe {
                libc::setfsuid(self.1);
                libc::setfsgid(self.2);
            }
            // They were this thread's before.
            let _ = rustix::thread::set_capabilities(None, self.0);
        }
    }
    let sets = rustix::thread::capabilities(None)?;
    // SAFETY: as above. Each returns what was before.
    let (group, user) = unsafe { (libc::setfsgid(id), libc::setfsuid(id)) };
    let restore = Restore(sets, user.cast_unsigned(), group.cast_unsigned());
    let all = rustix::thread::CapabilitySets { effective: sets.permitted, ..sets };
    rustix::thread::set_capabilities(None, all)?;
    let done = act();
    drop(restore);
    Ok(done)
}

/// Sends signal `number`, 1 to 64, to the process of `pidfd`; 0 only finds out whether there is one.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, number: u8) -> Result<(), Errno> {
    // SAFETY: the siginfo pointer may be null, and nothing else is a pointer.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::c_int::from(number),
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(result).map(drop)
}

/// Closes, in a cloned process, the copy of a descriptor that only the parent uses.
pub(crate) fn close_copy(descriptor: BorrowedFd<'_>) {
    // SAFETY: the owner is a value of the parent's. Its copy in this process is neither used nor
    // dropped: a cloned process ends by execve(2) or _exit(2).
    unsafe { libc::close(descriptor.as_raw_fd()) };
}

/// Takes over the descriptor that a [`Where::Helper`] put into this process's table and gave up.
pub(crate) fn adopt(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the number comes from the helper, which opened it in the shared table, ended without
    // closing it, and told it to nobody else.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
