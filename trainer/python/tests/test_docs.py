"""docs/python.md is what the docstrings say, and leaves nothing public out."""

import importlib.util
from pathlib import Path

import feamoe
import feamoe.shap

SCRIPT = Path(__file__).resolve().parents[1] / "docs.py"
specification = importlib.util.spec_from_file_location("docs", SCRIPT)
docs = importlib.util.module_from_spec(specification)
specification.loader.exec_module(docs)


def test_the_page_is_up_to_date():
    assert docs.PAGE.read_text(encoding="utf-8") == docs.page(), "run: python trainer/python/docs.py"


def test_every_public_name_has_a_section():
    assert {name for name in feamoe.__all__ if name != "__version__"} == set(docs.NAMES)
    assert {f"shap.{name}" for name in feamoe.shap.__all__} < set(docs.names())


def test_every_public_member_says_what_it_does():
    classes = [value for value in map(docs.named, docs.names()) if isinstance(value, type)]
    silent = [
        f"{of.__name__}.{name}"
        for of in classes
        for name, value in vars(of).items()
        if not name.startswith("_") and docs.is_own(value) and not value.__doc__ and name not in of.__doc__
    ]
    assert len(classes) > 8 and not silent, silent


def test_signatures_and_sections():
    def of(a: "int", b: "str | None" = None, *, c: "float" = 0.5) -> "list[int]": ...

    assert docs.signature("of", of) == "of(a: int, b: str | None = None, *, c: float = 0.5) -> list[int]"
    assert docs.signature("o" * 60, of).splitlines()[1:3] == ["    a: int,", "    b: str | None = None,"]
    text = "Says ``x`` of :class:`feamoe.Model`::\n\n    code\n\nParameters\n----------\nX : frame\n    The rows,\n"
    text += "    all."
    assert docs.markdown(text) == (
        "Says `x` of `feamoe.Model`:\n\n    code\n\n**Parameters**\n\n- `X : frame`\n  The rows,\n  all."
    )
