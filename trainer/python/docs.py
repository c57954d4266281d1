"""Makes docs/python.md of the package's signatures and docstrings: ``python trainer/python/docs.py``."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import FunctionType
from typing import Any

import feamoe

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"

#: The names of the package itself, in the order of the page.
NAMES = [
    *("FeamoeClassifier", "Learner", "Model", "Explanation", "Recourse", "Evaluation", "EvaluationCounts", "Export"),
    *("infer_schema", "devices", "FeamoeError", "FeamoeWarning"),
]
#: What methods return and nobody makes.
RESULTS = {"Explanation", "Recourse", "Evaluation", "Export"}
#: Longest signature on one line.
WIDTH = 100


def names() -> list[str]:
    """Returns every public name: those of the package, and those that its modules define."""
    found = list(NAMES)
    for module in sorted(module.name for module in pkgutil.iter_modules(feamoe.__path__)):
        if module.startswith("_") or module == "sklearn":
            continue
        within = vars(importlib.import_module(f"feamoe.{module}"))
        own = [name for name, of in within.items() if getattr(of, "__module__", None) == f"feamoe.{module}"]
        found += [f"{module}.{name}" for name in within.get("__all__", own) if not name.startswith("_")]
    return found


def page() -> str:
    """Returns the page."""
    all_names = names()
    links = "\n".join(f"- [`feamoe.{name}`](#{re.sub('[^a-z_]', '', f'feamoe{name}'.lower())})" for name in all_names)
    head = (
        "# The Python package\n\nThis page is made of the package's docstrings: `python trainer/python/docs.py`.\n\n"
        f"{markdown(inspect.getdoc(feamoe) or '')}\n\n{links}\n"
    )
    return "\n".join([head, *(of_name(name) for name in all_names)])


def named(name: str) -> Any:
    """Returns what a public name stands for."""
    of: Any = feamoe
    for part in name.split("."):
        of = getattr(of, part)
    return of


def of_name(name: str) -> str:
    """Returns the section of a class or function."""
    of = named(name)
    has_signature = not (name in RESULTS or isinstance(of, type) and issubclass(of, Exception))
    parts = [section(f"## feamoe.{name}", signature(f"feamoe.{name}", of) if has_signature else "", of)]
    if isinstance(of, type):
        source = "" if issubclass(of, Exception) else inspect.getsource(of)
        started = vars(of).get("__init__")
        if started is not None and started.__doc__:
            parts.append(markdown(inspect.getdoc(started) or "") + "\n")
        attributes = re.findall(r"((?:^ +#: .*\n)+) +self\.(\w+)", source, re.MULTILINE)
        for text, attribute in attributes:
            parts.append(f"### `.{attribute}`\n\n{markdown(' '.join(re.findall('#: (.*)', text)))}\n")
        owner = name.rpartition(".")[2]
        for member, value in vars(of).items():
            if is_own(value) and (member == "__call__" or not member.startswith("_")) and inspect.getdoc(value):
                parts.append(of_member(owner, member, value))
    return "\n".join(parts)


def is_own(value: Any) -> bool:
    """Whether a member of a class is a method or property of this package."""
    of = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    return isinstance(of, FunctionType) and of.__module__.startswith("feamoe")


def of_member(owner: str, name: str, value: Any) -> str:
    """Returns the section of a method or property."""
    if isinstance(value, property):
        return section(f"### `.{name}`", "", value)
    if name == "__call__":
        return section("### Calling it", signature("explainer", value), value)
    of = f"{owner}.{name}" if isinstance(value, (classmethod, staticmethod)) else f".{name}"
    return section(f"### `{of}()`", signature(of, getattr(value, "__func__", value)), value)


def section(title: str, code: str, of: Any) -> str:
    shown = f"```python\n{code}\n```\n\n" if code else ""
    return f"{title}\n\n{shown}{markdown(inspect.getdoc(of) or '')}\n"


class Annotation:
    """A type as its source has it, without quotes."""

    def __init__(self, text: Any) -> None:
        self.text = text

    def __repr__(self) -> str:
        return str(self.text)


def signature(name: str, of: Any) -> str:
    """Returns a signature; of a long one each parameter on a line."""
    found = inspect.signature(of)
    parts: list[str] = []
    keywords = False
    for parameter in found.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not keywords:
            keywords = True
            parts.append("*")
        if parameter.annotation is not inspect.Parameter.empty:
            parameter = parameter.replace(annotation=Annotation(parameter.annotation))
        parts.append(str(parameter))
    returned = ""
    if not isinstance(of, type) and found.return_annotation is not inspect.Signature.empty:
        returned = f" -> {found.return_annotation}"
    line = f"{name}({', '.join(parts)}){returned}"
    return line if len(line) <= WIDTH else f"{name}(\n    " + ",\n    ".join(parts) + f",\n){returned}"


def markdown(text: str) -> str:
    """Returns a docstring as Markdown: roles and double backticks as code, sections of numpydoc as
    lists, examples as blocks of code."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    text = re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)
    text = re.sub(r"`([^`<]+) <(https?://[^>]+)>`_", r"[\1](\2)", text)
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    lines: list[str] = []
    title = ""
    rest = text.splitlines()
    for place, line in enumerate(rest):
        following = rest[place + 1] if place + 1 < len(rest) else ""
        if re.fullmatch("-{3,}", line):
            continue
        if re.fullmatch("-{3,}", following):
            title = line
            lines += [f"**{title}**", ""]
        elif title == "Examples":
            lines.append(f"    {line}" if line else "")
        elif title in ("Parameters", "Attributes", "Returns", "Raises") and line and not line.startswith(" "):
            # A name and what it is; its description is what follows, deeper.
            lines.append(f"- `{line}`")
        elif title and line.startswith("    "):
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line)
    return "\n".join(lines).strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
