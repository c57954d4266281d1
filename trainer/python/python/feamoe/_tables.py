"""Rows in whatever a user has them in, as a table of the library: one conversion a column."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ._feamoe import FeamoeError, Table

#: What stands for a table that has no name.
NAME = "the table"
_MOST_INT64 = np.iinfo(np.int64).max


def table(rows: Any, names: Sequence[str] | None = None, name: str = NAME) -> Table:
    """Makes a table of a frame of pandas or polars, a table of pyarrow, a relation of duckdb or
    anything with an Arrow C stream; a dictionary of columns; a list of dictionaries; or a
    two-dimensional array of numpy, whose columns are called ``names``, by default ``x0``, ``x1``, ...
    """
    if isinstance(rows, Table):
        return rows
    if _is_pandas(rows, "DataFrame"):
        return _of_pandas(rows, name)
    if hasattr(rows, "collect") and type(rows).__module__.startswith("polars"):
        rows = rows.collect()
    if hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
        return Table.from_stream(rows, name)
    if isinstance(rows, Mapping):
        return of_columns(rows, name)
    if isinstance(rows, np.ndarray) and rows.dtype.names:
        return of_columns({field: rows[field] for field in rows.dtype.names}, name)
    if isinstance(rows, (str, bytes)) or not isinstance(rows, (Iterable, np.ndarray)):
        raise FeamoeError(
            f"{name}: found {type(rows).__name__}, expected a frame of pandas or polars, a table of pyarrow, "
            "a dictionary of columns, a list of dictionaries, or a two-dimensional array"
        )
    if not isinstance(rows, np.ndarray):
        rows = list(rows)
        if rows and all(isinstance(row, Mapping) for row in rows):
            keys = dict.fromkeys(key for row in rows for key in row)
            return of_columns({key: [row.get(key) for row in rows] for key in keys}, name)
        rows = np.asarray(rows)
    if rows.ndim != 2:
        raise FeamoeError(f"{name}: found an array of {rows.ndim} dimensions, expected 2: rows and columns")
    if names is None:
        names = [f"x{column}" for column in range(rows.shape[1])]
    if len(names) != rows.shape[1]:
        raise FeamoeError(f"{name}: found {rows.shape[1]} columns, expected one for each of the {len(names)} names")
    return of_columns({key: rows[:, column] for column, key in enumerate(names)}, name)


def of_columns(columns: Mapping[Any, Any], name: str = NAME) -> Table:
    """Makes a table of columns by their names."""
    return Table.from_columns([str(key) for key in columns], [column(values) for values in columns.values()], name)


def column(values: Any) -> Any:
    """Returns a column as one of the kinds that the library takes: an array of numbers or truth
    values, codes and categories, or a list of values."""
    if _is_pandas(values, "Series") or _is_pandas(values, "Categorical"):
        if str(values.dtype) == "category":
            categorical = getattr(values, "cat", values)
            codes = np.ascontiguousarray(categorical.codes, dtype=np.int32)
            return codes, column(categorical.categories.to_numpy())
        values = values.to_numpy()
    elif hasattr(values, "to_pylist"):
        return values.to_pylist()
    elif type(values).__module__.startswith("polars") and hasattr(values, "to_list"):
        return values.to_list()
    if not isinstance(values, np.ndarray):
        return list(values)
    if values.ndim != 1:
        raise FeamoeError(f"found a column of {values.ndim} dimensions, expected 1")
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


def _of_pandas(frame: Any, name: str) -> Table:
    if importlib.util.find_spec("pyarrow") is not None and all(isinstance(key, str) for key in frame.columns):
        try:
            return Table.from_stream(frame, name)
        except Exception:  # noqa: BLE001 - columns of mixed values, which pyarrow refuses
            pass
    return of_columns({key: frame.iloc[:, place] for place, key in enumerate(frame.columns)}, name)


def _is_pandas(values: Any, kind: str) -> bool:
    return any(
        cls.__name__ == kind and cls.__module__.partition(".")[0] == "pandas" for cls in type(values).__mro__
    )
