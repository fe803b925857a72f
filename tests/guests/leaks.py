"""What the kernel's files tell of the machine as a whole, by path: their lines, for a comparison of what a
guest reads with what the host reads. Prints JSON.

Left out are processes, and what belongs to namespaces: settings, networks and System V's tables.
"""

import json
import os
import sys

MOST = 65536
OWN = ("/proc/self", "/proc/thread-self", "/proc/sys", "/proc/net", "/proc/sysvipc", "/proc/mounts",
       "/sys/fs/cgroup", "/sys/devices/virtual/net", "/sys/class/net")


def files(top):
    for folder, folders, names in os.walk(top):
        paths = [os.path.join(folder, name) for name in folders]
        folders[:] = [os.path.basename(path) for path in paths
                      if not path.startswith(OWN) and not os.path.basename(path).isdigit()]
        for name in names:
            path = os.path.join(folder, name)
            if not path.startswith(OWN):
                yield path


def read(path):
    try:
        # Some wait for events until there is one.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.read(fd, MOST)
    except OSError:
        return b""
    finally:
        os.close(fd)


def is_writable(path):
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    # What is covered is /dev/null.
    device = os.fstat(fd).st_rdev
    os.close(fd)
    return device != os.makedev(1, 3)


told, writable = {}, []
for top in sys.argv[1:]:
    for path in files(top):
        content = read(path)
        if content:
            told[path] = content.decode("latin-1").splitlines()
        # Only for who is asked: the host's are not opened.
        if os.getpid() == 1 and is_writable(path):
            writable.append(path)
json.dump({"told": told, "writable": writable}, sys.stdout)
