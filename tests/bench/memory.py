#!/usr/bin/env python3
"""Forecast of memory against what a run takes at most, by length, and what a token more takes.

usage: memory.py [--saccade PROGRAM] [--model FILE] [--lengths 1024,4096,...] [--kv f32] [--layers 2]

The run is the one that `saccade info --length N` forecasts: dense and Vertical-Slash, recorded. Without a
model: the bundled one to 16384 tokens, its first layers (cut_model.py) from 1024 to 131072."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUNDLED = os.path.join(ROOT, "samples/models/saccade-sample-q8_0.gguf")


def peak(call):
    """Most resident bytes of a command, and what it printed."""
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(call, stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            sys.exit(f"{' '.join(call)}: status {status}")
        out.seek(0)
        return usage.ru_maxrss * 1024, json.loads(out.read())


def table(a, model, name, lengths):
    print(f"{name}\n{'tokens':>8}{'forecast MiB':>14}{'taken MiB':>11}{'ratio':>7}{'more bytes a token':>20}")
    last = None
    for n in lengths:
        call = [a.saccade, "run", model, "--task", "niah", "--length", str(n), "-m", a.method, "--kv", a.kv,
                "--max-tokens", "128", "--json", "--quiet"]
        took, out = peak(call + (["--no-kl"] if a.no_kl else []))
        tokens = out["prompt"]["tokens"]
        info = json.loads(subprocess.check_output([a.saccade, "info", model, "--length", str(tokens),
                                                   "--kv", a.kv, "--json"]))
        said = info["forecast"]["total_bytes"]
        more = f"{(took - last[1]) / (tokens - last[0]):.0f}" if last else "-"
        print(f"{tokens:8}{said / 2**20:14.0f}{took / 2**20:11.0f}{said / took:7.2f}{more:>20}", flush=True)
        last = tokens, took


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--saccade", default=os.path.join(ROOT, "build/release/saccade"))
    p.add_argument("--model")
    p.add_argument("--lengths", type=lambda s: [int(x) for x in s.split(",")])
    p.add_argument("--method", default="vertical_slash:sparsity=0.9")
    p.add_argument("--kv", default="f32")
    p.add_argument("--layers", type=int, default=2)
    p.add_argument("--no-kl", action="store_true")
    a = p.parse_args()
    if a.model:
        table(a, a.model, os.path.basename(a.model), a.lengths or [1024, 4096, 16384])
        return
    short = [n for n in a.lengths or [1024, 4096, 16000] if n <= 16000]
    if short:
        table(a, BUNDLED, "bundled model", short)
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "cut.gguf")
        subprocess.run([sys.executable, os.path.join(HERE, "cut_model.py"), BUNDLED, model, "--layers",
                        str(a.layers), "--context", "140000"], check=True)
        table(a, model, f"its first layers, {a.layers}", a.lengths or [1024, 16384, 65536, 131072])


main()
