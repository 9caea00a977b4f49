"""Nothing is copied: memory while calls run, the addresses that are read and written."""

import gc
import subprocess
import sys
import tracemalloc

import dotk
import numpy as np
import pytest

MIB = 1 << 20


def growth(call):
    """(resident bytes at the peak, bytes that Python and numpy allocated) beyond the start."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew

    def peak():
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line[:6] == "VmHWM:")

    before = peak()
    tracemalloc.start()
    call()
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak() - before, traced


def test_growth_sees_a_copy():
    rows = np.ones((64, MIB // 4), np.float32)
    resident, traced = growth(lambda: rows.copy())
    assert resident > 60 * MIB and traced > 60 * MIB


def test_inputs_and_outputs_are_not_copied():
    rows = np.ones((64, MIB // 4), np.float32)
    out = np.zeros_like(rows)
    calls = {
        "norm": lambda: dotk.norm(rows[:, : MIB // 5]),
        "normalize": lambda: dotk.normalize(rows, out=out),
        "inspect": lambda: dotk.inspect(rows.reshape(-1, 1024)),
    }
    for name, call in calls.items():
        resident, traced = growth(call)
        assert resident < 8 * MIB and traced < MIB, name


def test_queries_are_not_copied():
    index = dotk.Index(1024)
    index.add(np.ones((4, 1024), np.float32))
    queries = np.ones((32 * 1024, 1024), np.float32)
    out = np.empty((len(queries), 1), np.int64), np.empty((len(queries), 1), np.float32)
    out[0][:] = 0
    out[1][:] = 0
    resident, traced = growth(lambda: index.search(queries, 1, out=out))
    assert resident < 24 * MIB and traced < MIB


def test_tensors_are_not_copied():
    torch = pytest.importorskip("torch")
    rows = torch.ones(64, MIB // 4)
    out = torch.zeros_like(rows)
    address = out.data_ptr()
    resident, _ = growth(lambda: dotk.normalize(rows, out=out))
    assert resident < 8 * MIB and out.data_ptr() == address and out[3, 5] == 2.0**-9


def test_a_loaded_file_is_mapped(tmp_path):
    rows = np.ones((64, MIB // 4), np.float32)
    dotk.save(tmp_path / "rows.npy", rows)
    resident, traced = growth(lambda: dotk.load(tmp_path / "rows.npy"))
    assert resident < 8 * MIB and traced < MIB


WATCH = """
import ctypes, mmap, os, sys
import numpy as np
import dotk

size = 4 * mmap.PAGESIZE
memory = mmap.mmap(-1, size)
rows = np.frombuffer(memory, np.float32)
start = rows.ctypes.data
other = np.ones(len(rows), np.float32)
assert dotk.dot(rows, other) == 0.0

class Action(ctypes.Structure):
    _fields_ = [("handler", ctypes.c_void_p), ("mask", ctypes.c_ulong * 16),
                ("flags", ctypes.c_int), ("restorer", ctypes.c_void_p)]

@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def handler(signal, info, context):
    address = ctypes.c_size_t.from_address(info + 16).value
    os._exit(7 if start <= address < start + size else 1)

libc = ctypes.CDLL(None)
action = Action(ctypes.cast(handler, ctypes.c_void_p).value, flags=4)  # SA_SIGINFO
assert libc.sigaction(11, ctypes.byref(action), None) == 0
assert libc.mprotect(ctypes.c_void_p(start), size, 0) == 0
{call}
"""


@pytest.mark.parametrize(
    "call",
    [
        "dotk.dot(rows, other)",
        "dotk.normalize(other, out=rows)",
        "dotk.Index(len(rows)).add(rows)",
        "dotk.Index(len(rows)).search(rows, 1)",
    ],
)
def test_addresses(call):
    """With the array's pages taken away the first access faults, at an address inside of them."""
    done = subprocess.run([sys.executable, "-c", WATCH.replace("{call}", call)])
    assert done.returncode == 7


