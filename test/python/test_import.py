"""What importing dotk loads, and that the extension keeps to the stable ABI."""

import pathlib
import subprocess
import sys

import dotk
import pytest


def test_import_loads_no_openmp_and_no_blas():
    loaded = subprocess.run(
        [sys.executable, "-c", "import dotk; print(open('/proc/self/maps').read())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.lower()
    assert "_dotk.abi3.so" in loaded
    for name in ("gomp", "iomp", "libomp", "blas", "mkl", "numpy", "torch"):
        assert name not in loaded


def test_one_extension_on_the_stable_abi():
    folder = pathlib.Path(dotk.__file__).parent
    extensions = list(folder.rglob("*.so"))
    assert [path.name for path in extensions] == ["_dotk.abi3.so"]
    pytest.importorskip("abi3audit", reason="abi3audit is not installed")
    audit = subprocess.run(
        [sys.executable, "-m", "abi3audit", "--strict", "--assume-minimum-abi3", "3.11", "-R"]
        + [str(path) for path in extensions],
        capture_output=True,
        text=True,
    )
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_command():
    run = [sys.executable, "-m", "dotk"]
    version = subprocess.run([*run, "--version"], capture_output=True, text=True)
    assert (version.returncode, version.stdout) == (0, f"dotk {dotk.__version__}\n")
    wrong = subprocess.run([*run, "fly"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "fly" in wrong.stderr and not wrong.stdout


def test_command_without_its_libraries():
    hidden = "import sys, dotk._dotk as d; del d.command; import dotk.__main__ as m; sys.exit(m.main())"
    said = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True)
    assert said.returncode == 1
    for package in ("libutf8proc-dev", "libjansson-dev", "zlib1g-dev", "pip install"):
        assert package in said.stderr


def test_it_is_loaded_once():
    code = "import importlib.util, dotk, sys; del sys.modules['dotk._dotk']; import dotk._dotk"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: dotk._dotk is loaded already" in said.stderr


def test_a_second_interpreter_is_refused():
    pytest.importorskip("_xxsubinterpreters", reason="another name for it, or none, here")
    code = (
        "import dotk, _xxsubinterpreters as others; other = others.create(isolated=False)\n"
        "others.run_string(other, 'import dotk')"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.returncode == 1 and "dotk serves one interpreter" in said.stderr
