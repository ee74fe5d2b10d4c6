#!/usr/bin/env python3
"""Cost against length on log-log axes: dense and methods, prefill and decode, selection apart.

    curve.py run OUT.csv [--prefill 1K,2K,...] [--context 1K,...] [--cold] [--no-reference] [--saccade PROGRAM] [--model FILE]
    curve.py show IN.csv               a table with local exponents (1: linear, 2: quadratic)
    curve.py plot IN.csv OUT.svg

`run` appends what `saccade bench --json` measures, so that long lengths can be taken in parts; a later
measurement of the same point replaces the earlier. Without a model it cuts the bundled one to its first two
layers (cut_model.py): real queries and keys at lengths for which all of it would take too long."""
import argparse
import csv
import json
import math
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUNDLED = os.path.join(ROOT, "samples/models/saccade-sample-q8_0.gguf")
FIELDS = ("processor", "threads", "model", "phase", "method", "tokens", "seconds", "select_s", "attend_s",
          "density")
PREFILL = ("vertical_slash:sparsity=0.9", "block_sparse:sparsity=0.9", "flexprefill:sparsity=0.9",
           "xattention:sparsity=0.9", "streaming_llm")
DECODE = ("quest:sparsity=0.9", "snapkv:capacity=1024", "streaming_llm")


def processor():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return "unknown processor"


def load(path):
    """The last measurement of each point, by length within method within phase."""
    points = {}
    with open(path) as f:
        for r in csv.DictReader(f):
            for k in ("seconds", "select_s", "attend_s", "density"):
                r[k] = float(r[k])
            r["tokens"] = int(r["tokens"])
            points[r["phase"], r["method"], r["tokens"]] = r
    first = {}
    for phase, method, _ in points:
        first.setdefault((phase, method), len(first))
    return sorted(points.values(),
                  key=lambda r: (r["phase"] != "prefill", first[r["phase"], r["method"]], r["tokens"]))


def measure(a):
    with tempfile.TemporaryDirectory() as folder:
        model, name = a.model, os.path.basename(a.model or "")
        if not model:
            model, name = os.path.join(folder, "cut.gguf"), f"bundled, {a.layers} layers"
            subprocess.run([sys.executable, os.path.join(HERE, "cut_model.py"), BUNDLED, model, "--layers",
                            str(a.layers)], check=True)
        call = [a.saccade, "bench", model, "--json", "--quiet", "--repeats", str(a.repeats)]
        if a.prefill:
            call += ["--prefill", a.prefill]
        if a.context:
            call += ["--context", a.context, "--decode", str(a.decode)]
        for m in a.method or dict.fromkeys((PREFILL if a.prefill else ()) + (DECODE if a.context else ())):
            call += ["--method", m]
        call += ["--cold"] * a.cold + ["--no-reference"] * a.no_reference
        out = json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE).stdout)
    new = not os.path.exists(a.csv)
    with open(a.csv, "a", newline="") as f:
        w = csv.writer(f, lineterminator="\n")
        if new:
            w.writerow(FIELDS)
        for r in out["rows"]:
            density = r["density"]["work" if r["phase"] == "prefill" else "read"]
            seconds = (f"{r[k]:.4g}" for k in ("seconds", "select_seconds", "attend_seconds"))
            w.writerow((f"{processor()}, {out['ceilings'][0]['cpu']}", r["threads"], name, r["phase"],
                        r["method"], r["tokens"], *seconds, f"{density:.4g}"))


def show(rows):
    print(f"{'phase':8}{'method':30}{'tokens':>7}{'seconds':>11}{'exp':>6}{'attention':>11}{'exp':>6}"
          f"{'selection':>11}{'exp':>6}{'density':>9}")
    last = None
    for r in rows:
        same = last if last and (last["phase"], last["method"]) == (r["phase"], r["method"]) else None
        line = f"{r['phase']:8}{r['method']:30}{r['tokens']:7}"
        for k in ("seconds", "attend_s", "select_s"):
            e = "-"
            if same and r[k] > 1e-6 and same[k] > 1e-6 and r["tokens"] > same["tokens"]:
                e = f"{math.log(r[k] / same[k]) / math.log(r['tokens'] / same['tokens']):.2f}"
            line += f"{r[k]:11.4g}{e:>6}"
        print(line + f"{r['density']:9.3f}")
        last = r


# ---- the drawing ----

