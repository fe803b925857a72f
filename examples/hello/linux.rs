//! The Linux half of the image `hello`: says what stands between it and the host, as far as a
//! program can measure that from the inside. It has no C library and no allocator.
#![no_std]
#![no_main]

use core::{
    arch::{asm, global_asm},
    fmt::{self, Write},
};

/// System call numbers.
mod nr {
    #[cfg(target_arch = "x86_64")]
    mod arch {
        pub const READ: usize = 0;
        pub const WRITE: usize = 1;
        pub const CLOSE: usize = 3;
        pub const GETDENTS64: usize = 217;
        pub const OPENAT: usize = 257;
        pub const READLINKAT: usize = 267;
        pub const GETPID: usize = 39;
        pub const EXIT_GROUP: usize = 231;
        pub const MOUNT: usize = 165;
        pub const UNSHARE: usize = 272;
        pub const BPF: usize = 321;
        pub const KEYCTL: usize = 250;
        pub const PERF_EVENT_OPEN: usize = 298;
        pub const INIT_MODULE: usize = 175;
    }
    #[cfg(target_arch = "aarch64")]
    mod arch {
        pub const READ: usize = 63;
        pub const WRITE: usize = 64;
        pub const CLOSE: usize = 57;
        pub const GETDENTS64: usize = 61;
        pub const OPENAT: usize = 56;
        pub const READLINKAT: usize = 78;
        pub const GETPID: usize = 172;
        pub const EXIT_GROUP: usize = 94;
        pub const MOUNT: usize = 40;
        pub const UNSHARE: usize = 97;
        pub const BPF: usize = 280;
        pub const KEYCTL: usize = 219;
        pub const PERF_EVENT_OPEN: usize = 241;
        pub const INIT_MODULE: usize = 105;
    }
    pub use arch::*;
    pub const IO_URING_SETUP: usize = 425;
}

#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call {}", sym main);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, xzr", "mov x30, xzr", "b {}", sym main);

/// A system call; a negative result is an error number.
fn syscall(number: usize, args: [usize; 5]) -> isize {
    let result: isize;
    // SAFETY: every caller passes pointers to memory of its own, with its length where the
    // kernel writes, or null.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number.cast_signed() => result, in("rdi") args[0],
            in("rsi") args[1], in("rdx") args[2], in("r10") args[3], in("r8") args[4],
            out("rcx") _, out("r11") _);
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") args[0].cast_signed() => result,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4]);
    }
    result
}

const AT_FDCWD: usize = (-100_isize).cast_unsigned();
const CLONE_NEWUSER: usize = 0x1000_0000;

/// Opens a file (a path that ends in NUL) to read it.
fn open(path: &str) -> Option<usize> {
    usize::try_from(syscall(nr::OPENAT, [AT_FDCWD, path.as_ptr() as usize, 0, 0, 0])).ok()
}

/// The beginning of a file (a path that ends in NUL), as far as it fits.
fn read<'b>(path: &str, buffer: &'b mut [u8]) -> &'b str {
    let mut length = 0;
    if let Some(fd) = open(path) {
        while length < buffer.len() {
            let rest = &mut buffer[length..];
            let count = syscall(nr::READ, [fd, rest.as_mut_ptr() as usize, rest.len(), 0, 0]);
            match usize::try_from(count) {
                Ok(count) if count > 0 => length += count,
                _ => break,
            }
        }
        syscall(nr::CLOSE, [fd, 0, 0, 0, 0]);
    }
    core::str::from_utf8(&buffer[..length]).unwrap_or("")
}

/// The number of a namespace, from a link such as `pid:[4026531836]`.
fn namespace(path: &str) -> Option<u64> {
    let mut buffer = [0_u8; 64];
    let args = [AT_FDCWD, path.as_ptr() as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0];
    let length = usize::try_from(syscall(nr::READLINKAT, args)).ok()?;
    let text = core::str::from_utf8(&buffer[..length]).ok()?;
    text.split(['[', ']']).nth(1)?.parse().ok()
}

