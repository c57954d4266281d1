"""Model files: scores, explanations, recourse, evaluation, copies for devices."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _feamoe, _html
from ._feamoe import FeamoeError
from ._schema import Schema, label, toml
from ._tables import column, table

#: What a note on a value means, by its code.
NOTES = {0: "", 1: "missing", 2: "clamped", 4: "unseen"}


def devices() -> list[str]:
    """Returns the devices whose costs :meth:`Model.export` predicts."""
    return _feamoe.devices()


class Model:
    """A model, as ``feamoe train`` writes it and ``feamoe score`` reads it. It is immutable, and
    :mod:`pickle` stores its bytes. Any number of threads may use it at once.

    Tables may be pandas or polars frames, pyarrow tables, duckdb relations, anything with an Arrow
    C stream, dictionaries of columns, or lists of dictionaries. Columns are matched by name;
    additional columns are ignored.
    """

    __slots__ = ("_about", "_core")

    def __init__(self, source: str | os.PathLike[str] | bytes) -> None:
        """Reads a file, or uses the bytes of one.

        Raises :class:`FeamoeError` for an invalid model.
        """
        if isinstance(source, (bytes, bytearray, memoryview)):
            self._core = _feamoe.Model.from_bytes(bytes(source))
        else:
            self._core = _feamoe.Model.load(os.fspath(source))
        self._about: dict[str, Any] | None = None

    @classmethod
    def _of(cls, core: _feamoe.Model) -> Model:
        model = cls.__new__(cls)
        model._core = core
        model._about = None
        return model

    def __reduce__(self) -> tuple[Any, ...]:
        return Model, (self.to_bytes(),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Returns the bytes of the file."""
        return self._core.to_bytes()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file atomically."""
        write(Path(path), self.to_bytes())

    @property
    def about(self) -> dict[str, Any]:
        """The description of the model: threshold, favourable outcome, experts, features with their
        ranges and levels, provenance, and its card (how it was made, and its measures)."""
        if self._about is None:
            self._about = json.loads(self._core.describe())
        return self._about

    @property
    def features(self) -> list[str]:
        """The names of the features."""
        return self._core.features

    @property
    def threshold(self) -> float:
        """The lowest score with a favourable decision."""
        return self._core.threshold

    # Scores.

    def score(self, rows: Any) -> NDArray[np.float32]:
        """Returns the score of every row, in [0, 1], which decides."""
        return self._core.score(table(rows))

    def predict_proba(self, rows: Any) -> NDArray[np.float32]:
        """Returns the probabilities of the favourable outcome: the scores, unless the model is
        calibrated separately."""
        return self._core.calibrated(table(rows))

    def decide(self, rows: Any) -> NDArray[np.bool_]:
        """Returns whether each decision is favourable."""
        return self.score(rows) >= np.float32(self.threshold)

    def score_one(self, values: Mapping[str, Any]) -> float:
        """Returns the score of one record, given as a dictionary with a value for every feature;
        None if it is unknown."""
        return self._core.score_one(values if isinstance(values, dict) else dict(values))

    def gate(self, rows: Any) -> NDArray[np.float32]:
        """Returns the gate weights of the experts for every row, of shape (rows, experts); they sum
        to 1."""
        return self._core.details(table(rows))[2]

    def experts(self, rows: Any) -> NDArray[np.float32]:
        """Returns the experts' own probabilities, of shape (rows, experts)."""
        return self._core.details(table(rows))[3]

    def notes(self, rows: Any) -> NDArray[np.str_]:
        """Returns a note for every value, of shape (rows, features): ``missing``, ``clamped`` (a
        number outside the range of training), ``unseen`` (a level that was absent or too rare in
        training), or an empty string."""
        codes = self._core.details(table(rows))[4]
        words = np.array([NOTES.get(code, "") for code in range(max(NOTES) + 1)])
        return words[codes]

    # Explanations.

    def explain(
        self,
        rows: Any,
        *,
        method: str | None = None,
        background: Any = None,
        background_rows: int = 1000,
        background_where: Sequence[str] = (),
        space: str = "probability",
        groups: Sequence[str] = (),
        reasons: int = 4,
        seed: int = 1,
        budget: int | None = None,
        tolerance: float | None = None,
        max_evaluations: int | None = None,
    ) -> Explanation:
        """Explains the score of every row, with the values of ``feamoe explain``.

        ``method``: ``exact`` Shapley values against background records (the default; records that
        need more than ``budget`` coalitions are sampled, which is reported), ``sampled``, ``path``
        (from the mean record, in microseconds) or ``frozen`` (log-odds, with the gate held fixed).
        ``background``: background records, by default those of the model. ``space``:
        ``probability`` or ``log-odds``. ``groups``: features treated as one, such as
        ``"money=income+debt"``.
        """
        wishes: dict[str, Any] = {
            "method": method,
            "space": space,
            "background_rows": background_rows,
            "background_where": list(background_where),
            "groups": list(groups),
            "reasons": reasons,
            "seed": seed,
            "tolerance": tolerance,
            "max_evaluations": max_evaluations,
        }
        if budget is not None:
            wishes["budget"] = budget
        against = None if background is None else table(background, name="the background")
        explanation = Explanation(json.loads(self._core.explain(table(rows), json.dumps(wishes), against)))
        if against is not None and explanation.method in ("path", "frozen"):
            raise FeamoeError(
                f"background: found rows, but {explanation.method} values are not against any; leave them out, or ask "
                "for exact or sampled values"
            )
        return explanation

    def recourse(
        self,
        rows: Any,
        *,
        immutable: Sequence[str] = (),
        increase_only: Sequence[str] = (),
        decrease_only: Sequence[str] = (),
        ranges: Mapping[str, Sequence[float]] | None = None,
        steps: Mapping[str, float] | None = None,
        costs: Mapping[str, float] | None = None,
        answers: int = 3,
        max_changes: int = 3,
        margin: float = 0.05,
        row: int | None = None,
        schema: Schema | None = None,
    ) -> Recourse:
        """Searches for the nearest changes that make unfavourable decisions favourable.

        The rules given here override those of the model's own schema; protected and immutable
        columns never change. ``margin``: how far the new score exceeds the threshold. ``row``: the
        only row to process, counted from 1.
        """
        wishes = {
            "immutable": list(immutable),
            "increase_only": list(increase_only),
            "decrease_only": list(decrease_only),
            "ranges": {name: list(ends) for name, ends in (ranges or {}).items()},
            "steps": dict(steps or {}),
            "costs": dict(costs or {}),
        }
        found = self._core.recourse(
            table(rows),
            json.dumps(wishes),
            None if schema is None else toml(schema),
            answers,
            max_changes,
            row,
            margin,
        )
        return Recourse(json.loads(found))

    # Judgement.

    def evaluate(
        self,
        rows: Any,
        y: Any = None,
        *,
        sensitive_features: Any = None,
        schema: Schema | None = None,
        recourse_burden: bool = True,
    ) -> Evaluation:
        """Evaluates the model on labelled rows, like ``feamoe evaluate``: accuracy, calibration,
        and every fairness measure by group.

        ``y`` and ``sensitive_features`` supply columns of the schema that ``rows`` does not have.
        ``schema``: by default that of training.
        """
        labelled = with_columns(table(rows), self._schema(schema), y, sensitive_features)
        text = None if schema is None else toml(schema)
        return Evaluation(json.loads(self._core.evaluate(labelled, text, recourse_burden)))

    def count(
        self,
        rows: Any,
        y: Any = None,
        *,
        sensitive_features: Any = None,
        schema: Schema | None = None,
        recourse_burden: bool = True,
    ) -> EvaluationCounts:
        """Counts what :meth:`evaluate` reports, for a part of the rows, which may be empty.
        Everything else is as in :meth:`evaluate`."""
        labelled = with_columns(table(rows), self._schema(schema), y, sensitive_features)
        text = None if schema is None else toml(schema)
        return EvaluationCounts(self._core.count(labelled, text, recourse_burden))

    def threshold_for(self, rows: Any, objective: str, y: Any = None, *, schema: Schema | None = None) -> float:
        """Returns the threshold that an objective chooses on labelled rows: ``auto:accuracy``,
        ``auto:balanced``, ``auto:cost=R`` or ``auto:select=Q``."""
        labelled = with_columns(table(rows), self._schema(schema), y, None)
        return self._core.threshold_for(labelled, objective, None if schema is None else toml(schema))

    def _schema(self, schema: Schema | None) -> dict[str, Any] | None:
        """The columns of target and groups, as far as they are known without reading TOML."""
        if schema is None:
            card = self.about["card"]
            return card["schema"] if card else None
        return dict(schema) if isinstance(schema, Mapping) else None

    # Copies.

    def with_threshold(self, threshold: float) -> Model:
        """Returns a copy with another threshold."""
        return Model._of(self._core.with_threshold(threshold))

    def fewer_experts(self, experts: int) -> Model:
        """Returns a copy with fewer experts, merged in pairs so that the scores of the model's
        background records change least."""
        return Model._of(self._core.fewer_experts(experts))

    def export(
        self,
        *,
        device: str | None = None,
        names: bool = True,
        background: int = 0,
        quantize: str | None = None,
        experts: int | None = None,
        threshold: float | None = None,
    ) -> Export:
        """Returns a copy for a device: without its card, with ``background`` records, with or
        without names; with ``quantize``, with integer weights (``i16``, ``i8``); with fewer
        ``experts``, with another ``threshold``. With ``device`` (see :func:`devices`), its cost
        there is predicted.
        """
        model = self
        if experts is not None and experts < self.about["experts"]:
            model = model.fewer_experts(experts)
        if threshold is not None:
            model = model.with_threshold(threshold)
        core = model._core.device_copy(names, background, quantize)
        costs = None if device is None else json.loads(core.costs(device))
        return Export(Model._of(core), model, costs)

    def to_onnx(self) -> bytes:
        """Returns the model as an ONNX file, for runtimes in other languages: an input of shape
        (records, 1) for each feature, float (NaN if missing) or string (empty if missing);
        ``label``, ``probability``, ``score``, ``gate``, ``attributions`` (of the method ``frozen``)
        and ``base`` as outputs. Scores are close to the model's own, usually within 1e-6. Words for
        a missing value in the model's schema are treated as missing; the caller must remove blanks
        around levels."""
        return self._core.to_onnx()

    def __repr__(self) -> str:
        about = self.about
        return (
            f"<feamoe.Model {about['crc32']}: {about['favourable_outcome'] or 'scores'}, {len(about['features'])} features, "
            f"{about['experts']} experts, {about['bytes']} bytes>"
        )

    def _repr_html_(self) -> str:
        return _html.model(self.about)


