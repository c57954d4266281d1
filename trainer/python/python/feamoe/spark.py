"""Models on frames of `Apache Spark <https://spark.apache.org>`_: scores and explanations, also of
a stream. Rows reach the model as Arrow, a batch at a time; ``spark.sql.execution.arrow.maxRecordsPerBatch``
of 65,536 serves well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ._model import Model
from ._tables import fault

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["explain", "score"]


def score(frame: DataFrame, model: Model) -> DataFrame:
    """Returns a frame, or a stream, with what the model says of every row: ``probability`` of the
    favourable outcome (calibrated where the model is), ``score`` (what is compared with the
    threshold), ``decision``. Columns are found by the names of the features; null is missing."""
    columns = {"probability": "float", "score": "float", "decision": "boolean"}

    def of(model: Model, rows: pa.Table) -> list[Any]:
        return [model.predict_proba(rows), model.score(rows), model.decide(rows)]

    return _with(frame, model, columns, of)


def explain(frame: DataFrame, model: Model, *, method: str = "path", **wishes: Any) -> DataFrame:
    """Returns a frame, or a stream, with why every row has its score: ``values``, an array in the
    order of ``model.features`` (of the groups, where ``groups`` are given), and ``base_value``, which they
    are added to. ``method`` and ``wishes``: those of :meth:`feamoe.Model.explain`."""
    columns = {"values": "array", "base_value": "double"}

    def of(model: Model, rows: pa.Table) -> list[Any]:
        explained = model.explain(rows, method=method, **wishes)
        return [pa.array(list(explained.values), pa.list_(pa.float64())), pa.array(explained.base_values, pa.float64())]

    return _with(frame, model, columns, of)


def _with(
    frame: DataFrame, model: Model, columns: dict[str, str], of: Callable[[Model, pa.Table], list[Any]]
) -> DataFrame:
    """Adds columns to a frame."""
    from pyspark.sql.types import ArrayType, BooleanType, DataType, DoubleType, FloatType, StructField, StructType

    for column in columns:
        if column in frame.columns:
            raise fault("one", f"none of this name, which is added to the frame; rename it ({column})", column=column)
    for feature in model.features:
        if feature not in frame.columns:
            raise fault(", ".join(frame.columns), "a column of this name in the frame", column=feature)
    kinds: dict[str, DataType] = {
        "array": ArrayType(DoubleType()),
        "boolean": BooleanType(),
        "double": DoubleType(),
        "float": FloatType(),
    }
    schema = StructType([*frame.schema.fields, *(StructField(name, kinds[kind]) for name, kind in columns.items())])
    given = _share(frame, model.to_bytes())

    def batches(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        own = Model(given())
        for batch in rows:
            if batch.num_rows == 0:
                continue
            table = pa.Table.from_batches([batch])
            for name, column in zip(columns, of(own, table.select(own.features)), strict=True):
                table = table.append_column(name, [column if isinstance(column, pa.Array) else pa.array(column)])
            yield from table.to_batches()

    return frame.mapInArrow(batches, schema)


def _share(frame: DataFrame, model: bytes) -> Callable[[], bytes]:
    """Sends a model to the workers once; with each task where the session has no context."""
    try:
        shared = frame.sparkSession.sparkContext.broadcast(model)
    except Exception:  # Spark Connect names its error by version.
        return lambda: model
    return lambda: shared.value
