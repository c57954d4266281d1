"""A model as a function of an SQL engine that runs in this process: `DuckDB <https://duckdb.org>`_
or `DataFusion <https://datafusion.apache.org/python>`_. Rows go to the model as Arrow, a batch at a
time, by the names of the features."""

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
    """Registers a model with a connection of DuckDB; returns the SQL that calls it with the columns
    of the same names as its features.

    ``what``: the ``probability`` of the favourable outcome, calibrated where the model is; the
    ``score`` that is compared with the threshold; or the ``decision``, a BOOLEAN. Numbers are taken
    as DOUBLE, categories as VARCHAR, NULL as missing.
    """
    kinds = {feature["name"]: feature["kind"] for feature in model.about["features"]}
    of = _of(model, what)

    def call(rows: pa.ChunkedArray | pa.StructArray) -> pa.Array:
        chunks = rows.chunks if isinstance(rows, pa.ChunkedArray) else [rows]
        return pa.array(of(pa.Table.from_batches([pa.RecordBatch.from_struct_array(chunk) for chunk in chunks])))

    record = {feature: "DOUBLE" if kind == "number" else "VARCHAR" for feature, kind in kinds.items()}
    returned = "BOOLEAN" if what == "decision" else "FLOAT"
    connection.create_function(
        name, call, [connection.struct_type(record)], returned, type="arrow", null_handling="special"
    )
    fields = ", ".join(f"{_text(feature)}: {_column(feature)}" for feature in kinds)
    return f"{_column(name)}({{{fields}}})"


def datafusion(context: Any, model: Model, name: str = "feamoe", what: What = "probability") -> str:
    """Registers a model with a session context of DataFusion; returns the SQL that calls it with
    the columns of the same names as its features. All else is as in :func:`duckdb`."""
    from datafusion import udf

    features = model.about["features"]
    of = _of(model, what)

    def call(*columns: pa.Array) -> pa.Array:
        return pa.array(of(pa.table(list(columns), names=[feature["name"] for feature in features])))

    types = [pa.float64() if feature["kind"] == "number" else pa.string() for feature in features]
    returned = pa.bool_() if what == "decision" else pa.float32()
    context.register_udf(udf(call, types, returned, "immutable", name))
    casts = zip(features, ("DOUBLE" if feature["kind"] == "number" else "VARCHAR" for feature in features))
    arguments = ", ".join(f"arrow_cast({_column(of['name'])}, {_arrow(kind)})" for of, kind in casts)
    return f"{_column(name)}({arguments})"


def _of(model: Model, what: str) -> Callable[[pa.Table], np.ndarray]:
    """What of a model a function returns."""
    known = {"probability": model.predict_proba, "score": model.score, "decision": model.decide}
    if what not in known:
        raise fault(repr(what), "probability, score or decision", "what")
    return known[what]


def _arrow(kind: str) -> str:
    return "'Float64'" if kind == "DOUBLE" else "'Utf8'"


def _column(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    """Text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"