class Export:
    """A copy of a model for a device."""

    def __init__(self, model: Model, named: Model, costs: dict[str, Any] | None) -> None:
        #: The copy.
        self.model = model
        #: The cost on the given device: instructions, stack, flash, RAM; None if no device was
        #: given.
        self.costs = costs
        self._named = named

    def to_bytes(self) -> bytes:
        """Returns the bytes."""
        return self.model.to_bytes()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file atomically."""
        self.model.save(path)

    def constants(self, language: str, stem: str = "model") -> str:
        """Returns source code in ``c`` or ``rust``: feature indices and level codes as constants;
        for C also the model as an array. Identifiers start with ``stem``."""
        return self.model._core.constants(self._named._core, language, stem)

    def delta(self, old: Export | Model) -> bytes:
        """Returns the delta that turns an older copy into this one, to be sent to devices that have
        the older copy."""
        other = old.model if isinstance(old, Export) else old
        return self.model._core.delta(other._core)

    def __repr__(self) -> str:
        return f"<feamoe.Export: {len(self.to_bytes())} bytes>"

    def _repr_html_(self) -> str:
        return _html.export(self.model.about, self.costs)


class Explanation:
    """The explanation of scores. Arrays are by row and feature (or group of features); for every
    row, ``base_values + values.sum(axis=1) + residual`` equals ``output``."""

    def __init__(self, document: dict[str, Any]) -> None:
        #: The document of ``feamoe explain --format json``.
        self.document = document
        #: The contribution of each feature to the score, of shape (rows, features).
        self.values = _floats(document["values"]).reshape(-1, len(document["feature_names"]))
        #: The base value of each row.
        self.base_values = _floats(document["base_values"])
        #: The explained output: the score, or its log-odds.
        self.output = _floats(document["output"])
        #: The rounding residual.
        self.residual = _floats(document["residual"])
        #: For ``path``, the part of each value that comes from the gate; otherwise 0.
        self.gate_values = _floats(document["gate_values"]).reshape(self.values.shape)
        #: Standard errors of sampled values; 0 for exact values.
        self.error_std = _floats(document["error_std"]) if "error_std" in document else np.zeros_like(self.values)
        #: The scores.
        self.probability = _floats(document["probability"])
        #: Whether each decision is favourable.
        self.decision = np.array(document["decision"], dtype=bool)
        #: The features, or groups of them.
        self.feature_names: list[str] = document["feature_names"]
        #: The favourable outcome.
        self.output_names: str = document["output_names"]
        #: ``exact``, ``sampled``, ``path`` or ``frozen``.
        self.method: str = document["method"]
        #: ``probability`` or ``log-odds``.
        self.space: str = document["space"]
        #: Numbers, or the codes of levels: -1 unseen, NaN missing.
        self.data = np.array(
            [[np.nan if value is None else value for value in row] for row in document["data"]], dtype=np.float64
        ).reshape(self.values.shape)
        #: The values and levels as in the table, or ``missing``.
        self.display_data = np.array(
            [["missing" if value is None else value for value in row] for row in document["display_data"]], dtype=object
        ).reshape(self.values.shape)
        #: For each row with an unfavourable decision, what lowered the score most: ``feature``,
        #: ``value``, ``attribution``, ``protected``, and ``text`` in words.
        self.reasons: list[list[dict[str, Any]]] = document["reasons"]

    def __len__(self) -> int:
        return len(self.values)

    def importance(self) -> dict[str, float]:
        """Returns the mean magnitude of every feature's values, the largest first, like
        ``feamoe explain --global``."""
        mean = np.abs(self.values.astype(np.float64)).mean(axis=0) if len(self) else np.zeros(len(self.feature_names))
        return {self.feature_names[player]: float(mean[player]) for player in np.argsort(-mean, kind="stable")}

    def to_frame(self, frame: str = "pandas") -> Any:
        """Returns the values as a frame of ``pandas`` or ``polars``: a column for each feature."""
        columns = dict(zip(self.feature_names, self.values.T))
        return _frame(columns, frame)

    def to_shap(self) -> Any:
        """Returns the explanation as ``shap.Explanation``, for shap's plots."""
        from .shap import to_shap

        return to_shap(self)

    def __repr__(self) -> str:
        rows, features = self.values.shape
        return f"<feamoe.Explanation: {self.method} values of {rows} rows, {features} features, in {self.space}>"

    def _repr_html_(self) -> str:
        return _html.explanation(self)


