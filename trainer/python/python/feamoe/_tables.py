"""Rows in whatever a user has them in, as a table of the library: one conversion a column."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ._feamoe import FeamoeError, Table

#: What stands for a table that has no name.
NAME = "the table"
#: What rows may be.
ROWS = (
    "a frame of pandas or polars, a table of pyarrow, a dictionary of columns, a list of dictionaries, or a "
    "two-dimensional array"
)
_MOST_INT64 = np.iinfo(np.int64).max


def fault(found: str, expected: str, where: str = "", column: str | None = None) -> FeamoeError:
    """Returns the error of something that was found in another's place."""
    place = ", ".join(part for part in (where, "" if column is None else f"column {column!r}") if part)
    error = FeamoeError(
        f"{place}: found {found}, expected {expected}" if place else f"found {found}, expected {expected}"
    )
    error.column, error.found, error.expected = column, found, expected
    return error


def spelled(name: Any, where: str = "") -> str:
    """Returns a name, or other text, as text that every file can hold."""
    text = str(name)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise fault(ascii(text[error.start : error.end]), "text of Unicode, without lone surrogates", where) from error
    return text


def table(rows: Any, names: Sequence[str] | None = None, name: str = NAME) -> Table:
    """Makes a table of a frame of pandas or polars, a table of pyarrow, a relation of duckdb or
    anything with an Arrow C stream; a dictionary of columns; a list of dictionaries; or a
    two-dimensional array of numpy, whose columns are called ``names``, by default ``x0``, ``x1``, ...

    Columns of the same name are called ``a``, ``a.2``, ``a.3``, as in files.
    """
    if isinstance(rows, Table):
        return rows
    if _is_pandas(rows, "DataFrame"):
        return _of_pandas(rows, name)
    if hasattr(rows, "collect") and type(rows).__module__.startswith("polars"):
        rows = rows.collect()
    if hasattr(rows, "__arrow_c_stream__"):
        return _of_stream(rows, name)
    if isinstance(rows, Mapping):
        return of_columns(rows.items(), name)
    if isinstance(rows, np.ndarray) and rows.dtype.names:
        return of_columns([(field, rows[field]) for field in rows.dtype.names], name)
    if isinstance(rows, (str, bytes, bytearray, set, frozenset)) or not isinstance(rows, (Iterable, np.ndarray)):
        raise fault(f"a value of type {type(rows).__name__}", ROWS, name)
    if not isinstance(rows, np.ndarray):
        rows = list(rows)
        if rows and all(isinstance(row, Mapping) for row in rows):
            keys = dict.fromkeys(key for row in rows for key in row)
            return of_columns([(key, [row.get(key) for row in rows]) for key in keys], name)
        rows = _array(rows, name)
    if rows.ndim != 2:
        raise fault(f"an array of {rows.ndim} dimensions", "2: rows and columns", name)
    if names is None:
        names = [f"x{column}" for column in range(rows.shape[1])]
    if len(names) != rows.shape[1]:
        raise fault(f"{rows.shape[1]} columns", f"one for each of the {len(names)} names", name)
    return of_columns([(key, rows[:, place]) for place, key in enumerate(names)], name)


def of_columns(columns: Iterable[tuple[Any, Any]], name: str = NAME) -> Table:
    """Makes a table of pairs of names and columns."""
    named = [(spelled(key, f"{name}, the name of a column"), values) for key, values in columns]
    return Table.from_columns([key for key, _ in named], [column(values, key) for key, values in named], name)


def column(values: Any, name: str | None = None) -> Any:
    """Returns a column as one of the kinds that the library takes: an array of numbers or truth
    values, codes and categories, or a list of values. ``name`` stands for it in messages."""
    if _is_pandas(values, "Series") or _is_pandas(values, "Categorical"):
        if str(values.dtype) == "category":
            categorical = getattr(values, "cat", values)
            codes = np.ascontiguousarray(categorical.codes, dtype=np.int32)
            return codes, column(categorical.categories.to_numpy(), name)
        values = values.to_numpy()
    elif hasattr(values, "to_pylist"):
        return values.to_pylist()
    elif type(values).__module__.startswith("polars") and hasattr(values, "to_list"):
        return values.to_list()
    if isinstance(values, (str, bytes, bytearray, set, frozenset, Mapping)) or not hasattr(values, "__iter__"):
        raise fault(f"a value of type {type(values).__name__}", "a sequence of values", column=name)
    if not isinstance(values, np.ndarray):
        return list(values)
    if values.ndim != 1:
        raise fault(f"an array of {values.ndim} dimensions", "one of 1", column=name)
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.is_masked(values):
            return values.tolist()
        values = values.data
    if not values.flags.c_contiguous:
        # A field of a structured array may lie anywhere, where no number can be read in place.
        values = values.copy()
    kind = values.dtype.kind
    if kind == "f":
        return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
    if kind == "b":
        return values
    if kind == "i" or (kind == "u" and not (values.size and values.max() > _MOST_INT64)):
        return values.astype(np.int64, copy=False)
    if kind in "Mm":
        return [None if np.isnat(value) else str(value) for value in values]
    return values.tolist()


def _array(rows: list[Any], name: str) -> np.ndarray[Any, Any]:
    try:
        array = np.asarray(rows)
        # Rows of numbers and text: each value stays what it is.
        return np.asarray(rows, dtype=object) if array.dtype.kind in "US" else array
    except Exception as error:
        raise fault(f"rows that are no array ({error})", ROWS, name) from error


def _of_stream(rows: Any, name: str) -> Table:
    try:
        return Table.from_stream(rows, name)
    except FeamoeError:
        raise
    except Exception as error:
        raise FeamoeError(f"{name}: {error}") from error


def _of_pandas(frame: Any, name: str) -> Table:
    if _has_pyarrow() and all(isinstance(key, str) for key in frame.columns):
        try:
            return Table.from_stream(frame, name)
        except Exception:  # noqa: BLE001 - columns of mixed values, or of one name, which pyarrow refuses
            pass
    return of_columns([(key, frame.iloc[:, place]) for place, key in enumerate(frame.columns)], name)


@functools.cache
def _has_pyarrow() -> bool:
    return importlib.util.find_spec("pyarrow") is not None


def _is_pandas(values: Any, kind: str) -> bool:
    return any(cls.__name__ == kind and cls.__module__.partition(".")[0] == "pandas" for cls in type(values).__mro__)
