"""The README runs as printed."""

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_blocks_print_what_stands_below_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 180
    blocks = [match.groups() for match in BLOCK.finditer(text)]
    assert [kind for kind, _ in blocks] == ["python", "text"] * 5
    names = {}
    for (_, code), (_, stated) in zip(blocks[::2], blocks[1::2]):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, str(README), "exec"), names)
        assert printed.getvalue() == stated

