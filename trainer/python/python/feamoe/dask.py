"""Models on frames of `Dask <https://www.dask.org>`_: scores and explanations; learning and
evaluation where the rows lie. A partition is a frame of pandas. Threads serve well
(``processes=False``, Dask's default for frames): all work is done outside of Python's lock."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from . import shards as _shards
from ._added import Added, explanations, scores
from ._learner import Learner
from ._model import Evaluation, Model
from ._schema import Schema

__all__ = ["evaluate", "explain", "score", "train"]


def score(frame: Any, model: Model, *, keep: Sequence[str] | None = None) -> Any:
    """Returns a frame with the scores of every row: ``probability`` of the favourable outcome
    (calibrated if the model is), ``score`` (which is compared with the threshold), ``decision``.
    Columns are matched by the names of the features. ``keep``: the columns of the frame to keep, by
    default all."""
    return _with(frame, model, scores(), keep)


def explain(
    frame: Any, model: Model, *, method: str = "path", keep: Sequence[str] | None = None, **wishes: Any
) -> Any:
    """Returns a frame with the explanation of every score: ``values``, an array in the order of
    ``model.features`` (or of the groups, if ``groups`` are given), and ``base_value``. ``method``
    and ``wishes``: those of :meth:`feamoe.Model.explain`; ``keep`` as in :func:`score`."""
    return _with(frame, model, explanations(method, wishes), keep)


def train(
    frame: Any,
    *,
    how: str = "join",
    polish: int = 30_000,
    merged_experts: int | None = None,
    **settings: Any,
) -> Learner:
    """Learns separately from the partitions of a frame, and merges the learners: see
    :func:`feamoe.shards.train`. A partition is a shard, numbered from 1. The frame is computed
    twice, or more often if filters leave few rows, so persist an expensive frame."""
    return _shards.trained(
        _there(frame), how=how, polish=polish, merged_experts=merged_experts, settings=settings
    )


def evaluate(
    frame: Any, model: Model, *, schema: Schema | None = None, recourse_burden: bool = True
) -> Evaluation:
    """Evaluates a model on the labelled rows of a frame, partition by partition. The numbers equal
    those of :meth:`feamoe.Model.evaluate` on all rows at once, to the last digit, except for what
    :meth:`feamoe.EvaluationCounts.evaluation` leaves out."""
    return _shards.evaluated(_there(frame), model, schema, recourse_burden)


def _there(frame: Any) -> _shards.Run:
    """Works where the partitions lie."""

    def run(work: _shards.Work) -> Iterable[_shards.Done]:
        engine: Any = importlib.import_module("dask")

        def done(shard: int, rows: pd.DataFrame) -> _shards.Done:
            return work(shard, iter([rows]))

        parts = enumerate(frame.to_delayed(), 1)
        found: tuple[_shards.Done, ...] = engine.compute(*(engine.delayed(done)(shard, rows) for shard, rows in parts))
        return found

    return run


def _with(frame: Any, model: Model, added: Added, keep: Sequence[str] | None) -> Any:
    """Adds columns to a frame."""
    kept = added.kept(model, list(frame.columns), keep)
    kinds = {"array": object, "boolean": bool, "double": np.float64, "float": np.float32}
    empty = {name: pd.Series(dtype=kinds[kind]) for name, kind in added.kinds.items()}
    return frame.map_partitions(_added, model, added, kept, meta=frame._meta[kept].assign(**empty))


def _added(rows: pd.DataFrame, model: Model, added: Added, kept: list[str]) -> pd.DataFrame:
    columns = added.of(model, rows[model.features])
    return rows[kept].assign(**{
        name: list(column) if column.ndim == 2 else column for name, column in zip(added.kinds, columns)
    })
