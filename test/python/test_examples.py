"""Every public name has a docstring, every function's has an example, and the examples run."""

import doctest
import importlib.util
import inspect
import types

import dotk
import dotk.compat.faiss
import numpy
import pytest


def documented():
    """(name, object) of what dotk offers, methods of its types included."""
    yield "dotk", dotk
    yield "dotk.compat.faiss", dotk.compat.faiss
    has_sklearn = importlib.util.find_spec("sklearn") is not None
    for name in dotk.__all__ + ["NearestNeighbors"] * has_sklearn:
        thing = getattr(dotk, name)
        if name.startswith("__") or isinstance(thing, types.ModuleType):
            continue
        yield name, thing
        if inspect.isclass(thing) and not issubclass(thing, Exception):
            for member, method in vars(thing).items():
                if not member.startswith("_"):
                    yield f"{name}.{member}", method


@pytest.mark.parametrize("name, thing", list(documented()))
def test_example(name, thing):
    text = inspect.getdoc(thing)
    assert text, f"{name} has no docstring"
    if callable(thing) and not (inspect.isclass(thing) and issubclass(thing, Exception)):
        assert ">>>" in text, f"{name} has no example"
    parsed = doctest.DocTestParser().get_doctest(
        text, {"dotk": dotk, "np": numpy}, name, None, None
    )
    failed, _ = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(parsed)
    assert failed == 0
