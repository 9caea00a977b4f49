"""Python in the documents runs, and prints what they say."""

import doctest
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "doc").glob("*.md"))]


def blocks():
    for document in DOCUMENTS:
        text = document.read_text()
        for found in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, found.start()) + 1
            yield pytest.param(found[1], id=f"{document.name}:{line}")


@pytest.mark.parametrize("block", list(blocks()))
def test_block(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for need in re.findall(r"^(?:>>> )?(?:import|from) (\w+)", block, re.MULTILINE):
        pytest.importorskip(need)
    if "NearestNeighbors" in block:
        pytest.importorskip("sklearn")
    if ">>>" not in block:
        exec(compile(block, "block", "exec"), {})
        return
    parsed = doctest.DocTestParser().get_doctest(block, {}, "block", None, None)
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(parsed).failed == 0
