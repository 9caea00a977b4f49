"""examples/python: each program runs, says what it should, and the same with the original import."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "examples" / "python"

# The original, whether the program needs it anyway, and a line of what is printed.
PROGRAMS = {
    "similarity": ("torch", False, "cats purr | kittens purr loudly: inner product 1.710, "),
    "catalogue": ("faiss", False, "    4033 tomato: squared distance 0.010"),
    "attention": ("torch", True, "causal: "),
    "block": ("torch", True, "out (2, 16, 512) weights (2, 16, 16)"),
    "search": ("faiss", False, "100000 rows of 128"),
}


def output(name, *arguments):
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *arguments],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(name):
    original, needed, line = PROGRAMS[name]
    installed = importlib.util.find_spec(original) is not None
    if needed and not installed:
        pytest.skip(f"{original} is not installed")
    printed = output(name)
    assert line in printed
    if not installed:
        pytest.skip(f"{original} is not installed: nothing to compare with")
    assert printed == output(name, "--with", original)


def test_all_programs_are_here():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(PROGRAMS)
