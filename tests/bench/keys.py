#!/usr/bin/env python3
"""From a key to its frame: the explorer in a pseudo-terminal while all cores work.

    tests/bench/keys.py [SACCADE] [--length N] [--seconds S]

Presses keys on every screen during a run of several methods and measures the time until the frame that shows
them has been written: `g` puts `g-` into the status line, digits and movements redraw. When the run is done
it is started again, so that nearly all keys fall into work. Prints milliseconds, median, 95th percentile and
worst, of all keys and of those that fell into running work, and the time of the first frame. A measurement,
not a test: nothing fails here.
"""
import argparse, fcntl, os, pty, select, statistics, struct, sys, termios, time

here = os.path.dirname(os.path.abspath(__file__))
p = argparse.ArgumentParser()
p.add_argument("saccade", nargs="?", default=os.path.join(here, "../../build/release/saccade"))
p.add_argument("--length", type=int, default=16384)
p.add_argument("--seconds", type=float, default=40)
a = p.parse_args()
SCREENS = {"run": "1jk", "heads": "2jlhk", "map": "3jlhk][", "compare": "4jlhk", "text": "5jk", "pages": "6jlhk",
           "tasks": "7jlhk"}
END = b"\x1b[?2026l"      # a frame has been written

t0 = time.time()
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", LC_ALL="C.UTF-8",
                      XDG_STATE_HOME="/dev/null/none", XDG_CONFIG_HOME="/dev/null/none")
    os.environ.pop("NO_COLOR", None)
    args = [a.saccade, "--task", "niah", "--length", str(a.length)]
    for m in ("vertical_slash", "snapkv", "quest", "block_sparse", "flexprefill"):
        args += ["--method", m + ("" if m == "flexprefill" else ":sparsity=0.9")]
    os.execv(a.saccade, args)
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))


def read(seconds, until=None):
    out, end = b"", time.time() + seconds
    while time.time() < end:
        if not select.select([fd], [], [], max(0, end - time.time()))[0]:
            break
        try:
            got = os.read(fd, 65536)
        except OSError:
            break
        out += got
        if b"\x1b[c" in got:
            os.write(fd, b"\x1b[?62c")
        if until and until(out):
            break
    return out


read(5, lambda b: b"saccade" in b and END in b)
print("first frame          %6.0f ms" % ((time.time() - t0) * 1000))
read(2)
ms, at_work, began = {}, [], time.time()
while time.time() - began < a.seconds:
    for screen, keys in SCREENS.items():
        idle = True
        for i, key in enumerate(keys + "g"):
            behind = read(0.1)               # a spinner turns while work goes on
            busy = END in behind
            idle = idle and not busy
            t = time.time()
            os.write(fd, key.encode())
            # The first key of a screen is judged by any frame, g by its own mark in the status line.
            want = (lambda b: b"g-" in b and END in b[b.index(b"g-"):]) if key == "g" else (lambda b: END in b)
            read(3, want)
            ms.setdefault(screen, []).append((time.time() - t) * 1000)
            if busy:
                at_work.append(ms[screen][-1])
        os.write(fd, b"\x1b")
        read(0.1)
        if idle:
            os.write(fd, b"1R")
            read(0.3)
for screen, v in list(ms.items()) + [("all", [x for v in ms.values() for x in v]), ("at work", at_work or [0])]:
    v = sorted(v)
    print("%-8s %4d keys  median %5.1f  95 %% %5.1f  worst %5.1f ms" %
          (screen, len(v), statistics.median(v), v[int(len(v) * 0.95)], v[-1]))
os.write(fd, b"Q")
while os.waitpid(pid, os.WNOHANG)[0] == 0:
    read(0.05)
