#!/usr/bin/env python3
"""Writes the seed files of the fuzz targets of vector files: fuzz/corpus/<target>/.

Small files of every kind that a reader tells apart, good and bad, so that the corpus alone runs
nearly every line of it (fuzz/coverage.sh shows how many). Run it after adding a case; the result
is committed.
"""
import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


def write(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def f32(*values):
    return struct.pack(f"<{len(values)}f", *values)


def f64(*values):
    return struct.pack(f"<{len(values)}d", *values)


SIX = f32(1, -2, 0.5, 3e38, 1e-45, 6)


# 1, the smallest, a denormal below zero, the largest, infinity, a NaN that is not quiet
HALVES = struct.pack("<6H", 0x3c00, 0x0001, 0x83ff, 0x7bff, 0xfc00, 0x7c01)


def npy(header, data=SIX, version=1, minor=0):
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, minor]) + length + header.encode("latin1") + data


def header(descr="'<f4'", order="False", shape="(2, 3)", end=", }   \n"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}{end}"


NPY = {
    "good": npy(header()),
    "version2": npy(header(), version=2),
    "version3": npy(header(), version=3),
    "version4": npy(header(), version=4),
    "minor": npy(header(), minor=1),
    "f64": npy(header("'<f8'"), f64(1, -2, 1e-300, 3, float("inf"), float("nan"))),
    "f64-beyond": npy(header("'<f8'"), f64(1, -2, 1e300, 3, 4, 5)),
    "u8": npy(header("'|u1'"), bytes(range(6))),
    "i8": npy(header("'|i1'"), bytes([0, 1, 127, 128, 254, 255])),
    "f16": npy(header("'<f2'"), HALVES),
    "scalar": npy(header(shape="()"), f32(1)),
    "one-axis": npy(header(shape="(6,)")),
    "three-axes": npy(header(shape="(1, 2, 3)")),
    "nine-axes": npy(header(shape="(1,1,1,1,1,1,1,2,3)")),
    "empty-rows": npy(header(shape="(4611686018427387904, 0)"), b""),
    "no-rows": npy(header(shape="(0, 3)"), b""),
    "fortran": npy(header(order="True")),
    "fortran-one-axis": npy(header(order="True", shape="(6,)")),
    "order-keys": npy("{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"<f4\"}"),
    "big-endian": npy(header("'>f4'")),
    "object": npy(header("'|O'")),
    "structured": npy(header("[('a', '<f4')]")),
    "subarray": npy(header("('<f4', (2,))")),
    "no-descr": npy("{'fortran_order': False, 'shape': (2, 3)}"),
    "twice": npy("{'descr': '<f4', 'descr': '<f4'}"),
    "other-key": npy("{'other': 1}"),
    "no-key": npy("{2: 3}"),
    "no-colon": npy("{'descr' '<f4'}"),
    "no-comma": npy("{'descr': '<f4' 'shape': (2, 3)}"),
    "no-string": npy("{'descr': 4}"),
    "open-string": npy("{'descr': '<f4"),
    "escape": npy("{'descr': '<\\x66'}"),
    "no-bool": npy(header(order="Maybe")),
    "bool-cut": npy("{'fortran_order': Fal"),
    "no-dictionary": npy("[]"),
    "after-the-end": npy(header() + "x"),
    "shape-no-tuple": npy(header(shape="6")),
    "shape-parentheses": npy(header(shape="(6)")),
    "shape-sign": npy(header(shape="(-2, 3)")),
    "shape-zeros": npy(header(shape="(02, 3)")),
    "shape-huge": npy(header(shape="(99999999999999999999,)")),
    "shape-product": npy(header(shape="(4294967296, 4294967296)")),
    "shape-cut": npy("{'shape': (2, 3"),
    "short": npy(header(), SIX[:-1]),
    "long": npy(header(), SIX + b"\0"),
    "no-magic": b"NUMPY\x01\x00\x10\x00 hello",
    "magic-only": b"\x93NUMPY\x01\x00",
    "version2-cut": b"\x93NUMPY\x02\x00\x10\x00\x00",
    "header-huge": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}",
    "nothing": b"",
}


