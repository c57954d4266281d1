"""Learners of streams."""

from __future__ import annotations

import json
import os
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _feamoe, _html
from ._feamoe import FeamoeError
from ._model import Model, sensitive_columns
from ._schema import Schema, label, toml
from ._tables import column, fault, spelled, table

if TYPE_CHECKING:
    from typing_extensions import Self


class FeamoeWarning(UserWarning):
    """What the data or the decisions give reason to say: rows in an order, proxies, decisions that
    are all the same, columns that nobody knows."""


class Learner:
    """A learner for a stream of rows: scores each row, then learns from it.

    The columns are those of the first row or table, or of ``columns``. Other columns of later rows
    are not learned from; they are counted in :attr:`unknown_columns`, with one warning per column.

    ``target`` is the column of the outcome (default ``"y"``), also if it is given separately from
    the rows; ``positive`` its favourable values (default ``True`` and ``1``); ``negative`` the
    unfavourable ones: rows with neither, or without an outcome, are left out and counted. Without
    ``negative``, every other value is unfavourable.

    ``protected`` names the protected columns, each with its privileged values (``{"sex": "Male"}``)
    or a table of the schema. ``features`` is the schema's table of that name:
    ``{"categorical": ["zip"], "monotone": {"income": "up"}, "drop": ["id"]}``. A ``schema`` may be
    given instead of all these.

    ``options`` are the flags of ``feamoe train``, with ``_`` instead of ``-``:
    ``fair={"spd": .05}``, ``experts=8``, ``bins=32``, ``threshold="auto:balanced"``,
    ``weight="weight"``, ``label_delay=100``, ``seed=1``, ...

    ``encoding``: a learner with the same schema, or its checkpoint, whose encoding this one uses
    unchanged; needed for learners of parts of the data that :meth:`merge` will merge.

    Several threads may use a learner at once. A copy by :mod:`pickle` continues like the
    original; ``feamoe update`` resumes from :meth:`checkpoint`.
    """

    def __init__(
        self,
        *,
        target: str | None = None,
        positive: Any = None,
        negative: Any = None,
        protected: Mapping[str, Any] | None = None,
        features: Mapping[str, Any] | None = None,
        schema: Schema | None = None,
        columns: Sequence[str] | None = None,
        encoding: Learner | str | os.PathLike[str] | bytes | None = None,
        **options: Any,
    ) -> None:
        self._prepare(target, positive, negative, protected, features, schema, options)
        if encoding is not None:
            given = encoding.checkpoint() if isinstance(encoding, Learner) else stored_bytes(encoding)
            self._encoding: bytes | None = given
        if options.get("shuffle") or options.get("epochs", 1) != 1:
            raise fault(
                "several passes, or an order of their own",
                "one pass, since each row comes once; Learner.fit learns from a table in several",
                "epochs, shuffle",
            )
        if columns is not None:
            names = [columns] if isinstance(columns, str) else columns
            self._start([spelled(name, "columns") for name in names])

    def _prepare(
        self,
        target: str | None,
        positive: Any,
        negative: Any,
        protected: Mapping[str, Any] | None,
        features: Mapping[str, Any] | None,
        schema: Schema | None,
        options: dict[str, Any],
    ) -> None:
        own = {
            "target": target,
            "positive": positive,
            "negative": negative,
            "protected": protected,
            "features": features,
        }
        for name in ("protected", "features"):
            if not isinstance(own[name], (Mapping, type(None))):
                raise fault(f"a value of type {type(own[name]).__name__}", "a dictionary by column or key", name)
        given = [name for name, value in own.items() if value is not None]
        if schema is not None and given:
            raise fault(f"schema and {', '.join(given)}", "one of them: a schema says all that they say")
        favourable = as_list((True, 1) if positive is None else positive)
        others = as_list(() if negative is None else negative)
        if schema is None:
            schema = {
                "target": {
                    "column": "y" if target is None else spelled(target, "target"),
                    "positive": labels(favourable),
                    "negative": labels(others) or None,
                },
                "protected": protected_tables(protected),
                "features": features,
            }
        else:
            favourable, others = [], []
        self._schema = toml(schema)
        self._options = json.dumps(options, default=_plain)
        # What is wrong with either is said at once.
        self._target, unfavourable, listed = _feamoe.target_of(self._schema)
        _feamoe.check_options(self._options)
        self._begin(others or [read(text) for text in unfavourable], favourable or [read(text) for text in listed])

    def _begin(self, unfavourable: list[Any], favourable: list[Any]) -> None:
        self._core: _feamoe.Learner | None = None
        self._encoding = None
        self._known: frozenset[str] = frozenset()
        #: The names that the outcomes may have, and those that they had in the rows.
        self._named: dict[bool, list[Any]] = {False: unfavourable, True: favourable}
        self._seen: dict[bool, Any] = {}
        self._lock = threading.RLock()
        #: The number of rows with each unknown column, by name.
        self.unknown_columns: dict[str, int] = {}

    @classmethod
    def fit(
        cls,
        rows: Any,
        y: Any = None,
        *,
        verbose: bool | Callable[[int, int, int], None] = False,
        sensitive_features: Any = None,
        target: str | None = None,
        positive: Any = None,
        negative: Any = None,
        protected: Mapping[str, Any] | None = None,
        features: Mapping[str, Any] | None = None,
        schema: Schema | None = None,
        **options: Any,
    ) -> Self:
        """Learns from a table in ``epochs`` passes (``"auto"``: as many as pay off), in random
        order with ``shuffle``, and returns the learner, which can learn from newer rows. Everything
        else is as in :class:`Learner`.

        ``verbose``: whether to show progress (with tqdm if it is installed), or a function that is
        called with rows, pass and experts every few thousand rows.
        """
        learner = cls.__new__(cls)
        learner._prepare(target, positive, negative, protected, features, schema, options)
        data = learner._table(rows, y, sensitive_features)
        with Watcher(verbose) as watcher:
            core, notes = _feamoe.Learner.fit(data, learner._schema, learner._options, watcher)
        learner._set(core)
        learner._see(data)
        for note in notes:
            warnings.warn(note, FeamoeWarning, stacklevel=2)
        return learner

    @classmethod
    def from_checkpoint(cls, source: str | os.PathLike[str] | bytes) -> Self:
        """Resumes from a checkpoint: a file, or the bytes of one."""
        return cls._resumed(_feamoe.Learner.from_bytes(stored_bytes(source)))

    @classmethod
    def merge(
        cls, learners: Sequence[Learner], how: str = "join", polish: Any = None, *, experts: int | None = None
    ) -> Self:
        """Merges learners that learned independently from parts of the data, with the ``encoding``
        of one earlier learner. The same learners in the same order give the same bytes.

        ``how``: ``"join"`` keeps all experts side by side, each part weighted by its share of the
        records; ``"average"`` averages the weights of parts with the same number of experts.
        ``experts``: the largest number of experts; the closest are merged. ``polish``: a table with
        rows of all parts, learned from once at the end, preferably rows that no part has learned
        from. Without it, no target is judged before the merged learner has decided rows, and parts
        that lack a group of a target are refused. Rows that seem to count twice cause a
        ``FeamoeWarning``.
        """
        parts = list(learners)
        if not all(isinstance(part, Learner) for part in parts) or not parts:
            raise fault("something else", "a list of learners", "learners")
        cores = [part._started() for part in parts]
        rows = None if polish is None else parts[0]._table(polish, None, None)
        core, notes = _feamoe.Learner.merge(cores, how, rows, experts)
        merged = cls._resumed(core)
        for part in parts:
            merged._seen = part._seen | merged._seen
        for note in notes:
            warnings.warn(note, FeamoeWarning, stacklevel=2)
        return merged

    @classmethod
    def _resumed(cls, core: _feamoe.Learner) -> Self:
        learner = cls.__new__(cls)
        unfavourable, favourable = core.labels()
        learner._begin([read(text) for text in unfavourable], [read(text) for text in favourable])
        learner._schema, learner._options, learner._target = "", "{}", core.target
        learner._set(core)
        return learner

    def checkpoint(self) -> bytes:
        """Returns the complete state, from which ``feamoe update`` and :meth:`from_checkpoint`
        resume."""
        return self._started().checkpoint()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the checkpoint to a file atomically. A new file is readable only by its owner.
        Refused while another process writes the file."""
        self._started().save(Path(path))

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"], state["_known"]
        state["_core"] = None if self._core is None else self._core.checkpoint()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        checkpoint = state["_core"]
        self.__dict__.update(state | {"_core": None, "_known": frozenset(), "_lock": threading.RLock()})
        if checkpoint is not None:
            self._set(_feamoe.Learner.from_bytes(checkpoint))

    # Learning.

    def learn_one(self, x: Mapping[str, Any], y: Any = None) -> None:
        """Learns from one row, a dictionary of values by column; absent values are missing. ``y``
        is its outcome, if the row does not contain it. Protected columns and the column of weights
        are columns of the row. A row without an outcome is counted, but not learned from."""
        row = _row(x)
        if y is not None:
            if self._target in row:
                raise fault(
                    "an outcome in the row and beside it", "it once; leave one of them out", column=self._target
                )
            row[self._target] = y
        core = self._core or self._start([spelled(name, "the row") for name in dict.fromkeys([*row, self._target])])
        self._note_unknown(row, 1)
        favourable = core.learn_one(row)
        if favourable is not None and favourable not in self._seen:
            # Predictions call an outcome what it was called first.
            outcome = row[self._target]
            self._seen[favourable] = outcome.item() if isinstance(outcome, np.generic) else outcome

    def learn_many(self, rows: Any, y: Any = None, *, sensitive_features: Any = None) -> None:
        """Learns from the rows of a table, in order. After an error or Ctrl-C, the rows before it
        were learned from."""
        data = self._table(rows, y, sensitive_features)
        core = self._core or self._start(data.columns)
        self._note_unknown(data.columns, len(data))
        self._see(data)
        core.learn_many(data)

    # Scores, before learning.

    def predict_proba_one(self, x: Mapping[str, Any]) -> dict[Any, float]:
        """Returns the probability of each outcome with the current weights of the stream, without
        learning."""
        row = _row(x)
        unfavourable, favourable = self.classes
        probability = 0.5 if self._core is None else self._core.score_one(row)[0]
        return {unfavourable: 1.0 - probability, favourable: probability}

    def predict_one(self, x: Mapping[str, Any]) -> Any:
        """Returns the decided outcome, without learning."""
        row = _row(x)
        return self.classes[True if self._core is None else self._core.score_one(row)[2]]

    def predict_proba_many(self, rows: Any) -> dict[Any, NDArray[np.float64]]:
        """Returns the probabilities of each outcome, as an array with a value per row, with the
        current weights of the stream, without learning. The rows need every feature; the outcome
        and protected columns may be absent."""
        unfavourable, favourable = self.classes
        probabilities = self._scores(rows)[0].astype(np.float64)
        return {unfavourable: 1.0 - probabilities, favourable: probabilities}

    def predict_many(self, rows: Any) -> NDArray[Any]:
        """Returns the decided outcome for each row, without learning."""
        unfavourable, favourable = self.classes
        outcomes = np.array([unfavourable, favourable])
        chosen: NDArray[Any] = outcomes[self._scores(rows)[1].astype(np.intp)]
        return chosen

    @property
    def classes(self) -> tuple[Any, Any]:
        """The names of the outcomes in predictions, the unfavourable one first: as first seen in
        the rows, otherwise as in ``negative`` and ``positive`` or the schema."""
        favourable = self._seen.get(True, self._named[True][0])
        for others in ([self._seen[False]] if False in self._seen else [], self._named[False]):
            if others:
                return others[0], favourable
        if isinstance(favourable, bool):
            return not favourable, favourable
        return (0 if favourable == 1 else f"not {favourable}"), favourable

    # What came of it.

    def export(self) -> Model:
        """Returns the current model."""
        core, messages = self._started().model()
        for message in messages:
            warnings.warn(message, FeamoeWarning, stacklevel=2)
        return Model._of(core)

    @property
    def rows(self) -> int:
        """The number of rows so far that have an outcome and pass the filters, each counted once.
        The first rows (``warmup``, by default 5,000) are kept until the encoding is fitted on them;
        meanwhile a draft of the model scores and learns."""
        counts = self.counts
        return counts["favourable"] + counts["unfavourable"]

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of rows ``read``, left out as ``filtered``, ``unlabelled`` or ``weightless``,
        and used as ``favourable`` or ``unfavourable``."""
        names = ("read", "filtered", "unlabelled", "weightless", "favourable", "unfavourable")
        return dict.fromkeys(names, 0) if self._core is None else self._core.counts()

    @property
    def columns(self) -> list[str]:
        """The columns of the rows."""
        return [] if self._core is None else self._core.columns

    def events(self) -> list[dict[str, Any]]:
        """Returns the events of the mixture and the encoding, oldest first: drifts, experts added
        and merged, columns whose encoding was fitted again."""
        events: list[dict[str, Any]] = [] if self._core is None else json.loads(self._core.events())
        return events

    def prequential(self) -> dict[str, Any]:
        """Returns the measures of the stream, with each row scored before it was learned from:
        ``total`` and ``windows``."""
        return _document(self._started().prequential())

    def report(self) -> dict[str, Any]:
        """Returns the document of ``feamoe train --format json`` without the parts about files:
        targets with their verdicts, gaps of every group, proxies, events, measures."""
        return _document(self._started().report())

    def remarks(self) -> list[str]:
        """Returns remarks about the rows and the decisions: sorted rows, decisions that are all the
        same, ..."""
        return self._started().remarks()

    def __repr__(self) -> str:
        if self._core is None:
            return "<feamoe.Learner: no rows yet>"
        return f"<feamoe.Learner: {self.rows} rows, {self._core.experts} experts>"

    def _repr_html_(self) -> str:
        return _html.learner(None if self._core is None else self.report())

    # Inside.

    def _start(self, columns: Sequence[str]) -> _feamoe.Learner:
        with self._lock:
            # Another thread may have had the first row.
            if self._core is None:
                self._set(_feamoe.Learner(list(columns), self._schema, self._options, self._encoding))
            return self._started()

    def _set(self, core: _feamoe.Learner) -> None:
        self._known = frozenset(core.columns)
        self._core = core

    def _started(self) -> _feamoe.Learner:
        if self._core is None:
            raise FeamoeError("found a learner without rows, expected one that has learned from some")
        return self._core

    def _see(self, data: _feamoe.Table) -> None:
        """Notes what the outcomes are called in a table."""
        if len(self._seen) < 2:
            for favourable, name in enumerate(self._started().outcomes(data)):
                if name is not None:
                    self._seen.setdefault(bool(favourable), name)

    def _scores(self, rows: Any) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        data = table(rows)
        if self._core is None:
            return np.full(len(data), 0.5, dtype=np.float32), np.ones(len(data), dtype=bool)
        return self._core.score_many(data)

    def _note_unknown(self, names: Collection[str], rows: int) -> None:
        if self._known.issuperset(names):
            return
        with self._lock:
            for name in set(names) - self._known:
                if name not in self.unknown_columns:
                    text = (
                        f"column {name!r}: not among the columns that the learner started with, so it learns nothing "
                        "from it; name all columns at the start: Learner(columns=[...])"
                    )
                    warnings.warn(text, FeamoeWarning, stacklevel=3)
                self.unknown_columns[name] = self.unknown_columns.get(name, 0) + rows

    def _table(self, rows: Any, y: Any, sensitive_features: Any) -> _feamoe.Table:
        data = table(rows)
        added: dict[str, Any] = {}
        if y is not None:
            added[self._target] = column(y, self._target)
        if sensitive_features is not None:
            given = sensitive_columns(sensitive_features)
            added |= {name: column(values, name) for name, values in given.items() if name not in data.columns}
        there = [name for name in added if name in data.columns]
        if there:
            raise FeamoeError(
                f"found {', '.join(there)} in the rows and beside them, expected it once; leave one of them out"
            )
        return data.with_columns(list(added), list(added.values())) if added else data


