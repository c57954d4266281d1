"""A model as a function of an SQL engine that runs in this process: `DuckDB <https://duckdb.org>`_
or `DataFusion <https://datafusion.apache.org/python>`_. Rows go to the model as Arrow, a batch at a
time, by the names of the features; a value is taken as in any other table of the same types."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from ._tables import fault

if TYPE_CHECKING:
    from ._model import Model

__all__ = ["datafusion", "duckdb"]

What = Literal["probability", "score", "decision"]


def duckdb(connection: Any, model: Model, name: str = "feamoe", what: What = "probability") -> str:
    """Registers a model with a DuckDB connection, replacing an earlier function of this name, and
    returns the SQL expression that calls it with the columns named like its features.

    ``what``: the ``probability`` of the favourable outcome, calibrated if the model is; the
    ``score`` that is compared with the threshold; or the ``decision``, a BOOLEAN. NULL is missing.
    """
    names, function = _names(model), _function(model, what)
    lower = [name.lower() for name in names]
    for place, name_of in enumerate(lower):
        if name_of in lower[:place]:
            found = "two features that differ by case only, which are one column of DuckDB"
            raise fault(found, "different names", column=names[place])

    def call(*columns: pa.ChunkedArray) -> pa.Array:
        return pa.array(function(pa.table(list(columns), names=names)))

    from duckdb import InvalidInputException

    try:
        connection.remove_function(name)
    except InvalidInputException:
        pass  # There was none.
    returned = "BOOLEAN" if what == "decision" else "FLOAT"
    # Without types of its own it takes the columns as they are.
    connection.create_function(name, call, None, returned, type="arrow", null_handling="special")
    return f"{_column(name)}({', '.join(map(_column, names))})"


def datafusion(context: Any, model: Model, name: str = "feamoe", what: What = "probability") -> str:
    """Registers a model with a DataFusion session context, and returns the SQL expression that
    calls it with the columns named like its features. Everything else is as in :func:`duckdb`."""
    from datafusion import udf

    names, function = _names(model), _function(model, what)
    kinds = [pa.float64() if feature["kind"] == "number" else pa.string() for feature in model.about["features"]]

    def call(types: pa.Array, *columns: pa.Array) -> pa.Array:
        known = types[0].as_py().split(";") if len(types) > 0 else [""] * len(names)
        taken = [_taken(*column) for column in zip(names, columns, known, strict=True)]
        return pa.array(function(pa.table(taken, names=names)))

    returned = pa.bool_() if what == "decision" else pa.float32()
    context.register_udf(udf(call, [pa.string(), *kinds], returned, "immutable", name))
    # A function has types of its own, and what a column was before a cast says how it is taken.
    types = " || ';' || ".join(f"arrow_typeof({_column(feature)})" for feature in names)
    casts = [
        f"arrow_cast({_column(feature)}, '{'Float64' if kind == pa.float64() else 'Utf8'}')"
        for feature, kind in zip(names, kinds, strict=True)
    ]
    return f"{_column(name)}({', '.join([types, *casts])})"


def _taken(name: str, column: pa.Array, known: str) -> pa.Array:
    """A column of this type before its cast, as the model takes it."""
    if column.type == pa.string():
        # 1.0 is the level 1.
        floats = {"Float16": pa.float32(), "Float32": pa.float32(), "Float64": pa.float64()}
        return column.cast(floats[known]) if known in floats else column
    if known.startswith(("Boolean", "Date", "Time", "Duration", "Interval", "Binary")):
        raise fault(f"a column of type {known}", "numbers", column=name)
    return column


def _names(model: Model) -> list[str]:
    names = [feature["name"] for feature in model.about["features"]]
    if not names or None in names:
        raise fault("a model without names", "one with the names of its features, which columns are found by", "model")
    return names


def _function(model: Model, what: str) -> Callable[[pa.Table], np.ndarray]:
    """Returns what is asked of a model, as a function of rows."""
    known = {"probability": model.predict_proba, "score": model.score, "decision": model.decide}
    if what not in known:
        raise fault(repr(what), "probability, score or decision", "what")
    return known[what]


def _column(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'
