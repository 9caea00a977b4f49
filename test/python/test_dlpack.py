"""Objects that say by DLPack what they are, and are wrong, or of another library."""

import ctypes
import pathlib
import subprocess
import sys

import dotk
import pytest


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("axes", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    ]


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Foreign:
    """64 numbers of some library; 'axes' other than the shape's is a lie."""

    def __init__(self, shape, axes=None, code=2, bits=32, dtype=None):
        self.memory = (ctypes.c_uint8 * 256)()
        self.shape = (ctypes.c_int64 * (len(shape) + 1))(*shape)
        axes = len(shape) if axes is None else axes
        data = ctypes.addressof(self.memory)
        pointer = ctypes.cast(self.shape, ctypes.POINTER(ctypes.c_int64))
        device = (ctypes.c_int32 * 2)(1, 0)
        self.tensor = Tensor(data, device, axes, code, bits, 1, pointer, None, 0)
        if dtype is not None:
            self.dtype = dtype

    def __dlpack__(self):
        return new_capsule(ctypes.addressof(self.tensor), b"dltensor", None)


def test_taken():
    assert dotk.norm(Foreign([64])) == 0.0
    assert dotk.norm(Foreign([4, 16])).tolist() == [0.0] * 4
    assert dotk.norm(Foreign([0, 1 << 40])).tolist() == []


@pytest.mark.parametrize(
    "shape, axes, says",
    [
        ([64], -1, "a has -1 axes: give 0 to 8"),
        ([1] * 9, 9, "a has 9 axes: give 0 to 8"),
        ([-1, 64], None, "a has -1 places on its axis 0"),
        ([2, -4], None, "a has -4 places on its axis 1"),
        ([1 << 32, 1 << 32], None, "a has 4294967296 places on its axis 1"),
        ([1 << 62, 4], None, "a has 4 places on its axis 1"),
    ],
)
def test_refused(shape, axes, says):
    with pytest.raises(ValueError, match=says):
        dotk.norm(Foreign(shape, axes))


FIRST_BFLOAT16 = """
import sys
import dotk, ml_dtypes, numpy as np, pytest
sys.path.insert(0, sys.argv[1])
from test_dlpack import Foreign

for dtype in (None, object(), "no such type", float):
    foreign = Foreign([1, 1, 4, 8], code=4, bits=16, dtype=dtype)
    with pytest.raises(TypeError, match="numpy has no bfloat16 to answer with: give out="):
        dotk.attention(foreign, foreign, foreign)
known = np.ones((1, 1, 4, 8), ml_dtypes.bfloat16)
out = dotk.attention(known, known, known)
assert out.dtype == known.dtype and (out == known).all()
"""


def test_bfloat16_of_a_library_that_numpy_does_not_know():
    """It is refused, and what is refused does not stay: ml_dtypes' goes on working."""
    pytest.importorskip("ml_dtypes")
    here = str(pathlib.Path(__file__).parent)
    subprocess.run([sys.executable, "-c", FIRST_BFLOAT16, here], check=True)
