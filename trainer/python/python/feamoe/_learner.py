"""Learners of streams."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import _feamoe, _html
from ._feamoe import FeamoeError
from ._model import Model, sensitive_columns, write
from ._schema import Schema, label, toml
from ._tables import column, table


class FeamoeWarning(UserWarning):
    """What the data or the decisions give reason to say: rows in an order, proxies, decisions that
    are all the same, columns that nobody knows."""


class Learner:
    """A learner of a stream of rows: scores each, then learns from it.

    The columns of the rows are those of the first row or table, or of ``columns``. ``target`` is the
    column of the outcome, also where it is given beside the rows; ``positive`` its favourable values.
    ``protected`` names protected columns, each with its privileged values: ``{"sex": "Male"}``, or
    with a table of the schema. In place of all these a ``schema`` may be given.

    ``options`` are the flags of ``feamoe train``, with ``_`` for ``-``: ``fair={"spd": .05}``,
    ``experts=8``, ``bins=32``, ``threshold="auto:balanced"``, ``seed=1``, ...

    A copy by :mod:`pickle` is its checkpoint, which ``feamoe update`` resumes too.
    """

    def __init__(
        self,
        *,
        target: str = "y",
        positive: Any = (True, 1),
        negative: Sequence[Any] = (),
        protected: Mapping[str, Any] | None = None,
        schema: Schema | None = None,
        columns: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        self._target = target
        self._schema = toml(schema) if schema is not None else toml(
            {
                "target": {"column": target, "positive": labels(positive), "negative": labels(negative) or None},
                "protected": protected_tables(protected),
            }
        )
        if schema is not None:
            self._target = _target_of(schema, target)
        self._options = json.dumps(options)
        self._core: _feamoe.Learner | None = None
        self._positive = {label(value): value for value in as_list(positive)}
        self._classes: dict[bool, Any] = {False: False, True: True}
        #: By name, how often a row had a value in a column that the learner does not know.
        self.unknown_columns: dict[str, int] = {}
        if columns is not None:
            self._start([str(name) for name in columns])
        else:
            # What is wrong with schema or options is said at once where no column is needed for it.
            _check_options(self._options)

    @classmethod
    def fit(
        cls,
        rows: Any,
        y: Any = None,
        *,
        verbose: bool | Callable[[int, int, int], None] = False,
        sensitive_features: Any = None,
        **arguments: Any,
    ) -> Learner:
        """Learns from a table, in as many passes as ``epochs`` says (``"auto"``: as many as pay), and
        returns the learner, ready for newer rows.

        ``verbose``: shows progress, by tqdm where it is installed; or is called with rows, pass and
        experts every few thousand rows.
        """
        learner = cls(**arguments)
        data = learner._table(rows, y, sensitive_features)
        with Watcher(verbose) as watcher:
            core, notes = _feamoe.Learner.fit(data, learner._schema, learner._options, watcher)
        learner._core = core
        for note in notes:
            warnings.warn(note, FeamoeWarning, stacklevel=2)
        return learner

    @classmethod
    def from_checkpoint(cls, source: str | os.PathLike[str] | bytes) -> Learner:
        """Resumes from a checkpoint: a file, or the bytes of one."""
        if not isinstance(source, bytes):
            try:
                source = Path(source).read_bytes()
            except OSError as error:
                raise FeamoeError(f"cannot read {os.fspath(source)}: {error.strerror}") from error
        learner = cls.__new__(cls)
        learner._core = _feamoe.Learner.from_bytes(source)
        learner._target = learner._core.target
        learner._schema = ""
        learner._options = "{}"
        learner._positive = {}
        learner._classes = {False: False, True: True}
        learner.unknown_columns = {}
        return learner

    def checkpoint(self) -> bytes:
        """Returns the complete state: what ``feamoe update`` and :meth:`from_checkpoint` resume."""
        return self._started().checkpoint()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the checkpoint to a file, whole or not at all."""
        write(Path(path), self.checkpoint())

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_core"] = None if self._core is None else self._core.checkpoint()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._core is not None:
            self._core = _feamoe.Learner.from_bytes(self._core)  # type: ignore[arg-type]

    # Learning.

    def learn_one(self, x: Mapping[str, Any], y: Any = None) -> None:
        """Learns from one row: a dictionary of values by column, missing where there is none; ``y``:
        its outcome, where the row does not have it."""
        row = self._row(x)
        if y is not None:
            row[self._target] = self._label(y)
        self._ready(row).learn_one(row)

    def learn_many(self, rows: Any, y: Any = None, *, sensitive_features: Any = None) -> None:
        """Learns from the rows of a table, in their order. After an error or Ctrl-C the rows before
        were learned from."""
        data = self._table(rows, y, sensitive_features)
        if self._core is None:
            self._start(data.columns)
        self._started().learn_many(data)

    # Scores, before learning.

    def predict_proba_one(self, x: Mapping[str, Any]) -> dict[Any, float]:
        """Returns the probability of either outcome, by the stream's own weights; learns nothing."""
        if self._core is None:
            return {self._classes[False]: 0.5, self._classes[True]: 0.5}
        probability = self._core.score_one(self._row(x))[0]
        return {self._classes[False]: 1.0 - probability, self._classes[True]: probability}

    def predict_one(self, x: Mapping[str, Any]) -> Any:
        """Returns the outcome that is decided on; learns nothing."""
        if self._core is None:
            return self._classes[False]
        return self._classes[self._core.score_one(self._row(x))[2]]

    # What came of it.

    def export(self) -> Model:
        """Returns the model as it is now."""
        core, messages = self._started().model()
        for message in messages:
            warnings.warn(message, FeamoeWarning, stacklevel=2)
        return Model._of(core)

    @property
    def rows(self) -> int:
        """The rows learned from; the first ones, which the encoding is fitted on, are counted once it
        is."""
        return 0 if self._core is None else self._core.rows

    @property
    def columns(self) -> list[str]:
        """The columns of the rows."""
        return [] if self._core is None else self._core.columns

    def events(self) -> list[dict[str, Any]]:
        """Returns what happened to the mixture and to the encoding, oldest first: drifts, experts
        added and merged, columns whose encoding was fitted again."""
        return [] if self._core is None else json.loads(self._core.events())

    def prequential(self) -> dict[str, Any]:
        """Returns the measures of the stream, each row judged before it was learned from: ``total``
        and ``windows``."""
        return json.loads(self._started().prequential())

    def report(self) -> dict[str, Any]:
        """Returns all of ``feamoe train --format json`` but what is about files: targets with their
        verdicts, gaps of every group, proxies, events, measures."""
        return json.loads(self._started().report())

    def remarks(self) -> list[str]:
        """Returns what is to be said of the rows and the decisions: sorted rows, decisions that are
        all the same, ..."""
        return self._started().remarks()

    def __repr__(self) -> str:
        if self._core is None:
            return "<feamoe.Learner: no rows yet>"
        return f"<feamoe.Learner: {self.rows} rows, {self._core.experts} experts>"

    def _repr_html_(self) -> str:
        return _html.learner(None if self._core is None else self.report())

    # Inside.

    def _start(self, columns: Sequence[str]) -> _feamoe.Learner:
        self._core = _feamoe.Learner(list(columns), self._schema, self._options)
        return self._core

    def _started(self) -> _feamoe.Learner:
        if self._core is None:
            raise FeamoeError("found a learner without rows, expected one that has learned from some")
        return self._core

    def _ready(self, row: Mapping[str, Any]) -> _feamoe.Learner:
        if self._core is not None:
            return self._core
        return self._start(list(row) if self._target in row else [*row, self._target])

    def _row(self, x: Mapping[str, Any]) -> dict[str, Any]:
        row = {name if isinstance(name, str) else str(name): value for name, value in x.items()}
        if self._core is not None:
            known = self._known()
            for name in row:
                if name not in known:
                    self._note_unknown(name)
        return row

    def _known(self) -> set[str]:
        known = self.__dict__.get("_known_columns")
        if known is None:
            known = self.__dict__["_known_columns"] = set(self.columns)
        return known

    def _note_unknown(self, name: str) -> None:
        if name not in self.unknown_columns:
            self.unknown_columns[name] = 0
            text = f"column {name!r}: not among the columns that the learner started with; it learns nothing from it"
            warnings.warn(text, FeamoeWarning, stacklevel=4)
        self.unknown_columns[name] += 1

    def _label(self, y: Any) -> Any:
        # What predictions say is what was learned from.
        text = label(y)
        self._classes[text in self._positive] = y.item() if hasattr(y, "item") else y
        return text

    def _table(self, rows: Any, y: Any, sensitive_features: Any) -> _feamoe.Table:
        data = table(rows)
        added: dict[str, Any] = {}
        if y is not None:
            added[self._target] = column(y)
        if sensitive_features is not None:
            given = sensitive_columns(sensitive_features)
            added |= {name: column(values) for name, values in given.items() if name not in data.columns}
        there = [name for name in added if name in data.columns]
        if there:
            raise FeamoeError(
                f"found {', '.join(there)} in the rows and beside them, expected it once; leave one of them out"
            )
        return data.with_columns(list(added), list(added.values())) if added else data