/// How many processes `/proc` shows.
fn processes() -> usize {
    let (mut count, mut buffer) = (0, [0_u8; 4096]);
    let Some(fd) = open("/proc\0") else { return 0 };
    loop {
        let args = [fd, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0];
        let Some(length @ 1..) = usize::try_from(syscall(nr::GETDENTS64, args)).ok() else { break };
        let mut entries = &buffer[..length];
        // struct linux_dirent64: inode and offset (8 bytes each), length (2), type (1), name.
        while !entries.is_empty() {
            let size = usize::from(u16::from_ne_bytes([entries[16], entries[17]]));
            count += usize::from(entries[19].is_ascii_digit());
            entries = &entries[size..];
        }
    }
    count
}

/// Standard output, by way of a buffer.
struct Out {
    buffer: [u8; 4096],
    length: usize,
}

impl Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.buffer.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl Out {
    fn flush(&self) {
        let mut rest = &self.buffer[..self.length];
        while !rest.is_empty() {
            let args = [1, rest.as_ptr() as usize, rest.len(), 0, 0];
            match usize::try_from(syscall(nr::WRITE, args)) {
                Ok(count) if count > 0 => rest = &rest[count..],
                _ => break,
            }
        }
    }
}

/// Numbers that the kernel gives its first namespaces (include/uapi/linux/nsfs.h); any other
/// was made later. Mount and network namespaces have no such number before Linux 6.17.
const FIRST: [(&str, &str, u64); 6] = [
    ("pid", "/proc/self/ns/pid\0", 0xEFFF_FFFC),
    ("user", "/proc/self/ns/user\0", 0xEFFF_FFFD),
    ("ipc", "/proc/self/ns/ipc\0", 0xEFFF_FFFF),
    ("uts", "/proc/self/ns/uts\0", 0xEFFF_FFFE),
    ("cgroup", "/proc/self/ns/cgroup\0", 0xEFFF_FFFB),
    ("time", "/proc/self/ns/time\0", 0xEFFF_FFFA),
];

/// Calls that a guest has no business with, with arguments that do no harm. The last would
/// change what the others may do.
const ASKED: [(&str, usize, [usize; 5]); 7] = [
    ("mount", nr::MOUNT, [0, 0, 0, 0, 0]),
    ("bpf", nr::BPF, [0, 0, 0, 0, 0]),
    ("keyctl", nr::KEYCTL, [0, 0, 0, 0, 0]),
    ("perf_event_open", nr::PERF_EVENT_OPEN, [0, 0, 0, 0, 0]),
    ("io_uring_setup", nr::IO_URING_SETUP, [0, 0, 0, 0, 0]),
    ("init_module", nr::INIT_MODULE, [0, 0, 0, 0, 0]),
    ("unshare(user)", nr::UNSHARE, [CLONE_NEWUSER, 0, 0, 0, 0]),
];
const EPERM: isize = -1;
const EACCES: isize = -13;
const ENOSYS: isize = -38;

fn field<'t>(text: &'t str, name: &str) -> &'t str {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map_or("?", str::trim)
}

fn capabilities(text: &str, name: &str) -> u32 {
    u64::from_str_radix(field(text, name), 16).map_or(0, u64::count_ones)
}

