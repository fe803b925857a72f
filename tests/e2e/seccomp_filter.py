"""The filters of a process, as the kernel has them, and how many calls they let through.

usage: seccomp_filter.py PID -> {"filters": N, "native": [numbers], "compatible": N, "x32": N}

Counts what some arguments are permitted for: both ways are taken where the filter looks at an
argument. Needs CAP_SYS_ADMIN (PTRACE_SECCOMP_GET_FILTER, ptrace(2)) and x86-64.
"""

import ctypes
import json
import os
import struct
import sys

PTRACE_ATTACH, PTRACE_DETACH, PTRACE_SECCOMP_GET_FILTER = 16, 17, 0x420C
ALLOW = 0x7FFF0000
X86_64, I386, X32 = 0xC000003E, 0x40000003, 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def filters(pid):
    """The programs of all filters, the newest first."""
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), "attach")
    os.waitpid(pid, 0)
    found = []
    try:
        while True:
            length = libc.ptrace(PTRACE_SECCOMP_GET_FILTER, pid, len(found), None)
            if length < 0:
                return found
            program = (ctypes.c_char * (8 * length))()
            if libc.ptrace(PTRACE_SECCOMP_GET_FILTER, pid, len(found), program) != length:
                raise OSError(ctypes.get_errno(), "get filter")
            found.append(list(struct.iter_unpack("<HBBI", program.raw)))
    finally:
        libc.ptrace(PTRACE_DETACH, pid, None, None)


def permits(program, architecture, number):
    """Whether some way through the program ends in permission."""
    ways, seen = [(0, None)], set()
    while ways:
        at, value = ways.pop()
        if (at, value) in seen:
            continue
        seen.add((at, value))
        code, true, false, operand = program[at]
        if code == 0x20:  # load
            known = {0: number, 4: architecture}
            ways.append((at + 1, known.get(operand)))
        elif code == 0x54:  # and
            ways.append((at + 1, None if value is None else value & operand))
        elif code == 0x05:  # jump
            ways.append((at + 1 + operand, value))
        elif code == 0x06:  # return
            if operand == ALLOW:
                return True
        else:
            tests = {
                0x15: lambda: value == operand,
                0x25: lambda: value > operand,
                0x35: lambda: value >= operand,
                0x45: lambda: value & operand != 0,
            }
            test = tests[code]
            if value is None or test():
                ways.append((at + 1 + true, value))
            if value is None or not test():
                ways.append((at + 1 + false, value))
    return False


def main():
    programs = filters(int(sys.argv[1]))

    def through(architecture, numbers):
        return [n for n in numbers if all(permits(p, architecture, n) for p in programs)]

    json.dump(
        {
            "filters": len(programs),
            "native": through(X86_64, range(600)),
            "compatible": len(through(I386, range(600))),
            "x32": len(through(X86_64, range(X32, X32 + 600))),
        },
        sys.stdout,
    )


main()