# Colours in the middle, for viewers that do not say what they draw on
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #768390 }
.small { font-size: 11px } .axis { stroke: #768390; fill: none }
.grid { stroke: #768390; stroke-opacity: .3; fill: none }
.line { fill: none; stroke-width: 2 } .pick { stroke-dasharray: 2 4; stroke-width: 1.6 }
@media (prefers-color-scheme: light) { text { fill: #24292f } .axis { stroke: #57606a } }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .axis { stroke: #8b949e } }
"""
# of about the same contrast on white and on near-black
COLOURS = ("#8c8c8c", "#d1495b", "#2f8fd6", "#2a9d6f", "#c77d0a", "#9a6bd6", "#c2569f", "#3aa3a3")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 480, 420, 62, 22, 44, 46


def power(e):
    sup = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
    return "10" + str(e).translate(sup)


def length(n):
    return f"{n // 1024}K" if n % 1024 == 0 and n else str(n)


def escape(s):
    return s.replace("&", "&amp;").replace("<", "&lt;")


def panel(rows, x0, title, unit, colour, out):
    ticks = sorted({r["tokens"] for r in rows if r["tokens"] >= 1000})
    rows = [r for r in rows if r["tokens"] in ticks]
    shown = [v for r in rows for v in (r["seconds"], r["select_s"]) if v > 2e-6]
    lo, hi = math.floor(math.log10(min(shown))), math.ceil(math.log10(max(shown)))
    a, b = math.log(ticks[0]), math.log(ticks[-1])
    w, h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(n):
        return x0 + LEFT + w * (math.log(n) - a) / (b - a or 1)

    def y(v):
        return TOP + h * (hi - math.log10(v)) / (hi - lo)

    out.append(f'<text x="{x0 + LEFT}" y="{TOP - 12}">{title}</text>')
    for e in range(lo, hi + 1):
        out.append(f'<path class="grid" d="M{x0 + LEFT} {y(10 ** e):.1f}h{w}"/>'
                   f'<text class="small" x="{x0 + LEFT - 6}" y="{y(10 ** e) + 4:.1f}" text-anchor="end">'
                   f'{power(e)}</text>')
    for n in ticks:
        out.append(f'<path class="grid" d="M{x(n):.1f} {TOP}v{h}"/><text class="small" x="{x(n):.1f}" '
                   f'y="{TOP + h + 16}" text-anchor="middle">{length(n)}</text>')
    out.append(f'<rect class="axis" x="{x0 + LEFT}" y="{TOP}" width="{w}" height="{h}"/>')
    out.append(f'<text class="small" x="{x0 + LEFT + w / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">'
               f'{unit}</text>')
    out.append(f'<text class="small" transform="translate({x0 + 16} {TOP + h / 2:.0f}) rotate(-90)" '
               f'text-anchor="middle">seconds</text>')
    for m in dict.fromkeys(r["method"] for r in rows):
        own = [r for r in rows if r["method"] == m]
        for key, kind in (("seconds", "line"), ("select_s", "line pick")):
            d = "L".join(f"{x(r['tokens']):.1f} {y(r[key]):.1f}" for r in own if r[key] > 2e-6)
            if "L" in d and (key == "seconds" or m != "dense"):
                out.append(f'<path class="{kind}" stroke="{colour[m]}" d="M{d}"/>')
        for r in own:
            out.append(f'<circle cx="{x(r["tokens"]):.1f}" cy="{y(r["seconds"]):.1f}" r="2.6" '
                       f'fill="{colour[m]}"/>')


def plot(rows, path):
    methods = list(dict.fromkeys(r["method"] for r in rows))
    colour = {m: COLOURS[i % len(COLOURS)] for i, m in enumerate(methods)}
    panels = [(p, t, u) for p, t, u in (
        ("prefill", "Prefill of a whole prompt", "tokens of the prompt"),
        ("decode", "One decoded token", "tokens of context")) if any(r["phase"] == p for r in rows)]
    per_row, legend_w = 4, WIDTH * len(panels) // 4
    height = HEIGHT + 20 + 18 * ((len(methods) + 1 + per_row - 1) // per_row) + 22
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * len(panels)} {height}" '
           f'width="{WIDTH * len(panels)}" role="img"><title>Cost against length</title>'
           f'<style>{STYLE}</style>']
    for i, (phase, title, unit) in enumerate(panels):
        panel([r for r in rows if r["phase"] == phase], i * WIDTH, title, unit, colour, out)
    for i, m in enumerate(methods + [None]):
        x, y = 16 + i % per_row * legend_w, HEIGHT + 22 + i // per_row * 18
        how = f'class="line" stroke="{colour[m]}"' if m else 'class="line pick axis"'
        out.append(f'<path {how} d="M{x} {y - 4}h22"/>'
                   f'<text class="small" x="{x + 28}" y="{y}">{escape(m or "selection alone")}</text>')
    note = f"{rows[0]['processor']}, {rows[0]['threads']} threads; {rows[0]['model']}"
    out.append(f'<text class="small" x="16" y="{height - 8}">{escape(note)}</text></svg>')
    with open(path, "w") as f:
        f.write("\n".join(out) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="do", required=True)
    r = sub.add_parser("run")
    r.add_argument("csv")
    r.add_argument("--prefill", default="")
    r.add_argument("--context", default="")
    r.add_argument("--decode", type=int, default=24)
    r.add_argument("--repeats", type=int, default=1)
    r.add_argument("--method", action="append")
    r.add_argument("--cold", action="store_true")
    r.add_argument("--no-reference", action="store_true")
    r.add_argument("--layers", type=int, default=2)
    r.add_argument("--model")
    r.add_argument("--saccade", default=os.path.join(ROOT, "build/release/saccade"))
    s = sub.add_parser("show")
    s.add_argument("csv")
    d = sub.add_parser("plot")
    d.add_argument("csv")
    d.add_argument("svg")
    a = p.parse_args()
    if a.do == "run":
        measure(a)
    elif a.do == "show":
        show(load(a.csv))
    else:
        plot(load(a.csv), a.svg)


main()
