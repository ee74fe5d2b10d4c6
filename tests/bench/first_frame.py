#!/usr/bin/env python3
"""From the command to the first frame of the explorer.

    tests/bench/first_frame.py [SACCADE] [--runs N] [ARGUMENTS]

Starts the explorer N times in a pseudo-terminal of 120x40 that answers the question for its background at
once, as terminals do, and stops the clock when the first frame is whole on the wire (the end of synchronised
output). Prints the median and the worst. A measurement, not a test: nothing fails here.
"""
import argparse, fcntl, os, pty, select, signal, statistics, struct, termios, time

here = os.path.dirname(os.path.abspath(__file__))
p = argparse.ArgumentParser()
p.add_argument("saccade", nargs="?", default=os.path.join(here, "../../build/release/saccade"))
p.add_argument("--runs", type=int, default=21)
a, arguments = p.parse_known_args()
END = b"\x1b[?2026l"


def once():
    t0 = time.time()
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", LC_ALL="C.UTF-8",
                          XDG_STATE_HOME="/dev/null/none", XDG_CONFIG_HOME="/dev/null/none")
        for name in ("NO_COLOR", "TMUX", "SSH_TTY"):
            os.environ.pop(name, None)
        os.execv(a.saccade, [a.saccade] + arguments)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    out, first = b"", None
    while first is None and time.time() - t0 < 30:
        if not select.select([fd], [], [], 1)[0]:
            continue
        try:
            got = os.read(fd, 65536)
        except OSError:
            break
        out += got
        if b"\x1b[c" in got:
            os.write(fd, b"\x1b]11;rgb:1010/1010/1010\x1b\\\x1b[?62c")
        if b"saccade" in out and END in out[out.index(b"saccade"):]:
            first = time.time() - t0
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(fd)
    return first


v = [x for x in (once() for _ in range(a.runs)) if x is not None]
print("first frame  %d runs  median %.1f ms  worst %.1f ms" % (len(v), 1000 * statistics.median(v), 1000 * max(v)))