class Recourse:
    """Changes that lead to a favourable decision."""

    def __init__(self, document: dict[str, Any]) -> None:
        #: The document of ``feamoe recourse --format json``.
        self.document = document
        #: The numbers of rows, of declined rows, and of those with and without recourse, and the
        #: mean distance, in total and by group.
        self.summary: dict[str, Any] = document["summary"]

    def answers(self) -> list[dict[str, Any]]:
        """Returns every answer: row (from 1), rank, distance, probability after the changes, and
        the changes, a pair of values by feature."""
        found = self.document["answers"]
        return [
            {
                "row": row,
                "rank": found["rank"][at],
                "distance": found["distance"][at],
                "probability": found["probability"][at],
                "changes": {
                    name: (found["from"][at][place], found["to"][at][place])
                    for place, name in enumerate(found["features"][at])
                },
            }
            for at, row in enumerate(found["row"])
        ]

    def to_frame(self, frame: str = "pandas") -> Any:
        """Returns the answers as a frame of ``pandas`` or ``polars``: a row for each change. If
        numbers and levels change, ``from`` and ``to`` are objects in pandas and strings in
        polars."""
        changes = [
            {key: answer[key] for key in ("row", "rank", "distance", "probability")}
            | {"feature": name, "from": before, "to": after}
            for answer in self.answers()
            for name, (before, after) in answer["changes"].items()
        ]
        names = ["row", "rank", "distance", "probability", "feature", "from", "to"]
        return _frame({name: [change[name] for change in changes] for name in names}, frame)

    def __repr__(self) -> str:
        summary = self.summary
        return f"<feamoe.Recourse: {summary['with_recourse']} of {summary['declined']} declined rows have one>"

    def _repr_html_(self) -> str:
        return _html.recourse(self)