fn report(out: &mut Out) -> fmt::Result {
    let (mut buffer, mut second) = ([0; 8192], [0; 2048]);
    let platform = if cfg!(target_arch = "x86_64") { "linux/amd64" } else { "linux/arm64" };
    let greeting = read("/greeting.txt\0", &mut buffer);
    writeln!(out, "{greeting}")?;
    writeln!(
        out,
        "I am the {platform} half of this image, a program that the kernel runs directly;"
    )?;
    writeln!(out, "the linux backend put these walls around me. Measured from the inside:\n")?;

    let pid = syscall(nr::GETPID, [0; 5]);
    let host = read("/proc/sys/kernel/hostname\0", &mut buffer).trim();
    writeln!(
        out,
        "  process        number {pid} of {} that I can see; my host is called {host}",
        processes()
    )?;

    let mut map = read("/proc/self/uid_map\0", &mut buffer).split_ascii_whitespace();
    let (inside, outside) = (map.next().unwrap_or("?"), map.next().unwrap_or("?"));
    let range = map.next().unwrap_or("?");
    match (inside, outside, range) {
        ("0", "0", "4294967295") => {
            writeln!(out, "  users          the machine's own: no user namespace")
        }
        _ => writeln!(out, "  users          {inside} here is {outside} outside, {range} in all"),
    }?;

    out.write_str("  namespaces     of my own:")?;
    for (name, path, first) in FIRST {
        if namespace(path).is_some_and(|number| number != first) {
            write!(out, " {name}")?;
        }
    }
    out.write_str("\n  network        interfaces:")?;
    for line in read("/proc/net/dev\0", &mut buffer).lines().skip(2) {
        write!(out, " {}", line.split(':').next().unwrap_or("?").trim())?;
    }
    let mounts = read("/proc/self/mounts\0", &mut buffer);
    let root = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        (words.nth(1) == Some("/")).then(|| words.next().unwrap_or("?"))
    });
    writeln!(
        out,
        "\n  files          {} mounts; my root is of type {}",
        mounts.lines().count(),
        root.unwrap_or("?")
    )?;

    let status = read("/proc/self/status\0", &mut buffer);
    let (effective, most) = (capabilities(status, "CapEff"), capabilities(status, "CapBnd"));
    let all = read("/proc/sys/kernel/cap_last_cap\0", &mut second).trim().parse::<u32>();
    writeln!(
        out,
        "  capabilities   {effective} now, {most} at most, of {} that there are",
        all.map_or(0, |last| last + 1)
    )?;
    let seccomp = match field(status, "Seccomp") {
        "2" => "filtered",
        "1" => "strict",
        _ => "not filtered",
    };
    let filters = field(status, "Seccomp_filters");
    writeln!(out, "  system calls   {seccomp} (seccomp, filters: {filters})")?;
    let sealed = if field(status, "NoNewPrivs") == "1" { "cannot" } else { "can" };
    writeln!(out, "  privileges     {sealed} be gained by running another program")?;
    ask(out)
}

fn ask(out: &mut Out) -> fmt::Result {
    let refused =
        ASKED.map(|(_, number, args)| matches!(syscall(number, args), EPERM | EACCES | ENOSYS));
    for (title, wanted) in [("refused", true), ("let through", false)] {
        if !refused.contains(&wanted) {
            continue;
        }
        write!(out, "  {title:<14}")?;
        for ((name, ..), _) in ASKED.iter().zip(refused).filter(|(_, refused)| *refused == wanted) {
            write!(out, " {name}")?;
        }
        out.write_str("\n")?;
    }
    out.write_str("\nThe other half: silo run --platform wasi/wasm hello\n")
}

extern "C" fn main() -> ! {
    let mut out = Out { buffer: [0; 4096], length: 0 };
    let status = usize::from(report(&mut out).is_err());
    out.flush();
    loop {
        syscall(nr::EXIT_GROUP, [status, 0, 0, 0, 0]);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        syscall(nr::EXIT_GROUP, [101, 0, 0, 0, 0]);
    }
}

/// Named by the parts of `core` that could unwind; a panic here ends the program instead.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// The functions that compiled code calls wherever there is no C library to have them.
mod memory {
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        for index in 0..count {
            // SAFETY: the caller vouches for `count` bytes at both. Volatile, lest this loop be
            // compiled into a call of itself.
            unsafe { to.add(index).write_volatile(from.add(index).read()) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        if to.cast_const() <= from {
            // SAFETY: the caller vouches for `count` bytes at both.
            return unsafe { memcpy(to, from, count) };
        }
        for index in (0..count).rev() {
            // SAFETY: as above.
            unsafe { to.add(index).write_volatile(from.add(index).read()) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
        for index in 0..count {
            // SAFETY: the caller vouches for `count` bytes there.
            unsafe { to.add(index).write_volatile(byte as u8) };
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
        for index in 0..count {
            // SAFETY: the caller vouches for `count` bytes at both.
            let (a, b) = unsafe { (left.add(index).read_volatile(), right.add(index).read()) };
            if a != b {
                return i32::from(a) - i32::from(b);
            }
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
        // SAFETY: the same contract.
        unsafe { memcmp(left, right, count) }
    }
}
