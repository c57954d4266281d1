"""Models on frames of `Apache Spark <https://spark.apache.org>`_: scores and explanations, also of
a stream; learning and evaluation where the rows lie. Rows reach the workers' Python as Arrow, a
batch at a time; ``spark.sql.execution.arrow.maxRecordsPerBatch`` of 65,536 serves well."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from . import shards as _shards
from ._added import Added, explanations, scores
from ._learner import Learner
from ._model import Evaluation, Model
from ._schema import Schema
from ._tables import fault

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["evaluate", "explain", "score", "train"]


def score(frame: DataFrame, model: Model, *, keep: Sequence[str] | None = None) -> DataFrame:
    """Returns a frame, or a stream, with the scores of every row: ``probability`` of the favourable
    outcome (calibrated if the model is), ``score`` (which is compared with the threshold),
    ``decision``. Columns are matched by the names of the features; null is missing.

    ``keep``: the columns of the frame to keep, by default all. Fewer columns are faster, since each
    passes through Python."""
    return _with(frame, model, scores(), keep)


def explain(
    frame: DataFrame, model: Model, *, method: str = "path", keep: Sequence[str] | None = None, **wishes: Any
) -> DataFrame:
    """Returns a frame, or a stream, with the explanation of every score: ``values``, an array in
    the order of ``model.features`` (or of the groups, if ``groups`` are given), and ``base_value``.
    ``method`` and ``wishes``: those of :meth:`feamoe.Model.explain`; ``keep`` as in
    :func:`score`."""
    return _with(frame, model, explanations(method, wishes), keep)


def train(
    frame: DataFrame,
    *,
    shards: int | None = None,
    key: str | Sequence[str] | None = None,
    how: str = "join",
    polish: int = 30_000,
    merged_experts: int | None = None,
    **settings: Any,
) -> Learner:
    """Learns separately from the partitions of a frame, and merges the learners: see
    :func:`feamoe.shards.train`. A partition is a shard, numbered from 1. The frame is computed
    twice, or more often if filters leave few rows, so cache an expensive frame.

    ``shards``: first distributes the rows over this number of partitions, by the hash of ``key``
    (default: the whole row), and orders those of a partition by their hashes, so that the same rows
    give the same bytes, wherever they came from. Without it, the partitions of the frame are used
    as they are: order the frame to get the same bytes, and by time to detect drift.
    """
    if shards is not None:
        from pyspark.sql.functions import xxhash64

        every = [_quoted(column) for column in frame.columns]
        keys = every if key is None else [_quoted(name) for name in ([key] if isinstance(key, str) else key)]
        frame = frame.repartition(shards, xxhash64(*keys)).sortWithinPartitions(xxhash64(*every))
    elif key is not None:
        raise fault("a key", "shards=N with it, the number of partitions", "key")
    return _shards.trained(
        _there(frame), how=how, polish=polish, merged_experts=merged_experts, settings=settings
    )


def evaluate(
    frame: DataFrame, model: Model, *, schema: Schema | None = None, recourse_burden: bool = True
) -> Evaluation:
    """Evaluates a model on the labelled rows of a frame, partition by partition. The numbers equal
    those of :meth:`feamoe.Model.evaluate` on all rows at once, to the last digit, except for what
    :meth:`feamoe.EvaluationCounts.evaluation` leaves out."""
    return _shards.evaluated(_there(frame), model, schema, recourse_burden)


def _there(frame: DataFrame) -> _shards.Run:
    """Works where the partitions lie."""

    def run(work: _shards.Work) -> Iterable[_shards.Done]:
        given = _share(frame, pickle.dumps(work))

        def batches(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            from pyspark import TaskContext

            task = TaskContext.get()
            done = pickle.loads(given())((task.partitionId() if task else 0) + 1, rows)
            yield pa.RecordBatch.from_pydict({"done": pa.array([pickle.dumps(done)], pa.binary())})

        return [pickle.loads(row.done) for row in frame.mapInArrow(batches, "done binary").collect()]

    return run


def _with(frame: DataFrame, model: Model, added: Added, keep: Sequence[str] | None) -> DataFrame:
    """Adds columns to a frame."""
    from pyspark.sql.types import ArrayType, BooleanType, DataType, DoubleType, FloatType, StructField, StructType

    kept = added.kept(model, frame.columns, keep)
    kinds: dict[str, DataType] = {
        "array": ArrayType(DoubleType()),
        "boolean": BooleanType(),
        "double": DoubleType(),
        "float": FloatType(),
    }
    fields = [StructField(name, kinds[kind]) for name, kind in added.kinds.items()]
    given = _share(frame, model.to_bytes())
    of, names = added.of, list(added.kinds)

    def batches(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        own = Model(given())
        for batch in rows:
            if batch.num_rows == 0:
                continue
            columns = [pa.array(list(column) if column.ndim == 2 else column) for column in of(own, _only(batch, own))]
            yield pa.RecordBatch.from_arrays([*map(batch.column, kept), *columns], [*kept, *names])

    return frame.mapInArrow(batches, StructType([*(frame.schema[name] for name in kept), *fields]))


def _only(batch: pa.RecordBatch, model: Model) -> pa.Table:
    """Returns the features of a batch."""
    return pa.Table.from_batches([batch]).select(model.features)


def _quoted(name: str) -> str:
    """Returns a name as an expression, whatever it is made of."""
    return "`" + name.replace("`", "``") + "`"


def _share(frame: DataFrame, content: bytes) -> Callable[[], bytes]:
    """Sends bytes to the workers once; with each task where the session has no context."""
    try:
        shared = frame.sparkSession.sparkContext.broadcast(content)
    except Exception:  # Spark Connect names its error by version.
        return lambda: content
    return lambda: shared.value
