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


# What a module of the package needs to be imported.
NEEDS = {"dotk.sklearn": "sklearn", "dotk.compat.torch": "torch"}


def test_stubtest(tmp_path):
    """Modules that cannot be imported here are left out."""
    lacking = [module for module, need in NEEDS.items() if not importlib.util.find_spec(need)]
    allowed = tmp_path / "allowed"
    allowed.write_text("".join(module.replace(".", r"\.") + "\n" for module in lacking))
    options = ["--allowlist", str(allowed), "--ignore-unused-allowlist"]
    run("mypy.stubtest", *options, "dotk", folder=tmp_path)


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