class Evaluation:
    """The evaluation of a model on labelled rows. ``evaluation["accuracy"]`` is
    ``document["accuracy"]``, and likewise for every other key."""

    def __init__(self, document: dict[str, Any]) -> None:
        #: The document of ``feamoe evaluate --format json``.
        self.document = document

    def __getitem__(self, key: str) -> Any:
        return self.document[key]

    def overall(self) -> dict[str, float]:
        """Returns the measures of all rows: their number, accuracy, balanced accuracy, AUC,
        log-loss, calibration error, threshold, selection rate, individual unfairness. NaN if no
        records support the measure."""
        numbers = {key: np.nan if value is None else value for key, value in self.document.items()}
        return {key: value for key, value in numbers.items() if isinstance(value, (int, float))}

    def by_group(self, frame: str = "pandas") -> Any:
        """Returns a row for every protected group, with fairlearn's names for its rates: ``count``,
        ``selection_rate``, ``accuracy``, ``true_positive_rate``, ``true_negative_rate``,
        ``false_positive_rate``, ``false_negative_rate``; in addition ``base_rate`` (the share of
        favourable outcomes), ``precision``, ``calibration_error``, ``recourse_burden`` and counts.
        NaN if no records support the rate.

        ``frame``: ``pandas``, with attribute and group as the index, or ``polars``.
        """
        return _frame(_by_column(_html.groups(self.document)), frame, ["attribute", "group"])

    def differences(self, frame: str = "pandas", *, corrected: bool = False) -> Any:
        """Returns a row for every group compared with its reference, the privileged group, with
        fairlearn's names: ``demographic_parity_difference``, ``demographic_parity_ratio``,
        ``equalized_odds_difference``, ``equal_opportunity_difference``; in addition AIF360's
        ``average_odds_difference``, ``burden`` and ``recourse_burden``. Each has the ends of its 95
        % interval, ``_low`` and ``_high``.

        Differences are signed, group minus reference, while fairlearn's are magnitudes; the ratio
        is the group's rate divided by the reference's. ``too_few`` names the measures with fewer
        than 30 supporting records. ``corrected``: intervals that hold for all comparisons
        simultaneously (Holm).

        ``frame``: ``pandas``, with attribute, group and reference as the index, or ``polars``.
        """
        rows = _html.differences(self.document, corrected)
        return _frame(_by_column(rows), frame, ["attribute", "group", "reference"])

    def __repr__(self) -> str:
        of = self.overall()
        return f"<feamoe.Evaluation: {of['rows']} rows, accuracy {of['accuracy']:.4g}, AUC {of['auc']:.4g}>"

    def _repr_html_(self) -> str:
        return _html.evaluation(self)


