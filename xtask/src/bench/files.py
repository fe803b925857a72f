# Times file operations of a WASI guest and prints for each its name and the nanoseconds of one.
import os
import time

# What is written and read in sequence, in bytes.
TOTAL = 256 << 20


def report(name, begin, count):
    print(name, round((time.perf_counter_ns() - begin) / count), sep="\t")


def each(name, count, operation):
    begin = time.perf_counter_ns()
    for index in range(count):
        operation(index)
    report(name, begin, count)


def nothing(_):
    pass


def open_read_close(_):
    with open("/data/file7", "rb", buffering=0) as file:
        file.read()


def create(index):
    os.close(os.open(f"/work/made{index}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def write(step):
    """A host may take less than it is offered."""
    block = memoryview(bytes(step))
    file = os.open("/work/large", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    begin, left = time.perf_counter_ns(), TOTAL
    while left > 0:
        left -= os.write(file, block[:left])
    report(f"write 1 MiB, {step >> 10} KiB at a time", begin, TOTAL >> 20)
    os.close(file)


def read(step):
    file = os.open("/work/large", os.O_RDONLY)
    begin, left = time.perf_counter_ns(), TOTAL
    while left > 0:
        left -= len(os.read(file, step))
    report(f"read 1 MiB, {step >> 10} KiB at a time", begin, TOTAL >> 20)
    os.close(file)


each("(a call of Python alone)", 20000, nothing)
each("exists", 5000, lambda _: os.path.exists("/data/file7"))
each("exists, of nothing", 5000, lambda _: os.path.exists("/data/nothing"))
each("stat, 5 directories deep", 5000, lambda _: os.stat("/data/a/b/c/d/e/file"))
each("open, read 1 kB, close", 2000, open_read_close)
each("listdir of 100", 200, lambda _: os.listdir("/data"))
each("create, close", 1000, create)
each("rename", 1000, lambda index: os.rename(f"/work/made{index}", f"/work/moved{index}"))
each("unlink", 1000, lambda index: os.unlink(f"/work/moved{index}"))
each("mkdir", 1000, lambda index: os.mkdir(f"/work/made{index}"))
each("rmdir", 1000, lambda index: os.rmdir(f"/work/made{index}"))
for step in [64 << 10, 1 << 20]:
    write(step)
    read(step)
os.unlink("/work/large")
