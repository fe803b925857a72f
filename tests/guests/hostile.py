"""What a guest should not be able to do, tried. Prints a line for each thing that worked.

usage: hostile.py FILE PORT SOCKET    tries what it can; FILE, PORT and the abstract SOCKET are the host's
       hostile.py                     calls every system call, and prints the numbers that got through

Changes nothing of the host should all of it work: clocks are set to what they show, kernel settings are
opened and not written. Everything is tried in a child.
"""

import ctypes
import ctypes.util
import errno
import fcntl
import os
import pty
import signal
import socket
import struct
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME = (
    0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80)
# Of the host: a file, a port of its loopback and an abstract socket, which somebody listens on.
FILE, PORT, SOCKET = (sys.argv[1:] + ["/nowhere", "1", "nowhere"])[:3]


def syscall(number, *args):
    """The result, or the errno as a negative number."""
    padded = [a if isinstance(a, (bytes, type(None))) or hasattr(a, "_b_base_") or isinstance(a, ctypes._SimpleCData)
              else ctypes.c_long(a) for a in args]
    result = libc.syscall(ctypes.c_long(number), *padded)
    return -ctypes.get_errno() if result < 0 else result


def in_child(act):
    """Whether `act` succeeds in a process of its own."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(1)
            os._exit(0 if act() else 1)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0


def call(number, *args):
    return lambda: syscall(number, *args) >= 0


def opens(path, flags=os.O_RDONLY):
    """Whether it can be opened, and is not the emptiness that covers it."""
    def act():
        fd = os.open(path, flags)
        kind = os.fstat(fd)
        return kind.st_rdev != os.makedev(1, 3)
    return act


def reads(path):
    return lambda: len(os.read(os.open(path, os.O_RDONLY), 4096)) > 0


def sockets(family, kind, protocol=0):
    return lambda: socket.socket(family, kind, protocol) is not None


def clone(flags):
    def act():
        pid = syscall(56, flags | signal.SIGCHLD, 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        if pid > 0:
            os.waitpid(pid, 0)
        return pid > 0
    return act


def clone3(flags):
    def act():
        args = struct.pack("<11Q", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
        pid = syscall(435, args, 88)
        if pid == 0:
            os._exit(0)
        return pid > 0
    return act


def terminal(request):
    def act():
        _, peer = pty.openpty()
        fcntl.ioctl(peer, request, b"x")
        return True
    return act


def makes_device(folder, kind, major, minor):
    def act():
        path = f"{folder}/device-{major}-{minor}"
        os.mknod(path, kind | 0o666, os.makedev(major, minor))
        return os.open(path, os.O_RDONLY) >= 0
    return act


def sets_clock():
    now = struct.pack("<qq", int(time.time()), 0)
    return syscall(227, 0, now) >= 0


def joins(name):
    def act():
        return syscall(308, os.open(f"/proc/1/ns/{name}", os.O_RDONLY), 0) >= 0 and name != "user"
    return act


def leaves_chroot():
    """The way out of chroot(2): a directory outside of a root that is made below it."""
    os.makedirs("/dev/shm/jail", exist_ok=True)
    out = os.open("/", os.O_RDONLY)
    os.chroot("/dev/shm/jail")
    os.fchdir(out)
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    return os.path.exists(FILE)


def runs_32_bit():
    """getpid by int 0x80, from memory of our own."""
    import mmap
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)() == os.getpid()


def reaches(family, address):
    def act():
        peer = socket.socket(family, socket.SOCK_STREAM)
        peer.settimeout(2)
        peer.connect(address)
        return True
    return act


PROBES = {
    "unshare(user)": call(272, NEWUSER),
    "unshare(user, net)": call(272, NEWUSER | NEWNET),
    "unshare(mount)": call(272, NEWNS),
    "unshare(net)": call(272, NEWNET),
    "unshare(cgroup)": call(272, NEWCGROUP),
    "unshare(time)": call(272, NEWTIME),
    "clone(user)": clone(NEWUSER),
    "clone3(user)": clone3(NEWUSER),
    "setns(mount)": joins("mnt"),
    "setns(pid)": joins("pid"),
    "mount(tmpfs)": call(165, b"none", b"/dev/shm", b"tmpfs", 0, None),
    "mount(cgroup)": call(165, b"none", b"/dev/shm", b"cgroup", 0, b"memory"),
    "mount(remount rw)": call(165, b"none", b"/proc/sys", None, 0x1020, None),
    "umount(/proc/sys)": call(166, b"/proc/sys", 2),
    "pivot_root": call(155, b"/", b"/"),
    "open_tree": call(428, -100, b"/", 1),
    "fsopen": call(430, b"tmpfs", 0),
    "chroot and out": leaves_chroot,
    "open_by_handle_at": call(304, -100, struct.pack("<IIQ", 8, 1, 2), 0),
    "bpf": call(321, 0, struct.pack("<IIII", 1, 4, 4, 1), 16),
    "perf_event_open": call(298, struct.pack("<II", 1, 64) + bytes(112), 0, -1, -1, 0),
    "userfaultfd": call(323, 1),
    "io_uring_setup": call(425, 1, ctypes.create_string_buffer(120)),
    "add_key": call(248, b"user", b"x", b"x", 1, -3),
    "keyctl": call(250, 0, -3, 0),
    # Seized, it goes on.
    "ptrace(parent)": call(101, 0x4206, os.getpid(), 0, 0),
    "process_vm_readv": call(310, os.getpid(), None, 0, None, 0, 0),
    "kcmp": call(312, os.getpid(), os.getpid(), 0, 0, 0),
    "pidfd_getfd": lambda: syscall(438, syscall(434, os.getpid(), 0), 0, 0) >= 0,
    "personality(no randomisation)": call(135, 0x0040000),
    "personality(read implies exec)": call(135, 0x0400000),
    "syslog": call(103, 10, None, 0),
    "clock_settime": sets_clock,
    "sethostname": call(170, b"other", 5),
    "reboot": call(169, 0, 0, 0, None),
    "init_module": lambda: syscall(175, None, 0, b"") in (-errno.EFAULT, -errno.ENOEXEC, 0),
    "kexec_load": lambda: syscall(246, 0, 0, None, 0) in (-errno.EINVAL, 0),
    "swapon": lambda: syscall(167, b"/dev/null", 0) in (-errno.EINVAL, 0),
    "quotactl": lambda: syscall(179, 0x800007, None, 0, None) in (-errno.ENODEV, 0),
    "acct": call(163, None),
    "iopl": call(172, 3),
    "ioperm": call(173, 0, 1, 1),
    "modify_ldt": call(154, 0, ctypes.create_string_buffer(16), 16),
    "move_pages": call(279, 0, 0, None, None, None, 0),
    "get_mempolicy": call(239, None, None, 0, None, 0),
    "TIOCSTI": terminal(0x5412),
    "TIOCLINUX": terminal(0x541C),
    "32-bit calls": runs_32_bit,
    "x32 calls": call(0x40000000 | 39),
    "raw socket": sockets(socket.AF_INET, socket.SOCK_RAW, 1),
    "packet socket": sockets(socket.AF_PACKET, socket.SOCK_RAW, 768),
    "vsock": sockets(40, socket.SOCK_STREAM),
    "AF_ALG": sockets(38, socket.SOCK_SEQPACKET),
    "netlink(netfilter)": sockets(socket.AF_NETLINK, socket.SOCK_RAW, 12),
    "netlink(audit)": sockets(socket.AF_NETLINK, socket.SOCK_RAW, 9),
    "netlink(xfrm)": sockets(socket.AF_NETLINK, socket.SOCK_RAW, 6),
    "netlink(uevent)": sockets(socket.AF_NETLINK, socket.SOCK_RAW, 15),
    "AF_XDP": sockets(44, socket.SOCK_RAW),
    "mknod(block)": makes_device("/dev", 0o060000, 8, 0),
    "mknod(kmsg)": makes_device("/dev", 0o020000, 1, 11),
    "mknod(zero in /dev)": makes_device("/dev", 0o020000, 1, 5),
    "mknod(zero in /dev/shm)": makes_device("/dev/shm", 0o020000, 1, 5),
    "mknod(zero in /)": makes_device("", 0o020000, 1, 5),
    "host's loopback": reaches(socket.AF_INET, ("127.0.0.1", int(PORT))),
    "host's abstract socket": reaches(socket.AF_UNIX, "\0" + SOCKET),
    "host's file by /proc/1/root": lambda: os.path.exists("/proc/1/root" + FILE),
    "host's file by a descriptor": lambda: any(
        os.path.exists(f"/proc/self/fd/{fd}/..{FILE}") for fd in os.listdir("/proc/self/fd")),
}

WRITTEN = """/proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/panic_on_oom /proc/sysrq-trigger
/proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/ns_last_pid /proc/irq/default_smp_affinity
/proc/mtrr /proc/sys/fs/binfmt_misc/register /sys/kernel/uevent_helper /sys/power/state
/sys/kernel/mm/transparent_hugepage/enabled /sys/fs/cgroup/memory/release_agent /sys/fs/cgroup/cgroup.procs
/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/kernel/security/apparmor/.remove""".split()

READ = """/proc/kcore /proc/keys /proc/key-users /proc/timer_list /proc/kallsyms /proc/config.gz /proc/interrupts
/proc/iomem /proc/slabinfo /proc/cmdline /proc/kpagecount /proc/kmsg /sys/kernel/vmcoreinfo /sys/kernel/notes
/sys/firmware/acpi/tables/DSDT /sys/kernel/debug/sched/debug /sys/kernel/tracing/trace /proc/diskstats /proc/modules
/proc/zoneinfo /proc/vmstat /proc/crypto /proc/partitions /proc/softirqs /proc/buddyinfo""".split()

DEVICES = """kvm fuse net/tun vsock loop-control mem kmsg port vda sda nvme0n1 btrfs-control uinput vhost-net
hpet""".split()


def main():
    probes = dict(PROBES)
    probes.update({f"write {path}": opens(path, os.O_WRONLY) for path in WRITTEN})
    probes.update({f"read {path}": reads(path) for path in READ})
    probes.update({f"open /dev/{name}": opens(f"/dev/{name}") for name in DEVICES})
    for name, act in probes.items():
        if in_child(act):
            print(name, flush=True)


def sweep():
    """Calls every number that there could be, each in a child, and tells which got through: all that did not
    fail as one does that is refused or unknown. Some end the child, or wait until it is ended."""
    for number in range(600):
        def act():
            return syscall(number, -1, 0, 0, 0, 0, 0) not in (-errno.EPERM, -errno.ENOSYS)
        if in_child(act):
            print(number, flush=True)


main() if len(sys.argv) > 1 else sweep()