def rows(dims, value, swap=False):
    order = ">" if swap else "<"
    return b"".join(
        struct.pack(order + "i", dim) + value * max(dim, 0) for dim in dims)


FVECS = {
    "f32": b"\0" + rows([3, 3], f32(0.5)),
    "u8": b"\1" + rows([5, 5], b"\x7f"),
    "ivecs": b"\2" + rows([3], b"\1\0\0\0"),
    "other-dimension": b"\0" + rows([3, 2, 3], f32(1)) + f32(1),
    "big-endian": b"\0" + rows([2], f32(1), swap=True),
    "zero-dimension": b"\0" + rows([0, 0], b""),
    "negative": b"\1" + rows([-1], b""),
    "huge": b"\0" + struct.pack("<i", 0x7fffffff) + f32(1, 2),
    "cut": b"\0" + rows([3, 3], f32(0.5))[:-2],
    "two-bytes": b"\0\3\0",
    "nothing": b"\0",
}


def bins(kind, rows, dim, data):
    return bytes([kind]) + struct.pack("<II", rows, dim) + data


BIN = {
    "f32": bins(0, 2, 3, SIX),
    "u8": bins(1, 2, 3, bytes(range(6))),
    "i8": bins(2, 3, 2, bytes(range(250, 256))),
    "ibin": bins(3, 2, 3, SIX),
    "cut": bins(0, 2, 3, SIX[:-1]),
    "long": bins(1, 2, 3, bytes(7)),
    "huge": bins(0, 0xffffffff, 0xffffffff, SIX),
    "like-gzip": bins(0, 0x00088b1f, 0, b""),
    "like-gzip-cut": bins(0, 0x00088b1f, 3, SIX),
    "no-rows": bins(1, 0, 3, b""),
    "seven-bytes": bins(0, 2, 3, b"")[:8],
    "nothing": b"\0",
}


def idx(kind, shape, data):
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + data


IDX = {
    "images": idx(8, [2, 2, 3], bytes(range(12))),
    "labels": idx(8, [3], b"\1\2\3"),
    "floats": idx(13, [3, 2], struct.pack(">6f", 1, 2, 3, -4, 5e-45, float("inf"))),
    "integers": idx(12, [1], b"\0\0\0\1"),
    "doubles": idx(14, [1], b"\0" * 8),
    "nine-axes": idx(8, [1] * 9, b"\1"),
    "eight-axes": idx(8, [0xffffffff] * 8, b"\1"),
    "short": idx(8, [2, 2, 3], bytes(11)),
    "long": idx(8, [2, 2, 3], bytes(13)),
    "cut": idx(8, [2, 2, 3], b"")[:9],
    "three-bytes": b"\0\0\x08",
    "little-endian": b"\3\x08\0\0" + struct.pack("<3I", 1, 1, 1) + b"\1",
    "other": b"hello world",
    "nothing": b"",
}


def raw(kind, dim, data):
    return bytes([kind]) + struct.pack("<Q", dim) + data


RAW = {
    "f32": raw(1, 3, SIX),
    "u8": raw(2, 4, bytes(range(8))),
    "f32-cut": raw(1, 3, SIX[:-1]),
    "u8-cut": raw(2, 5, bytes(range(8))),
    "f32-huge": raw(1, 2**63, SIX),
    "u8-huge": raw(2, 2**63, SIX),
    "no-dim": raw(1, 0, SIX),
    "no-type": raw(0, 3, SIX),
    "f16": raw(3, 2, HALVES),
    "bf16": raw(4, 3, HALVES),
    "i8": raw(5, 5, bytes(range(246, 256))),
    "f16-cut": raw(3, 2, HALVES[:-1]),
    "other-type": raw(6, 3, SIX),
    "nothing": raw(1, 3, b""),
}

# The number of an ending in fuzz_open.c.
(NONE, DOT_NPY, DOT_FVECS, DOT_BVECS, DOT_IVECS, UBYTE, DOT_IDX, FVECS_GZ,
 DOT_FBIN, DOT_U8BIN, DOT_I8BIN, DOT_IBIN) = range(12)


def named(ending, data):
    return bytes([ending]) + data


