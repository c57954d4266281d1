"""The pages of docs/deploy run as printed."""

import contextlib
import io
import os
import re
import sys
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).resolve().parents[3] / "docs" / "deploy").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_there_are_pages():
    assert [page.stem for page in PAGES] == ["dask", "spark", "sql"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_print_what_stands_below_them(page, tmp_path, monkeypatch):
    if page.stem == "spark":
        if os.environ.get("FEAMOE_SPARK") != "1":
            pytest.skip("FEAMOE_SPARK is not 1")
        monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    else:
        for engine in ("dask", "datafusion", "duckdb"):
            pytest.importorskip(engine)
    monkeypatch.chdir(tmp_path)
    blocks = [match.groups() for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]
    assert {kind for kind, _ in blocks} == {"python", "text"}
    names = {}
    for (kind, code), (below, stated) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(code, str(page), "exec"), names)
            assert printed.getvalue() == (stated if below == "text" else "")
