"""Schemas: what the columns of a table mean."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np

from ._feamoe import FeamoeError
from ._feamoe import infer_schema as _infer
from ._tables import fault, spelled, table

#: A schema: TOML text, the path of a file, or the same as a dictionary.
Schema = Union[str, "os.PathLike[str]", Mapping[str, Any]]


def toml(schema: Schema) -> str:
    """Returns a schema as TOML."""
    if isinstance(schema, Mapping):
        lines = (f"{_key(key)} = {_value(value)}\n" for key, value in schema.items() if value is not None)
        return spelled("".join(lines), "schema")
    if isinstance(schema, str) and ("\n" in schema or "=" in schema):
        return spelled(schema, "schema")
    if not isinstance(schema, (str, os.PathLike)):
        raise fault(f"a value of type {type(schema).__name__}", "TOML, the path of a file, or a dictionary", "schema")
    try:
        return Path(schema).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FeamoeError(f"cannot read the schema {os.fspath(schema)!r}: {reason}") from error


def _key(key: Any) -> str:
    return json.dumps(str(key), ensure_ascii=False)


def _value(value: Any) -> str:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        inside = (f"{_key(key)} = {_value(one)}" for key, one in value.items() if one is not None)
        return "{" + ", ".join(inside) + "}"
    if isinstance(value, str):
        # What JSON escapes, TOML escapes alike; DEL is the one more.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    raise fault(f"a value of type {type(value).__name__}", "text, a number, a list or a dictionary", "schema")


def label(value: Any) -> str:
    """Returns a value as a cell of a table spells it: truth values as ``true`` and ``false``, whole
    numbers without a dot."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (str, int)) or (isinstance(value, float) and not math.isnan(value)):
        return str(value)
    if hasattr(value, "isoformat") and value == value:
        return str(value.isoformat())
    found = "nan" if isinstance(value, float) else f"a value of type {type(value).__name__}"
    raise fault(found, "text, a number, True or False, or a date", "the value of an outcome or a group")


def infer_schema(
    rows: Any, target: str | None = None, positive: Any = None, protected: Sequence[str] | None = None
) -> str:
    """Returns an inferred schema in TOML, as ``feamoe schema`` writes it, to be reviewed and
    corrected by somebody who knows the data.

    ``target``: the column to predict; ``positive``: its favourable value; ``protected``: columns to
    protect; others are only proposed.
    """
    return _infer(table(rows), target, None if positive is None else label(positive), list(protected or []))