OPEN = {
    "npy": named(NONE, NPY["good"]),
    "npy-aligned": named(NONE, npy(header(end=", }").ljust(118))),
    "npy-unaligned": named(NONE, npy(header(end=", }").ljust(117))),
    "npy-f64": named(DOT_NPY, NPY["f64"]),
    "npy-beyond": named(DOT_NPY, NPY["f64-beyond"]),
    "npy-empty-rows": named(NONE, NPY["empty-rows"]),
    "npy-other": named(DOT_NPY, b"hello world"),
    "fvecs": named(DOT_FVECS, FVECS["f32"][1:]),
    "fvecs-unpacked": named(FVECS_GZ, FVECS["f32"][1:]),
    "bvecs": named(DOT_BVECS, FVECS["u8"][1:]),
    "ivecs": named(DOT_IVECS, FVECS["ivecs"][1:]),
    "idx": named(UBYTE, IDX["images"]),
    "idx-floats": named(NONE, IDX["floats"]),
    "idx-other": named(DOT_IDX, b"hello world"),
    "fbin": named(DOT_FBIN, BIN["f32"][1:]),
    "fbin-like-gzip": named(DOT_FBIN, BIN["like-gzip"][1:]),
    "fbin-npy": named(DOT_FBIN, NPY["good"]),
    "u8bin": named(DOT_U8BIN, BIN["u8"][1:]),
    "i8bin": named(DOT_I8BIN, BIN["i8"][1:]),
    "ibin": named(DOT_IBIN, BIN["ibin"][1:]),
    "npy-f16": named(DOT_NPY, NPY["f16"]),
    "npy-i8": named(DOT_NPY, NPY["i8"]),
    "gzip": named(NONE, b"\x1f\x8b\x08\0\0\0\0\0"),
    "zip": named(NONE, b"PK\3\4 and so on"),
    "unknown": named(NONE, b"hello world"),
    "nothing": named(DOT_NPY, b""),
}

# fuzz_save.c: the number of an ending, the type to write, that of the values less 1, the dimension.
ENDINGS = ["npy", "fvecs", "bvecs", "fbin", "u8bin", "i8bin", "f32", "f16", "bf16", "u8", "i8",
           "raw", "other"]
SAVE_NONE, SAVE_F32, SAVE_U8, SAVE_F16, SAVE_BF16, SAVE_I8, SAVE_WRONG = range(7)


def save(ending, kind, stored, dim, data):
    return bytes([ENDINGS.index(ending), kind, stored - 1, dim]) + data


WHOLE = bytes([0, 1, 2, 3, 126, 127])
SAVE = {ending: save(ending, SAVE_NONE, SAVE_U8, 3, WHOLE) for ending in ENDINGS}
SAVE |= {
    "npy-f16": save("npy", SAVE_F16, SAVE_F32, 2, f32(1, -2, 0.3, 65504, 1e-7, float("nan"))),
    "npy-u8": save("npy", SAVE_U8, SAVE_F32, 2, f32(1, 2, 255, 0)),
    "npy-i8": save("npy", SAVE_I8, SAVE_I8, 2, bytes([128, 255, 0, 1])),
    "npy-bf16": save("npy", SAVE_BF16, SAVE_U8, 3, WHOLE),
    "raw-bf16": save("raw", SAVE_BF16, SAVE_F32, 3, SIX),
    "raw-f16-kept": save("raw", SAVE_NONE, SAVE_F16, 3, HALVES),
    "raw-bf16-kept": save("raw", SAVE_NONE, SAVE_BF16, 3, HALVES),
    "fvecs-one": save("fvecs", SAVE_F32, SAVE_F32, 1, SIX),
    "fraction": save("u8bin", SAVE_NONE, SAVE_F32, 1, f32(1, 2.5)),
    "beyond-f16": save("f16", SAVE_F16, SAVE_F32, 1, f32(1, 65520)),
    "beyond-bf16": save("bf16", SAVE_NONE, SAVE_F32, 1, f32(1, 3.4e38)),
    "wrong": save("npy", SAVE_WRONG, SAVE_U8, 3, WHOLE),
}

for target, files in {"npy": NPY, "fvecs": FVECS, "bin": BIN, "idx": IDX, "raw": RAW,
                      "save": SAVE, "open": OPEN}.items():
    for name, data in files.items():
        write(target, name, data)
