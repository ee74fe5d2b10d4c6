#!/usr/bin/env python3
"""A model file of any shape with random weights: for speed and memory at sizes that are not in the tree.

usage: big_model.py OUT.gguf [--type Q4_K|Q8_0|F16] [--layers 16] [--width 2048] [--ff 8192]
                    [--heads 32] [--kv 8] [--vocab 32000] [--context 131072]

The defaults are of 1 B shape. It has no tokenizer: saccade bench and saccade info take it, text does not.
Weights are a megabyte of random blocks over and over, scaled so that activations stay finite."""
import argparse
import os
import struct

# number, values and bytes of a block
TYPES = {"F16": (1, 1, 2), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144)}


def half(x):
    return struct.pack("<e", x)


def blocks(kind, scale):
    """About a megabyte of blocks."""
    _, _, size = TYPES[kind]
    n = (1 << 20) // size
    if kind == "F16":      # sign and mantissa at random, exponents of numbers about `scale`
        raw = os.urandom(2 * n)
        top = struct.unpack("<H", half(scale))[0] & 0x7C00
        return b"".join(struct.pack("<H", (a | b << 8) & 0x83FF | top) for a, b in zip(raw[::2], raw[1::2]))
    if kind == "Q8_0":
        return b"".join(half(scale / 127) + os.urandom(32) for _ in range(n))
    return b"".join(half(scale / 480) + half(scale / 64) + os.urandom(140) for _ in range(n))


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--type", default="Q4_K", choices=TYPES)
    for name, usual in (("layers", 16), ("width", 2048), ("ff", 8192), ("heads", 32), ("kv", 8),
                        ("vocab", 32000), ("context", 131072)):
        p.add_argument("--" + name, type=int, default=usual)
    a = p.parse_args()
    number, values, size = TYPES[a.type]
    kv = a.width // a.heads * a.kv
    meta = [("general.architecture", "llama"), ("general.name", f"random {a.type}"),
            ("llama.block_count", a.layers), ("llama.context_length", a.context),
            ("llama.embedding_length", a.width),
            ("llama.feed_forward_length", a.ff), ("llama.attention.head_count", a.heads),
            ("llama.attention.head_count_kv", a.kv), ("llama.attention.layer_norm_rms_epsilon", 1e-5),
            ("llama.rope.freq_base", 500000.0), ("llama.vocab_size", a.vocab)]
    shapes = [("token_embd.weight", (a.width, a.vocab))]
    for i in range(a.layers):
        shapes += [(f"blk.{i}.{n}.weight", s) for n, s in (
            ("attn_norm", (a.width,)), ("attn_q", (a.width, a.width)), ("attn_k", (a.width, kv)),
            ("attn_v", (a.width, kv)), ("attn_output", (a.width, a.width)), ("ffn_norm", (a.width,)),
            ("ffn_gate", (a.width, a.ff)), ("ffn_up", (a.width, a.ff)), ("ffn_down", (a.ff, a.width)))]
    shapes.append(("output_norm.weight", (a.width,)))

    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(meta))
    for key, v in meta:
        kind, body = 4, struct.pack("<I", v) if isinstance(v, int) else b""
        if isinstance(v, str):
            kind, body = 8, text(v)
        elif isinstance(v, float):
            kind, body = 6, struct.pack("<f", v)
        head += text(key) + struct.pack("<I", kind) + body
    at, sizes = 0, []
    for name, s in shapes:
        count = s[0] * (s[1] if len(s) > 1 else 1)
        n = count // values * size if len(s) > 1 else 4 * count
        head += text(name) + struct.pack("<I", len(s)) + struct.pack(f"<{len(s)}Q", *s)
        head += struct.pack("<IQ", number if len(s) > 1 else 0, at)
        sizes.append(n)
        at += (n + 31) // 32 * 32

    some = blocks(a.type, a.width ** -0.5)
    with open(a.out, "wb") as f:
        f.write(head + bytes(-len(head) % 32))
        for (name, s), n in zip(shapes, sizes):
            body = some if len(s) > 1 else struct.pack("<f", 1.0) * s[0]
            for done in range(0, n, len(body)):
                f.write(body[:n - done])
            f.write(bytes(-n % 32))


main()
