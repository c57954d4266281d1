"""Learning and evaluation where the data lie in parts, *shards*: here in this process, by threads;
the same on Spark in :mod:`feamoe.spark` and on Dask in :mod:`feamoe.dask`.

A shard is a sequence of tables with the same columns, in their order: tables or batches of pyarrow,
frames of pandas or polars, the batches of one partition that ``collect_partitioned()`` of
DataFusion returns. Each is read twice, or more often where filters leave few rows.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from . import _feamoe
from ._feamoe import FeamoeError
from ._learner import FeamoeWarning, Learner
from ._model import Evaluation, EvaluationCounts, Model
from ._schema import Schema
from ._tables import fault

__all__ = ["evaluate", "train"]

#: Rows that an encoding is fitted on, unless the option ``warmup`` says otherwise.
WARMUP = 5_000
#: Rows that are learned from together: few enough not to matter to memory.
LEARNED_ROWS = 1 << 16
#: Rows that are counted together: counts have some cost for each time.
COUNTED_ROWS = 1 << 18


@dataclass(frozen=True)
class Done:
    """What became of a shard."""

    #: Its number, from 1.
    shard: int
    #: Its rows.
    rows: int
    #: What was asked for; nothing of a shard without rows.
    content: bytes
    #: What was wrong with it: message, column, row, found, expected.
    error: tuple[Any, ...] | None = None


#: Of some rows the numbers that were drawn for them, their places, and the rows.
Sample = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], pa.Table]
#: What is done with a shard: its number and its tables.
Work = Callable[[int, Iterator[Any]], Done]
#: Does it with every shard, wherever they are.
Run = Callable[[Work], Iterable[Done]]


def train(
    shards: Iterable[Iterable[Any]],
    *,
    how: str = "join",
    polish: int = 30_000,
    merged_experts: int | None = None,
    **settings: Any,
) -> Learner:
    """Learns separately from each shard, and merges the learners.

    First, the encoding that all learners share is fitted on a sample of all rows. Then a learner
    learns from each shard, in the order of its rows. :meth:`Learner.merge` merges the learners in
    the order of the shards, and the merged learner finally learns from ``polish`` rows of the
    sample. The same shards with the same rows in the same order give the same bytes.

    ``how``: ``"join"`` or ``"average"``. ``polish``: 0 for none; then a shard that lacks a group of
    a target is refused. ``merged_experts``: the largest number of experts in the end. ``settings``:
    the parameters of :class:`Learner`, ``fair={"spd": .05}``, ...

    Shards without rows are skipped; those without usable rows too, with a :class:`FeamoeWarning`.
    """
    return trained(_here(shards), how=how, polish=polish, merged_experts=merged_experts, settings=settings)


def evaluate(
    shards: Iterable[Iterable[Any]], model: Model, *, schema: Schema | None = None, recourse_burden: bool = True
) -> Evaluation:
    """Evaluates a model on the labelled rows of all shards. The numbers equal those of
    :meth:`Model.evaluate` on all rows at once, to the last digit, except for what
    :meth:`EvaluationCounts.evaluation` leaves out."""
    return evaluated(_here(shards), model, schema, recourse_burden)


def _here(shards: Iterable[Iterable[Any]]) -> Run:
    """Works in this process, on as many threads as there are processors."""
    parts = [list(shard) for shard in shards]

    def run(work: Work) -> Iterable[Done]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(work, range(1, len(parts) + 1), map(iter, parts)))

    return run


# What a driver does.


def trained(
    run: Run, *, how: str, polish: int, merged_experts: int | None, settings: Mapping[str, Any]
) -> Learner:
    """Returns a learner of all shards; see :func:`train`."""
    if polish < 0:
        raise fault(str(polish), "a number of rows, 0 for none", "polish")
    for name in ("columns", "encoding"):
        if name in settings:
            raise fault("one", "none: it is that of the rows", name)
    # What is wrong with the settings is said before anything runs.
    Learner(**settings)
    warmup = int(settings.get("warmup", WARMUP))
    seed = int(settings.get("seed", 1))
    start, sample = _start(run, max(polish, warmup), warmup, seed, settings)
    names = sample.column_names
    # The encoding brings its own.
    rest = {name: value for name, value in settings.items() if name not in ("warmup", "bins")}
    parts = _gather(run, partial(learned, start.checkpoint(), names, rest))
    learners = {part.shard: Learner.from_checkpoint(part.content) for part in parts}
    idle = {shard: learner for shard, learner in learners.items() if learner.rows == 0}
    for shard, learner in idle.items():
        text = f"shard {shard} has no usable row, and is left out: {learner.counts}"
        warnings.warn(text, FeamoeWarning, stacklevel=3)
        del learners[shard]
    cores = [learner._started() for learner in learners.values()]
    polished = sample.slice(0, polish)
    rows = start._table(polished, None, None) if polish else None
    core, notes = _feamoe.Learner.merge(cores, how, rows, merged_experts, list(learners))
    for note in notes:
        warnings.warn(note, FeamoeWarning, stacklevel=3)
    merged = Learner._resumed(core)
    merged._seen = dict(start._seen)
    return merged


def evaluated(run: Run, model: Model, schema: Schema | None, recourse_burden: bool) -> Evaluation:
    """Judges a model on all shards; see :func:`evaluate`."""
    parts = _gather(run, partial(counted, model, schema, recourse_burden))
    if not parts:
        raise FeamoeError("found no rows in any shard, expected some to judge the model on")
    return EvaluationCounts(_feamoe.sum_counts([(part.shard, part.content) for part in parts])).evaluation()


def _gather(run: Run, work: Work) -> list[Done]:
    """Returns what became of the shards that have rows, in their order."""
    parts = sorted(run(work), key=lambda part: part.shard)
    for part in parts:
        if part.error is not None:
            text, column, row, found, expected = part.error
            error = FeamoeError(text)
            error.column, error.row, error.found, error.expected = column, row, found, expected
            raise error
    return [part for part in parts if part.rows]


def _start(run: Run, size: int, warmup: int, seed: int, settings: Mapping[str, Any]) -> tuple[Learner, pa.Table]:
    """Returns a learner of a sample of all rows, with the encoding that all shards share, and the
    sample, of rows from everywhere."""
    while True:
        parts = _gather(run, partial(sampled, size, seed))
        if not parts:
            raise FeamoeError("found no rows in any shard, expected some to learn from")
        sample, places = _together(parts, size)
        start = _first(sample, places, settings)
        if start.rows >= warmup or size >= sum(part.rows for part in parts):
            break
        # Filters and missing labels left too few.
        size *= 4
    if start.rows == 0:
        raise FeamoeError(f"found no usable row in any shard, expected some to learn from: {start.counts}")
    if start.rows < warmup:
        # There are no more.
        start = _first(sample, places, {**settings, "warmup": start.rows})
    return start, sample


def _first(sample: pa.Table, places: Sequence[tuple[int, int]], settings: Mapping[str, Any]) -> Learner:
    """Learns from a sample whose rows are of these shards and of these places in them."""
    start = Learner(**settings)
    try:
        start.learn_many(sample)
    except FeamoeError as error:
        if error.row is None:
            raise
        shard, place = places[error.row - 1]
        error.row = 1
        raise _placed(error, shard, place) from None
    return start


def _together(parts: Sequence[Done], size: int) -> tuple[pa.Table, list[tuple[int, int]]]:
    """Returns the rows whose draws are the lowest of all shards, in the order of the draws, and of
    each its shard and its place there, from 0."""
    samples: list[Sample] = [pickle.loads(part.content) for part in parts]
    tables = [table for *_, table in samples]
    for part, table in zip(parts, tables):
        _check_columns(part.shard, table.column_names, tables[0].column_names)
    try:
        rows = pa.concat_tables([table.select(tables[0].column_names) for table in tables], promote_options="permissive")
    except pa.ArrowException:
        raise _other_kind(parts, tables) from None
    lowest = np.argsort(np.concatenate([draws for draws, *_ in samples]), kind="stable")[:size]
    places = [(part.shard, int(place)) for part, (_, own, _) in zip(parts, samples) for place in own]
    return rows.take(lowest), [places[row] for row in lowest]


def _other_kind(parts: Sequence[Done], tables: Sequence[pa.Table]) -> FeamoeError:
    """Returns the error of a shard whose columns are of other kinds than those of the shards before."""
    for before, (part, table) in enumerate(zip(parts, tables)):
        for name in table.column_names:
            kinds = [pa.field(name, other.schema.field(name).type) for other in tables[: before + 1]]
            try:
                pa.unify_schemas([pa.schema([kind]) for kind in kinds], promote_options="permissive")
            except pa.ArrowException:
                return fault(str(kinds[-1].type), f"{kinds[0].type}, as in the shards before", f"shard {part.shard}", name)
    return FeamoeError("found shards whose columns are of several kinds, expected the same in each")


def _check_columns(shard: int, found: Sequence[str], expected: Sequence[str]) -> None:
    for name in expected:
        if name not in found:
            found_names = f"no column {name!r}, only {', '.join(found)}"
            raise _in_column(name, fault(found_names, "the columns of the rows before", f"shard {shard}"))
    for name in found:
        if name not in expected:
            names = f"the columns of the rows before, {', '.join(expected)}"
            raise _in_column(name, fault(f"a column {name!r}", names, f"shard {shard}"))


def _in_column(column: str, error: FeamoeError) -> FeamoeError:
    error.column = column
    return error


# What is done where a shard lies.


def sampled(size: int, seed: int, shard: int, tables: Iterator[Any]) -> Done:
    """Draws a number for each row and keeps the rows with the lowest ones: their numbers, their
    places in the shard, and the rows."""
    random = np.random.default_rng([seed, shard])

    def keep(kept: Sample | None, rows: pa.Table, before: int) -> Sample:
        draws, places = random.random(len(rows)), np.arange(before, before + len(rows))
        if kept is not None:
            lower = np.flatnonzero(draws < (kept[0].max() if len(kept[0]) >= size else 1.0))
            rows = pa.concat_tables([kept[2], rows.take(lower)], promote_options="permissive")
            draws, places = (np.concatenate([old, new[lower]]) for old, new in zip(kept, (draws, places)))
        lowest = np.sort(np.argpartition(draws, size)[:size]) if len(draws) > size else np.arange(len(draws))
        return draws[lowest], places[lowest], rows.take(lowest)

    return _over(shard, tables, keep, pickle.dumps)


def learned(start: bytes, columns: list[str], settings: Mapping[str, Any], shard: int, tables: Iterator[Any]) -> Done:
    """Learns from a shard by the encoding of an earlier run; returns the checkpoint."""

    def learn(learner: Learner | None, rows: pa.Table, _: int) -> Learner:
        learner = learner or Learner(**settings, columns=columns, encoding=start)
        _check_columns(shard, rows.column_names, columns)
        learner.learn_many(rows)
        return learner

    return _over(shard, tables, learn, Learner.checkpoint)


def counted(model: Model, schema: Schema | None, recourse_burden: bool, shard: int, tables: Iterator[Any]) -> Done:
    """Counts what an evaluation of a shard reports."""

    def count(sums: list[EvaluationCounts] | None, rows: pa.Table, _: int) -> list[EvaluationCounts]:
        return [*(sums or []), model.count(rows, schema=schema, recourse_burden=recourse_burden)]

    def content(sums: list[EvaluationCounts]) -> bytes:
        return EvaluationCounts.sum(sums).to_bytes()

    return _over(shard, tables, count, content, COUNTED_ROWS)


def _chunks(shard: int, tables: Iterator[Any], size: int) -> Iterator[pa.Table]:
    """Cuts the rows of a shard anew, so that it does not matter how they came."""
    waiting: pa.Table | None = None
    for given in tables:
        rows = arrow(given)
        if waiting is not None:
            _check_columns(shard, rows.column_names, waiting.column_names)
            rows = pa.concat_tables([waiting, rows.select(waiting.column_names)], promote_options="permissive")
        while len(rows) >= size:
            yield rows.slice(0, size)
            rows = rows.slice(size)
        waiting = rows
    if waiting is not None:
        yield waiting


def _over(
    shard: int,
    tables: Iterator[Any],
    work: Callable[[Any, pa.Table, int], Any],
    content: Callable[[Any], bytes],
    size: int = LEARNED_ROWS,
) -> Done:
    """Goes over the tables of a shard; an error is returned with its place."""
    state: Any = None
    before = 0
    try:
        for rows in _chunks(shard, tables, size):
            if len(rows):
                state = work(state, rows, before)
                before += len(rows)
        return Done(shard, before, b"" if state is None else content(state))
    except (FeamoeError, pa.ArrowException) as error:
        placed = error if str(error).startswith(f"shard {shard}") else _placed(error, shard, before)
        details = tuple(getattr(placed, name, None) for name in ("column", "row", "found", "expected"))
        return Done(shard, before, b"", (str(placed), *details))


def _placed(error: Exception, shard: int, before: int) -> FeamoeError:
    """Returns an error with the shard and, as far as is known, the row in it."""
    column, row, found, expected = (getattr(error, name, None) for name in ("column", "row", "found", "expected"))
    if row is None or found is None or expected is None:
        return FeamoeError(f"shard {shard}, rows from {before + 1} on: {error}")
    placed = fault(found, expected, f"shard {shard}, row {before + row}", column)
    placed.row = before + row
    return placed


def arrow(rows: Any) -> pa.Table:
    """Returns rows as a table of pyarrow, of plain columns."""
    if hasattr(rows, "to_pyarrow"):
        rows = rows.to_pyarrow()
    if isinstance(rows, pa.RecordBatch):
        rows = pa.Table.from_batches([rows])
    elif not isinstance(rows, pa.Table):
        is_pandas = type(rows).__module__.partition(".")[0] == "pandas"
        rows = pa.Table.from_pandas(rows, preserve_index=False) if is_pandas else pa.table(rows)
    for place, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(place, field.name, rows.column(place).cast(field.type.value_type))
    return rows.replace_schema_metadata(None)
