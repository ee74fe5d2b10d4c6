#!/usr/bin/env python3
"""What the explorer leaves to other work, and what other work leaves to it.

    tests/bench/polite.py [SACCADE] [--length N] [--seconds S]

A process for each core counts as fast as it can: alone, then while the explorer runs a needle task of several
methods over and over in a pseudo-terminal. Prints its speed to that alone, the share of the CPU the explorer got
meanwhile, and what it gets with nothing beside it. A measurement, not a test: nothing fails here.
"""
import argparse, fcntl, os, pty, select, signal, statistics, struct, subprocess, sys, termios, threading, time

here = os.path.dirname(os.path.abspath(__file__))
p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("saccade", nargs="?", default=os.path.join(here, "../../build/release/saccade"))
p.add_argument("--length", type=int, default=16000)
p.add_argument("--seconds", type=float, default=6)
a = p.parse_args()
COUNT = """import time
n, end = 0, time.time() + %g
while time.time() < end:
    n += 1 + 0 * sum(range(2000))
print(n)"""


def cpu(pid):
    with open(f"/proc/{pid}/stat") as f:
        v = f.read().rsplit(")", 1)[1].split()
    return (int(v[11]) + int(v[12])) / os.sysconf("SC_CLK_TCK")


def counters(n):
    """Counts of n processes in a.seconds."""
    work = [subprocess.Popen([sys.executable, "-c", COUNT % a.seconds], stdout=subprocess.PIPE) for _ in range(n)]
    return sum(int(w.communicate()[0]) for w in work)


def explorer():
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", LC_ALL="C.UTF-8",
                          XDG_STATE_HOME="/dev/null/none", XDG_CONFIG_HOME="/dev/null/none")
        os.execv(a.saccade, [a.saccade, "--task", "niah", "--length", str(a.length), "--method",
                             "vertical_slash:sparsity=0.5", "--method", "block_sparse:sparsity=0.5",
                             "--method", "flexprefill", "--method", "minference"])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

    def read():
        while select.select([fd], [], [], 60)[0]:
            try:
                got = os.read(fd, 65536)
            except OSError:
                return
            if b"\x1b[c" in got:
                os.write(fd, b"\x1b]11;rgb:1010/1010/1010\x1b\\\x1b[?62c")

    threading.Thread(target=read, daemon=True).start()
    return pid


cores = os.cpu_count()
for n in sorted({1, cores}):
    alone = statistics.median(counters(n) for _ in range(3))
    pid = explorer()
    time.sleep(1.5)
    before, t = cpu(pid), time.time()
    beside = counters(n)
    got = (cpu(pid) - before) / (time.time() - t)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print(f"{n} busy process{'es' if n > 1 else ''} on {cores} cores: {100 * beside / alone:.0f} % of the speed alone; "
          f"the explorer got {got:.2f} cores meanwhile")
pid = explorer()
time.sleep(1.5)
before, t = cpu(pid), time.time()
time.sleep(a.seconds)
print(f"nothing beside: the explorer takes {(cpu(pid) - before) / (time.time() - t):.2f} cores")
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