class EvaluationCounts:
    """The counts of :meth:`Model.count` for a part of the rows, a *shard*. Counts add up:
    :meth:`evaluation` of the sum equals that of all rows, to the last digit, in any order of the
    shards, except for the order of groups that the schema does not list. They are pickled as bytes,
    a few for each distinct score."""

    __slots__ = ("_bytes",)

    def __init__(self, data: bytes) -> None:
        """Reads the bytes of counts. Raises :class:`FeamoeError` for other bytes."""
        _feamoe.counted_rows(data)
        self._bytes = bytes(data)

    def to_bytes(self) -> bytes:
        """Returns the bytes."""
        return self._bytes

    @classmethod
    def sum(cls, shards: Iterable[EvaluationCounts]) -> EvaluationCounts:
        """Adds up the counts of shards, which must have the same model, schema and options."""
        return cls(_feamoe.sum_counts([(number, shard.to_bytes()) for number, shard in enumerate(shards, 1)]))

    def __add__(self, other: EvaluationCounts) -> EvaluationCounts:
        return EvaluationCounts.sum([self, other]) if isinstance(other, EvaluationCounts) else NotImplemented

    @property
    def rows(self) -> int:
        """The number of labelled rows counted."""
        return _feamoe.counted_rows(self._bytes)

    def evaluation(self) -> Evaluation:
        """Returns the evaluation of the counts. Left out, with a line in
        ``evaluation["warnings"]``: proxies, since the search for them needs a sample of all rows;
        and the individual unfairness by a protected column of numbers whose values the model does
        not know, which depends on the order of the rows. Each shard names the first ten values that
        match nothing; all their rows are counted."""
        return Evaluation(json.loads(_feamoe.evaluation_of(self._bytes)))

    def __reduce__(self) -> tuple[Any, ...]:
        return EvaluationCounts, (self._bytes,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EvaluationCounts) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __repr__(self) -> str:
        return f"<feamoe.EvaluationCounts: {self.rows} rows>"


