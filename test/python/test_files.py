"""Vector files: what save() writes load() and numpy read, mapped where that is possible."""

import ctypes
import os

import dotk
import numpy as np
import pytest


def test_a_file_without_a_header(tmp_path):
    path = tmp_path / "rows.raw"
    dotk.save(path, [[1, 2]], dtype="f32")
    with pytest.raises(dotk.Error, match="Python: dtype, dim"):
        dotk.load(path)


def test_types_by_the_names_of_numpy(tmp_path):
    path = tmp_path / "rows.raw"
    for name, short in (("float16", "f16"), ("int8", "i8"), ("uint8", "u8"), ("bfloat16", "bf16")):
        dotk.save(path, [[1, 2], [3, 4]], dtype=name)
        assert path.stat().st_size == (4 if short in ("i8", "u8") else 8)
        for given in (name, short):
            assert dotk.load(path, dtype=given, dim=2).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("ending", [".npy", ".fvecs", ".fbin"])
def test_round_trip(tmp_path, ending):
    rows = np.random.default_rng(3).standard_normal((5, 7), dtype=np.float32)
    path = tmp_path / f"rows{ending}"
    dotk.save(path, rows[:, :])
    read = dotk.load(path)
    assert read.dtype == np.float32 and (read == rows).all()
    assert not read.flags.writeable and not read.flags.owndata
    if ending == ".npy":
        assert (np.load(path) == rows).all()
    dotk.save(path, rows[::2])
    assert (read == rows).all(), "the file is replaced, not written into"
    assert (dotk.load(str(path)) == rows[::2]).all()


@pytest.mark.parametrize("dtype, numpy", [("f16", "f2"), ("u8", "u1"), ("i8", "i1")])
def test_types(tmp_path, dtype, numpy):
    rows = np.arange(12).reshape(3, 4)
    dotk.save(tmp_path / "a.npy", rows, dtype=dtype)
    assert np.load(tmp_path / "a.npy").dtype == numpy
    assert (dotk.load(tmp_path / "a.npy") == rows).all()
    dotk.save(tmp_path / f"a.{dtype}", rows)
    assert (dotk.load(tmp_path / f"a.{dtype}", dtype=dtype, dim=4) == rows).all()


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 3), (1, 1)])
def test_shapes(tmp_path, shape):
    rows = np.random.default_rng(3).standard_normal(shape, dtype=np.float32)
    dotk.save(tmp_path / "a.npy", rows)
    read = dotk.load(tmp_path / "a.npy")
    assert read.shape == shape and (read == rows).all()


def test_a_path_of_any_bytes_is_in_the_message(tmp_path):
    """Bytes that are no UTF-8, and a name cut where the message ends, amid a letter."""
    directory = os.fsencode(tmp_path)
    with pytest.raises(OSError, match="no-\ufffd\ufffd.npy"):
        dotk.load(directory + b"/no-\xff\xfe.npy")
    for shift in range(3):
        with pytest.raises(OSError, match="nothing"):
            long = b"/" + "\u20ac".encode() * 80
            dotk.load(directory + b"/nothing" + b"x" * shift + long * 3 + b".npy")


def test_rows_that_lie_apart_are_not_given_as_dense(tmp_path):
    """.fvecs has a number before each row, .npy has not."""
    simple, strided, c, fortran, any_order = 0, 0x18, 0x38, 0x58, 0x98
    view = ctypes.create_string_buffer(256)
    get, release = ctypes.pythonapi.PyObject_GetBuffer, ctypes.pythonapi.PyBuffer_Release
    refused = {".fvecs": (simple, c, fortran, any_order), ".npy": (simple, fortran)}
    for ending, flags_refused in refused.items():
        dotk.save(tmp_path / f"a{ending}", np.arange(6, dtype=np.float32).reshape(3, 2))
        file = dotk.load(tmp_path / f"a{ending}").base
        file = file.obj if isinstance(file, memoryview) else file
        for flags in (simple, strided, c, fortran, any_order):
            if flags in flags_refused:
                with pytest.raises(BufferError, match="an opened file"):
                    get(ctypes.py_object(file), view, ctypes.c_int(flags))
            else:
                assert get(ctypes.py_object(file), view, ctypes.c_int(flags)) == 0
                release(view)


def test_refused(tmp_path):
    with pytest.raises(OSError, match="nothing.npy"):
        dotk.load(tmp_path / "nothing.npy")
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(dotk.Error, match="bad.npy"):
        dotk.load(tmp_path / "bad.npy")
    with pytest.raises(ValueError, match="ending|format"):
        dotk.save(tmp_path / "a.txt", [[1.0]])
    with pytest.raises(dotk.Error, match="row 0"):
        dotk.save(tmp_path / "a.bvecs", [[0.5]])
    with pytest.raises(ValueError, match="copy"):
        dotk.save(tmp_path / "a.npy", np.ones((4, 4, 4), np.float32)[::2])
    with pytest.raises(TypeError, match="path|PathLike"):
        dotk.load(3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.npy"]