def test_a_buffer_is_given_back():
    """While a call runs an array is held; after it, failed or not, its owner may resize it."""
    memory = bytearray(64)
    rows = memoryview(memory).cast("f")
    dotk.norm(rows)
    with pytest.raises(ValueError):
        dotk.dot(rows, [1.0])
    with pytest.raises(ValueError):
        dotk.softmax(rows, temperature=-1)
    rows.release()
    memory.extend(b"1234")
    assert len(memory) == 68


def test_no_leak():
    """References and blocks stay level over calls that succeed and calls that fail."""
    rows = np.ones((4, 8), np.float32)
    index = dotk.Index(8)
    index.add(rows)
    out = np.empty((4, 2), np.int64), np.empty((4, 2), np.float32)
    calls = {
        "search": lambda: index.search(rows, 2, out=out, filter=[True, False], stats={}),
        "search a list": lambda: index.search([1.0] * 8, 2),
        "range": lambda: index.range(rows, 0.0),
        "reconstruct": lambda: index.reconstruct([0, 1]),
        "dot": lambda: dotk.dot(rows, rows[0]),
        "topk_merge": lambda: dotk.topk_merge(out[0], out[1]),
        "inspect": lambda: dotk.inspect(rows),
        "Context": lambda: dotk.Context(1),
        "converted": lambda: dotk.dot(rows.astype(float), rows),
        "wrong out": lambda: index.search(rows, 2, out=(out[0], out[0])),
        "wrong filter": lambda: index.search(rows, 2, filter=[2, 1]),
        "wrong ids": lambda: index.add(rows, [1]),
        "wrong dim": lambda: index.add(rows[:, :3]),
        "wrong type": lambda: dotk.dot(rows, "x"),
        "wrong metric": lambda: dotk.Index(8, "none"),
        "no file": lambda: dotk.load("/nowhere.npy"),
    }

    def repeat(call, times):
        for _ in range(times):
            try:
                call()
            except (TypeError, ValueError, OSError):
                pass

    def held():
        gc.collect()
        return [sys.getrefcount(thing) for thing in (rows, index, *out, dotk.Index)]

    for name, call in calls.items():
        repeat(call, 500)
        before, blocks = held(), sys.getallocatedblocks()
        repeat(call, 500)
        assert held() == before, name
        assert sys.getallocatedblocks() - blocks < 250, name  # one a call are 500


@pytest.mark.parametrize("swapped", [False, True])
def test_attention_copies_nothing(swapped):
    """Queries, keys, values, a mask and out=, as (B, H, L, D) and as (B, L, H, D)."""

    def heads(*shape):
        array = np.ones((shape[0], shape[2], shape[1], shape[3]) if swapped else shape, np.float32)
        return array.swapaxes(1, 2) if swapped else array

    q, out = heads(1, 16, 4096, 256), heads(1, 16, 4096, 256)
    k, v = heads(1, 16, 64, 256), heads(1, 16, 64, 256)
    mask = np.ones((16, 4096, 64), bool)
    dotk.attention(q[:, :, :64], k, v, out=out[:, :, :64])  # scratch is there from here on
    resident, traced = growth(lambda: dotk.attention(q, k, v, mask=mask, out=out))
    assert resident < 24 * MIB and traced < MIB
    np.testing.assert_allclose(out, 1, rtol=1e-6)


def test_bfloat16_tensors_of_attention_are_not_copied():
    torch = pytest.importorskip("torch")
    q = torch.ones(1, 4096, 16, 512, dtype=torch.bfloat16).transpose(1, 2)
    k = torch.ones(1, 16, 64, 512, dtype=torch.bfloat16)
    out = torch.zeros_like(q)
    address = out.data_ptr()
    resident, _ = growth(lambda: dotk.attention(q, k, k, out=out))
    assert resident < 24 * MIB and out.data_ptr() == address and bool((out == 1).all())
