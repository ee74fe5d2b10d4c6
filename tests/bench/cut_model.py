#!/usr/bin/env python3
"""The first layers of a GGUF model as a model of its own, with another context: real queries and keys at
lengths for which the whole model would take too long. It talks nonsense, but costs what a real one does.

usage: cut_model.py IN.gguf OUT.gguf [--layers 2] [--context 131072] [--f16]

--f16 widens matrices of Q8_0 to F16, which takes a second for a million of them."""
import argparse
import mmap
import struct

FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}   # bytes of a value by kind
BLOCK = {0: (1, 4), 1: (1, 2), 8: (32, 34), 12: (256, 144), 14: (256, 210), 30: (1, 2)}   # values, bytes
F16, Q8_0 = 1, 8


def widened(body):
    """Q8_0 as F16."""
    return b"".join(struct.pack("<32e", *(d * q for q in qs)) for d, *qs in struct.iter_unpack("<e32b", body))


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 8

    def take(self, fmt):
        v = struct.unpack_from("<" + fmt, self.data, self.at)
        self.at += struct.calcsize("<" + fmt)
        return v if len(v) > 1 else v[0]

    def text(self):
        n = self.take("Q")
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def skip(self, kind):
        if kind == 8:
            self.text()
        elif kind == 9:
            inner, n = self.take("IQ")
            if inner in FIXED:
                self.at += FIXED[inner] * n
            else:
                for _ in range(n):
                    self.skip(inner)
        else:
            self.at += FIXED[kind]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("out")
    p.add_argument("--layers", type=int, default=2)
    p.add_argument("--context", type=int, default=131072)
    p.add_argument("--f16", action="store_true")
    a = p.parse_args()
    with open(a.model, "rb") as f:
        data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    r = Reader(data)
    n_tensors, n_meta = r.take("QQ")
    meta, align = b"", 32
    for _ in range(n_meta):
        start = r.at
        key, kind = r.text(), r.take("I")
        value = r.at
        r.skip(kind)
        entry = data[start:r.at]
        new = {"block_count": a.layers, "context_length": a.context}.get(key.split(".")[-1])
        if new is not None:
            entry = data[start:value] + struct.pack("<I", new)
        if key == "general.alignment":
            align = struct.unpack("<I", data[value:r.at])[0]
        meta += entry
    tensors = []
    for _ in range(n_tensors):
        name, dims = r.text(), r.take("I")
        shape = [r.take("Q") for _ in range(dims)]
        kind, offset = r.take("IQ")
        if not name.startswith("blk.") or int(name.split(".")[1]) < a.layers:
            tensors.append((name, shape, kind, offset))
    base = (r.at + align - 1) // align * align

    head, bodies, at = b"", [], 0
    for name, shape, kind, offset in tensors:
        count = 1
        for n in shape:
            count *= n
        values, size = BLOCK[kind]
        body = data[base + offset:base + offset + count // values * size]
        if a.f16 and kind == Q8_0:
            kind, body = F16, widened(body)
        head += struct.pack("<Q", len(name)) + name.encode()
        head += struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", kind, at)
        bodies.append(body + bytes(-len(body) % align))
        at += len(bodies[-1])
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), n_meta) + meta + head
    with open(a.out, "wb") as f:
        f.write(head + bytes(-len(head) % align))
        f.writelines(bodies)


main()