def stored_bytes(source: str | os.PathLike[str] | bytes) -> bytes:
    """Returns the bytes of a checkpoint: of a file, or as they are."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise FeamoeError(f"cannot read {os.fspath(source)!r}: {error.strerror}") from error
    except (TypeError, ValueError) as error:
        raise fault(f"{source!r}", "the path of a checkpoint, or its bytes") from error


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


def _row(x: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of a row whose names are text."""
    if not isinstance(x, Mapping):
        raise fault(f"a value of type {type(x).__name__}", "a dictionary of values by column", "the row")
    row = {name if isinstance(name, str) else str(name): value for name, value in x.items()}
    if len(row) != len(x):
        raise fault("two names that are spelled alike, such as 1 and '1'", "names that differ as text", "the row")
    return row


def read(text: str) -> Any:
    """Returns the value that a label of a schema stands for: a truth value, a number, or text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if label(value) == text else text
    return text


def _plain(value: Any) -> Any:
    # Numbers and arrays of numpy.
    if hasattr(value, "tolist"):
        return value.tolist()
    raise fault(f"a value of type {type(value).__name__}", "a number, text, True or False, or a dictionary", "options")


def _document(text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    return document


def as_list(values: Any) -> list[Any]:
    """Returns some values, or the only one, as a list."""
    if isinstance(values, np.ndarray):
        return list(values.ravel().tolist())
    return list(values) if isinstance(values, (list, tuple, set, frozenset)) else [values]


def labels(values: Any) -> list[str]:
    """Returns values as a schema spells them."""
    return list(dict.fromkeys(label(value) for value in as_list(values)))


def protected_tables(protected: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Returns the schema's tables of protected columns, given by privileged values or as tables."""
    tables = []
    for name, privileged in (protected or {}).items():
        rest = dict(privileged) if isinstance(privileged, Mapping) else {"privileged": privileged}
        for key in ("privileged", "unprivileged"):
            if rest.get(key) is not None:
                rest[key] = labels(rest[key])
        tables.append({"column": str(name), **rest})
    return tables
