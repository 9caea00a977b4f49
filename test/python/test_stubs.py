"""The stubs say what the module has: mypy's stubtest, and mypy --strict on the package."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import dotk
import pytest

pytest.importorskip("mypy", reason="mypy is not installed")
PACKAGE = pathlib.Path(dotk.__file__).parent


def run(*arguments, folder):
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent), "MYPYPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_stubtest(tmp_path):
    absent = tmp_path / "absent"
    if importlib.util.find_spec("torch") is None:
        absent.write_text("dotk.compat.torch")
    else:
        absent.touch()
    run("mypy.stubtest", "dotk", "--allowlist", str(absent), folder=tmp_path)


def test_strict(tmp_path):
    use = tmp_path / "use.py"
    use.write_text(
        """import dotk
import numpy as np

index = dotk.Index(3, metric="cosine", dtype="bf16")
index.add(np.ones((4, 3), np.float32), ids=[1, 2, 3, 4])
ids, scores = index.search([1.0, 2.0, 3.0], k=2, filter=np.array([True, False]))
total: float = float(scores.sum()) + int(ids[0])
kept = np.empty(2, np.int64), np.empty(2, np.float32)
same: np.ndarray[tuple[int, ...], np.dtype[np.int64]] = index.search([1.0], 2, out=kept)[0]
"""
    )
    run("mypy", "--strict", str(use), str(PACKAGE), folder=tmp_path)
