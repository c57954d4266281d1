"""What objects show of themselves in a notebook: plain tables, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def model(about: dict[str, Any]) -> str:
    return ""


def export(about: dict[str, Any], costs: dict[str, Any] | None) -> str:
    return ""


def explanation(of: Any) -> str:
    return ""


def recourse(of: Any) -> str:
    return ""


def evaluation(of: Any) -> str:
    return ""


def learner(report: dict[str, Any] | None) -> str:
    return ""


def groups(document: dict[str, Any]) -> list[dict[str, Any]]:
    return []


def differences(document: dict[str, Any]) -> list[dict[str, Any]]:
    return []


def rows(head: Sequence[str], body: Iterable[Sequence[Any]]) -> str:
    return escape("")