def _floats(values: Any) -> NDArray[np.float32]:
    # Their shortest digits: each reads back as the same 32-bit float.
    return np.array(values, dtype=np.float32)


def _by_column(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def _frame(columns: Mapping[str, Any], kind: str, index: Sequence[str] = ()) -> Any:
    if kind == "pandas":
        import pandas

        frame = pandas.DataFrame(columns)
        return frame.set_index(list(index)) if index and columns else frame
    if kind == "polars":
        import polars

        # Columns of numbers and text become text.
        return polars.DataFrame(columns, strict=False)
    raise FeamoeError(f"frame: found {kind!r}, expected 'pandas' or 'polars'")


def with_columns(
    rows: _feamoe.Table, schema: Mapping[str, Any] | None, y: Any, sensitive_features: Any
) -> _feamoe.Table:
    """Adds target and protected columns by the names that a schema has for them."""
    names: list[str] = []
    columns: list[Any] = []
    if y is not None:
        if schema is None:
            raise FeamoeError("y: found labels, expected none beside a schema in TOML; put them into the rows")
        names.append(schema["target"]["column"])
        columns.append(column(y))
    if sensitive_features is not None:
        for name, values in sensitive_columns(sensitive_features, schema).items():
            if name not in rows.columns:
                names.append(name)
                columns.append(column(values))
    there = [name for name in names if name in rows.columns]
    if there:
        raise FeamoeError(f"found {', '.join(there)} in the rows and beside them, expected it once; leave one of them out")
    return rows.with_columns(names, columns) if names else rows


def sensitive_columns(given: Any, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns protected columns by name: those of a frame or a dictionary; a single column has the
    name of its series, else that of the schema's only protected column, else
    ``sensitive_feature_0``."""
    if isinstance(given, Mapping):
        return {str(name): values for name, values in given.items()}
    names = getattr(given, "column_names" if hasattr(given, "to_pylist") else "columns", None)
    if names is not None:
        return {str(name): given[name] for name in names}
    array = given if hasattr(given, "dtype") or hasattr(given, "to_pylist") else np.asarray(given, dtype=object)
    if getattr(array, "ndim", 1) == 2:
        return {f"sensitive_feature_{place}": array[:, place] for place in range(array.shape[1])}
    protected = [one["column"] for one in (schema or {}).get("protected", []) if "column" in one]
    name = getattr(given, "name", None) or (protected[0] if len(protected) == 1 else "sensitive_feature_0")
    return {str(name): array}


def write(path: Path, content: bytes) -> None:
    """Writes a file beside its place and renames it."""
    try:
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # A new file has the rights that others would have, not those of a secret.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(beside, path.stat().st_mode if path.exists() else 0o666 & ~mask)
            os.replace(beside, path)
        except BaseException:
            os.unlink(beside)
            raise
    except OSError as error:
        raise FeamoeError(f"cannot write {path}: {error.strerror}") from error


__all__ = ["Evaluation", "EvaluationCounts", "Explanation", "Export", "Model", "Recourse", "devices", "label"]