class Watcher:
    """Shows progress: rows by tqdm where it is installed, else a line now and then."""

    def __init__(self, verbose: bool | Callable[[int, int, int], None]) -> None:
        self._said = verbose
        self._bar: Any = None
        if verbose is True:
            try:
                from tqdm.auto import tqdm

                self._bar = tqdm(unit=" rows", desc="feamoe")
            except ImportError:
                pass

    def __enter__(self) -> Callable[[int, int, int], None] | None:
        return self._watch if self._said else None

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _watch(self, rows: int, epoch: int, experts: int) -> None:
        if callable(self._said):
            self._said(rows, epoch, experts)
        elif self._bar is not None:
            self._bar.update(rows - self._bar.n)
            self._bar.set_postfix(epoch=epoch, experts=experts)
        else:
            print(f"feamoe: {rows} rows, pass {epoch}, {experts} experts", file=sys.stderr)


def as_list(values: Any) -> list[Any]:
    """Returns some values, or the only one, as a list."""
    return list(values) if isinstance(values, (list, tuple, set, frozenset)) else [values]


def labels(values: Any) -> list[str]:
    """Returns values as a schema spells them."""
    return list(dict.fromkeys(label(value) for value in as_list(values)))


def protected_tables(protected: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Returns the schema's tables of protected columns: of each its privileged values, or a table."""
    tables = []
    for name, privileged in (protected or {}).items():
        rest = dict(privileged) if isinstance(privileged, Mapping) else {"privileged": privileged}
        for key in ("privileged", "unprivileged"):
            if rest.get(key) is not None:
                rest[key] = labels(rest[key])
        tables.append({"column": str(name), **rest})
    return tables


def _target_of(schema: Schema, default: str) -> str:
    if isinstance(schema, Mapping):
        return schema.get("target", {}).get("column", default)
    return _feamoe.target_of(toml(schema))


def _check_options(options: str) -> None:
    _feamoe.check_options(options)
