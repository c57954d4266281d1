"""A classifier of scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Number
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_array, check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import _get_feature_names, check_is_fitted, column_or_1d, validate_data

from ._feamoe import FeamoeError, Table
from ._learner import FeamoeWarning, Learner, as_list, labels, protected_tables
from ._model import Evaluation, Explanation, Model, Recourse, sensitive_columns
from ._schema import label
from ._tables import column, of_columns, table

#: Texts that mean *no value* in a table.
MISSING = ("", "NA", "NaN", "?")
#: Part of the rows that a group needs to become the privileged one unasked.
LEAST_SHARE = 0.1


#: Sensitive features by name, as texts.
Columns = dict[str, NDArray[np.object_]]


class FeamoeClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A fair mixture of logistic experts, for two classes.

    Columns of ``X`` may contain numbers, text, categories, booleans and missing values; no encoding
    is needed. ``X`` may be a pandas or polars frame, a pyarrow table, a numpy array or nested
    lists. Numeric columns are binned, so nothing needs scaling; an infinite number counts as one
    beyond the range of training.

    Parameters
    ----------
    targets : dict, default=None
        Largest gaps between groups, by measure: ``{"spd": 0.05}``. Measures are ``spd``
        (demographic parity), ``aod``, ``eodds``, ``eopp``, ``burden``, ``recourse_burden`` and
        ``impact`` (a smallest ratio). The groups come from ``sensitive_features`` in :meth:`fit`.
    privileged : value, list of values, or dict by column, default=None
        The values of the sensitive features that form the privileged group, with which all others
        are compared. By default the group with the highest rate of favourable outcomes in ``y``
        among the groups with at least a tenth of the rows; see :attr:`privileged_`. A dictionary
        may also name columns of ``X``, which then need not be given as sensitive features, and may
        contain tables of the schema, such as
        ``{"age": {"cuts": [30, 62], "privileged": "30 to below 62"}}``.
    fair_by : {"score", "threshold"}, default="score"
        How targets are met: by the score, or by one threshold per group. The latter needs the
        sensitive feature among the columns of ``X``, and may be forbidden by law.
    individual : float, default=None
        Penalty on decisions that change when only a sensitive feature is changed, 0 to 1.
    penalties : str or list of str, default=None
        The paper's penalties instead of targets: any of ``spd``, ``aod``, ``burden``.
    increment : float or mapping of str to float, default=None
        Increment of the penalties' weight for each expert added, above 0 and at most 0.1; default
        0.02. A mapping has one increment per penalty, which then need not be listed in
        ``penalties``.
    experts : int or "auto", default="auto"
        Largest number of experts, 1 to 64; ``"auto"``: as many as pay off, at most 12.
    grow : str, default=None
        When experts are added: ``every=N`` rows, ``drift``, ``unfair=M`` rows, separated by commas.
        The default is that of ``feamoe train``.
    freeze : bool, default=False
        Whether only the gate and the newest expert learn.
    loss : {"nll", "competitive"}, default="nll"
        The negative log-likelihood of the mixture, or the paper's competitive loss.
    epochs : int or "auto", default=5
        Passes of :meth:`fit` over the rows. ``"auto"``: until the log-loss on a tenth of the rows,
        which only the first pass learns from, no longer falls; at most 20. Measured on other rows
        over five splits of Adult: the log-loss after 26,000 rows was 0.284 with one pass, 0.278 with
        five and 0.279 with ``"auto"``; after 8,000 rows 0.307, 0.289 and 0.289; after 200 rows 0.353,
        0.359 and 0.349. A target of 0.05 left a gap of 0.097, 0.044 and 0.062 after 500 rows.
    shuffle : bool or "auto", default="auto"
        Whether :meth:`fit` learns in random order, drawn by ``random_state`` for each pass;
        ``"auto"``: yes, unless there is only one pass, which treats the rows as a stream.
    bins : int, default=128
        Largest number of bins per numeric column; 0 for none.
    warmup : int, default=5000
        Number of rows that the encoding is fitted on.
    learning_rate : float, default=0.2
        Learning rate, above 0 and at most 1.
    threshold : float or str, default=0.5
        Lowest score with a favourable decision, above 0 and below 1; or a rule to choose it:
        ``"auto:accuracy"``, ``"auto:balanced"``, ``"auto:cost=R"`` (a false negative costs as much
        as R false positives), ``"auto:select=Q"`` (a share Q is selected).
    class_weight : None, "balanced" or dict, default=None
        Weights by class. ``"balanced"``: each class has half of the total weight, and probabilities
        are calibrated. A dictionary weights rows like ``sample_weight``, and probabilities are
        those of the weighted rows.
    monotone : dict, default=None
        Numeric columns with which the score never falls (``"up"``) or never rises (``"down"``).
    positive : label, default=None
        The favourable class; by default the last of the sorted classes.
    background : int, default=1000
        Number of background records in the model, which explanations compare with.
    random_state : int, RandomState or None, default=None
        Seed of all random choices. None means 1, so the same rows always give the same model.
    verbose : bool or callable, default=False
        Whether :meth:`fit` shows its progress; or a function that is called with rows, pass and
        experts.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The classes, sorted.
    positive_ : label
        The favourable class.
    n_features_in_ : int
        Number of columns of ``X``.
    feature_names_in_ : ndarray of str
        Their names, if all are strings.
    privileged_ : dict
        The values of the privileged group, by sensitive feature.
    schema_ : dict
        The schema of the learner: target, protected columns, features.
    model_ : Model
        The model. After :meth:`partial_fit` it is created on first access.
    learner_ : Learner
        The learner, which can learn from newer rows.
    events_ : list of dict
        Events of the mixture: drifts, experts added and merged.
    report_ : dict
        Targets with their verdicts, gaps of every group, proxies, measures of the stream.

    Notes ----- *Score, decision, probability.* A decision is favourable if the score is at least
    the threshold. :meth:`predict` returns that decision, and :meth:`decision_function` the distance
    of the score from the threshold. The score is the probability of the favourable class unless one
    of these changes it: ``targets``, ``penalties``, ``individual``, ``class_weight="balanced"`` or
    the competitive loss. Then :meth:`predict_proba` returns probabilities that are calibrated
    separately from the score, and the class with the larger probability need not be the decision: a
    row with probability 0.6 may be declined so that a target is met. With ``threshold=0.5`` and
    none of these options, :meth:`predict` returns the class with the larger probability.

    *Sensitive features* are inputs of the model only if they are columns of ``X``. Those given only
    as ``sensitive_features`` are needed in :meth:`fit` and :meth:`evaluate`, but not in
    :meth:`predict`. They are matched to rows by position; a pandas index is ignored.

    *Cross-validation* passes on sensitive features if they are requested:
    ``sklearn.set_config(enable_metadata_routing=True)`` and
    ``FeamoeClassifier(...).set_fit_request(sensitive_features=True)``.

    *Sample weights.* A weight of 2 doubles the step of a row. This is not the same as giving the
    row twice, since every step starts where the previous one ended.

    Examples
    --------
    >>> import numpy as np
    >>> from feamoe import FeamoeClassifier
    >>> random = np.random.default_rng(0)
    >>> sex = random.choice(["f", "m"], 4000)
    >>> X = random.normal(size=(4000, 2)) + (sex == "m")[:, None]
    >>> y = X.sum(axis=1) + random.normal(size=4000) > 1
    >>> fair = FeamoeClassifier(targets={"spd": 0.05}).fit(X, y, sensitive_features={"sex": sex})
    >>> fair.privileged_
    {'sex': ['m']}
    >>> selected = fair.predict(X)
    >>> bool(abs(selected[sex == "m"].mean() - selected[sex == "f"].mean()) < 0.1)
    True
    """

    def __init__(
        self,
        *,
        targets: Mapping[str, float] | None = None,
        privileged: Any = None,
        fair_by: str = "score",
        individual: float | None = None,
        penalties: str | Sequence[str] | None = None,
        increment: float | Mapping[str, float] | None = None,
        experts: int | str = "auto",
        grow: str | None = None,
        freeze: bool = False,
        loss: str = "nll",
        epochs: int | str = 5,
        shuffle: bool | str = "auto",
        bins: int = 128,
        warmup: int = 5000,
        learning_rate: float = 0.2,
        threshold: float | str = 0.5,
        class_weight: str | Mapping[Any, float] | None = None,
        monotone: Mapping[str, str] | None = None,
        positive: Any = None,
        background: int = 1000,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | Callable[[int, int, int], None] = False,
    ) -> None:
        self.targets = targets
        self.privileged = privileged
        self.fair_by = fair_by
        self.individual = individual
        self.penalties = penalties
        self.increment = increment
        self.experts = experts
        self.grow = grow
        self.freeze = freeze
        self.loss = loss
        self.epochs = epochs
        self.shuffle = shuffle
        self.bins = bins
        self.warmup = warmup
        self.learning_rate = learning_rate
        self.threshold = threshold
        self.class_weight = class_weight
        self.monotone = monotone
        self.positive = positive
        self.background = background
        self.random_state = random_state
        self.verbose = verbose

    # Learning.

    def fit(
        self, X: Any, y: ArrayLike, *, sample_weight: ArrayLike | None = None, sensitive_features: Any = None
    ) -> FeamoeClassifier:
        """Learns from rows, and forgets what was learned before.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            Their classes: strings, integers or booleans, without missing values.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights of at least 0; only their ratios matter. Measures and targets count every
            row once.
        sensitive_features : frame, dict of columns, or array-like, default=None
            The sensitive features of the rows: one or more columns. A row with a missing value is
            in no group.

        Returns
        -------
        self

        Raises
        ------
        FeamoeError
            A ``ValueError`` for invalid data or options.
        """
        # What fails below must not leave an older learner beside newer columns.
        self.__dict__.pop("learner_", None)
        name = getattr(y, "name", None)
        X, data = self._rows(X, y, reset=True)
        y = _labels(y, X)
        weight = self._weights(y, np.unique(y), sample_weight)
        if weight is not None and not weight.any():
            raise FeamoeError("sample_weight: found only zero weights, expected some above 0")
        given = self._sensitive(X, sensitive_features)
        self._begin(X, y, name, _two_classes(y if weight is None else y[weight > 0]), weight is not None, given)
        self._check_privileged(given)
        rows = self._with_columns(data, y, weight, given)
        shuffle = self.epochs != 1 if isinstance(self.shuffle, str) and self.shuffle == "auto" else self.shuffle
        options = self._options() | {"epochs": _plain(self.epochs), "shuffle": _plain(shuffle)}
        learner = Learner.fit(rows, schema=self.schema_, verbose=self.verbose, **options)
        for remark in learner.remarks():
            warnings.warn(remark, FeamoeWarning, stacklevel=2)
        self._export = _Export(learner)
        self._export.model()
        self.learner_ = learner
        return self

    def partial_fit(
        self,
        X: Any,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        sensitive_features: Any = None,
    ) -> FeamoeClassifier:
        """Learns from further rows, once each and in order; ``epochs`` and ``shuffle`` apply only
        to :meth:`fit`. Calls with the parts of a table give the same bits as one :meth:`fit` of all
        of it with ``epochs=1``, if ``privileged`` is given. Otherwise the rows of the first call
        determine it, with a :class:`FeamoeWarning`.

        Parameters
        ----------
        X, y, sample_weight, sensitive_features
            As for :meth:`fit`. The first call determines whether there are weights, and the
            sensitive features.
        classes : array-like of shape (2,), default=None
            All classes; needed in the first call.

        Returns
        -------
        self

        Raises
        ------
        FeamoeError
            As for :meth:`fit`. The rows before the one with an error were learned from.
        """
        first = not self.__sklearn_is_fitted__()
        if first and classes is None:
            raise FeamoeError("classes must be passed on the first call to partial_fit.")
        known = self.classes_ if classes is None else _two_classes(unique_labels(classes))
        if not first and not np.array_equal(known, self.classes_):
            of_first = self.classes_.tolist()
            raise FeamoeError(f"classes: found {known.tolist()}, expected those of the first call: {of_first}")
        name = getattr(y, "name", None)
        X, data = self._rows(X, y, reset=first)
        y = _labels(y, X, known)
        weight = self._weights(y, known, sample_weight)
        given = self._sensitive(X, sensitive_features)
        if first:
            self._begin(X, y, name, known, weight is not None, given)
            if given and self.privileged is None:
                chosen = {one["column"]: one["privileged"] for one in self.schema_["protected"]}
                text = f"found no privileged, took {chosen} by the first {len(y)} rows; give privileged={chosen}"
                warnings.warn(text, FeamoeWarning, stacklevel=2)
        rows = self._with_columns(data, y, weight, given)
        learner = Learner(schema=self.schema_, columns=rows.columns, **self._options()) if first else self.learner_
        self._export = _Export(learner)
        self.learner_ = learner
        learner.learn_many(rows)
        return self

    # Decisions.

    def predict(self, X: Any) -> NDArray[Any]:
        """Returns the class of every row: the favourable one if the score is at least the
        threshold.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        favourable = self._model_of(X, "decide")
        return self.classes_[np.where(favourable, self._favourable(), 1 - self._favourable())]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns the calibrated probabilities of both classes, in the order of ``classes_``.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, 2)
            Each row sums to 1. The class with the larger probability need not be the one that
            :meth:`predict` returns; see the notes of the class.
        """
        favourable = self._model_of(X, "predict_proba").astype(np.float64)
        both = np.column_stack([1.0 - favourable, favourable])
        return both if self._favourable() else both[:, ::-1]

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Returns the distance of the score of every row from the threshold, positive towards the
        last class.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            In (-1, 1). 0 is a favourable decision.
        """
        past: NDArray[np.float64] = self._model_of(X, "score").astype(np.float64) - self.model_.threshold
        return past if self._favourable() else -past

    def explain(self, X: Any, *, background: Any = None, **options: Any) -> Explanation:
        """Explains the score of every row: Shapley values, or others depending on ``method``.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
        background : frame or array-like of shape (n_rows, n_features), default=None
            Background records; by default those of the model.
        **options
            Those of :meth:`Model.explain`: ``method``, ``space``, ``groups``, ``reasons``, ...

        Returns
        -------
        Explanation
        """
        check_is_fitted(self)
        against = None if background is None else self._rows(background, reset=False)[1]
        return self.model_.explain(self._rows(X, reset=False)[1], background=against, **options)

    def recourse(self, X: Any, **options: Any) -> Recourse:
        """Searches for the nearest changes that make unfavourable decisions favourable.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
        **options
            Those of :meth:`Model.recourse`: ``immutable``, ``increase_only``, ``ranges``, ...

        Returns
        -------
        Recourse
        """
        found: Recourse = self._model_of(X, "recourse", **options)
        return found

    def evaluate(
        self, X: Any, y: ArrayLike, *, sensitive_features: Any = None, recourse_burden: bool = True
    ) -> Evaluation:
        """Evaluates the model on labelled rows: accuracy, calibration, and every fairness measure
        by group.

        Parameters
        ----------
        X : frame or array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sensitive_features : frame, dict of columns, or array-like, default=None
            The sensitive features that define the groups, including ones that :meth:`fit` did not
            have; their privileged group is found in these rows. Those of :meth:`fit` that are
            neither here nor in ``X`` are left out.
        recourse_burden : bool, default=True
            Whether to search for recourse, which takes most of the time.

        Returns
        -------
        Evaluation
        """
        check_is_fitted(self)
        X, data = self._rows(X, y, reset=False)
        y = _labels(y, X, self.classes_)
        given = self._sensitive(X, sensitive_features)
        known = {one["column"]: one for one in self.schema_["protected"]}
        tables = [one for name, one in known.items() if name in given or one["as_feature"]]
        new = {name: texts for name, texts in given.items() if name not in known}
        tables += self._protected(new, y == self.positive_)
        rows = data.with_columns(*self._columns(y, given, tables))
        return self.model_.evaluate(rows, schema=self.schema_ | {"protected": tables}, recourse_burden=recourse_burden)

    # What came of it.

    @property
    def model_(self) -> Model:
        check_is_fitted(self)
        return self._export.model()

    @property
    def events_(self) -> list[dict[str, Any]]:
        check_is_fitted(self)
        return self.learner_.events()

    @property
    def report_(self) -> dict[str, Any]:
        check_is_fitted(self)
        return self.learner_.report()

    @property
    def privileged_(self) -> dict[str, list[str]]:
        check_is_fitted(self)
        return {one["column"]: one["privileged"] for one in self.schema_["protected"]}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "learner_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    # Inside.

    def _model_of(self, X: Any, method: str, **options: Any) -> Any:
        check_is_fitted(self)
        return getattr(self.model_, method)(self._rows(X, reset=False)[1], **options)

    def _favourable(self) -> int:
        """The place of the favourable class."""
        return int(self.classes_[1] == self.positive_)

    def _names(self) -> list[str]:
        names = getattr(self, "feature_names_in_", None)
        return [f"x{place}" for place in range(self.n_features_in_)] if names is None else list(names)

    def _rows(self, X: Any, y: Any = "no_validation", *, reset: bool) -> tuple[Any, Table]:
        """Checks rows as scikit-learn does, and returns them with a table of their columns."""
        if type(X).__name__ == "LazyFrame" and hasattr(X, "collect"):
            X = X.collect()
        if not _is_frame(X):
            if hasattr(X, "__arrow_c_stream__") or hasattr(X, "__arrow_c_array__"):
                raise FeamoeError(
                    f"X: found {type(X).__name__}, expected a frame of pandas or polars, a table of pyarrow or an "
                    "array; make a table of it by pyarrow.table(X)"
                )
            if isinstance(X, (list, tuple)) and np.asarray(X).dtype.kind in "US":
                # Numbers beside text stay numbers.
                X = np.asarray(X, dtype=object)
            X = check_array(X, dtype=None, ensure_all_finite=False, estimator=self, input_name="X")
        elif 0 in X.shape:
            what = "sample" if X.shape[0] == 0 else "feature"
            raise FeamoeError(
                f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 is required by FeamoeClassifier."
            )
        _check_unique("X", X)
        unknown = _is_frame(X) and not hasattr(X, "iloc") and _get_feature_names(X) is None
        validate_data(self, _Named(X) if unknown else X, y, reset=reset, skip_check_array=True)
        names = self._names()
        if _is_frame(X) and list(getattr(X, "column_names", X.columns)) == names:
            return X, table(X, name="X")
        return X, of_columns([(name, _column(X, place)) for place, name in enumerate(names)], "X")

    def _weights(self, y: NDArray[Any], classes: NDArray[Any], given: ArrayLike | None) -> NDArray[np.float64] | None:
        weight = None
        if isinstance(given, Number):
            given = np.full(len(y), given)
        if given is not None:
            weight = check_array(given, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
            if weight.shape != y.shape:
                raise FeamoeError(f"sample_weight: found shape {weight.shape}, expected one weight a row: {y.shape}")
            if (weight < 0).any():
                row = int((weight < 0).argmax())
                raise FeamoeError(f"sample_weight: row {row + 1}: found {weight[row]}, expected a number of at least 0")
        if isinstance(self.class_weight, Mapping):
            unknown = [one for one in self.class_weight if one not in classes.tolist()]
            if unknown:
                known = classes.tolist()
                raise FeamoeError(f"class_weight: found class {unknown[0]!r}, expected some of {known}")
            of_class = np.array([self.class_weight.get(one, 1.0) for one in classes.tolist()], dtype=np.float64)
            of_row = of_class[np.searchsorted(classes, y)]
            return of_row if weight is None else weight * of_row
        if self.class_weight not in (None, "balanced"):
            raise FeamoeError(f"class_weight: found {self.class_weight!r}, expected None, 'balanced' or a dictionary")
        return weight

    def _begin(
        self, X: Any, y: NDArray[Any], name: Any, classes: NDArray[Any], is_weighted: bool, given: Columns
    ) -> None:
        """Settles what the columns mean."""
        positive = classes[1] if self.positive is None else self.positive
        if positive not in classes.tolist():
            raise FeamoeError(f"positive: found {positive!r}, expected one of the classes {classes.tolist()}")
        if not given and (self.targets or self.penalties or self.individual is not None):
            raise FeamoeError(
                "found targets, penalties or individual, but no groups that they are for; give sensitive_features, or "
                "name columns of X in privileged={column: value}"
            )
        names = self._names()
        if self.fair_by == "threshold" and not any(name in names for name in given):
            raise FeamoeError(
                "fair_by='threshold': found no sensitive feature in X, expected one among its columns"
            )
        self.classes_ = classes
        self.positive_ = classes[classes.tolist().index(positive)]
        taken = [*names, *given]
        target = _free(name if isinstance(name, str) and name else "y", taken)
        self._weight = _free("sample_weight", [*taken, target]) if is_weighted else None
        texts = [label(one) for one in classes]
        fits = all(text == text.strip() and text not in MISSING for text in texts)
        # Where a table cannot hold the labels it holds truth values.
        self._spelled = texts if fits else [label(one == self.positive_) for one in classes]
        place = self._favourable()
        self.schema_: dict[str, Any] = {
            "target": {
                "column": target,
                "positive": [self._spelled[place]],
                "negative": [self._spelled[1 - place]],
                "label": None if fits else texts[place].strip() or None,
            },
            "protected": self._protected(given, y == self.positive_),
            "features": {
                "categorical": _number_categories(X, names),
                "monotone": {str(column): way for column, way in (self.monotone or {}).items()},
            },
        }

    def _sensitive(self, X: Any, given: Any) -> Columns:
        """Returns the sensitive features as texts, by name. Columns of X that are among them, or that
        ``privileged`` names, are those of X."""
        rows, names = X.shape[0], self._names()
        _check_unique("sensitive_features", given)
        found = {} if given is None else {name: _texts(values) for name, values in sensitive_columns(given).items()}
        for name, texts in found.items():
            if len(texts) != rows:
                raise FeamoeError(
                    f"sensitive_features: column {name!r}: found {len(texts)} values, expected one for each of the "
                    f"{rows} rows"
                )
            if name not in names:
                continue
            differs = texts != _texts(_column(X, names.index(name)))
            if differs.any():
                row = int(differs.argmax())
                raise FeamoeError(
                    f"sensitive_features: column {name!r}: row {row + 1}: found {texts[row]!r}, expected the value of "
                    "this column in X; rename one of the two"
                )
        for name in map(str, self.privileged if isinstance(self.privileged, Mapping) else ()):
            if name not in found and name in names:
                found[name] = _texts(_column(X, names.index(name)))
        return found

    def _protected(self, given: Columns, favourable: NDArray[np.bool_]) -> list[dict[str, Any]]:
        """Returns the schema's tables of protected columns."""
        if isinstance(self.privileged, Mapping):
            chosen = {str(name): value for name, value in self.privileged.items()}
        else:
            chosen = dict.fromkeys(given, self.privileged)
        tables = []
        for name, texts in given.items():
            privileged = chosen.get(name)
            if privileged is None:
                privileged = _most_selected(name, texts, favourable)
            tables += [one | {"as_feature": name in self._names()} for one in protected_tables({name: privileged})]
        return tables

    def _check_privileged(self, given: Columns) -> None:
        """Makes sure that there are the columns and values that ``privileged`` names."""
        for name in self.privileged if isinstance(self.privileged, Mapping) else ():
            if str(name) not in given:
                known = ", ".join(dict.fromkeys([*given, *self._names()]))
                raise FeamoeError(f"privileged: found column {name!r}, expected some of {known}")
        for one in self.schema_["protected"]:
            groups = sorted({text for text in given[one["column"]] if text is not None})
            absent = [value for value in one["privileged"] if value not in groups]
            if absent and not one.get("cuts"):
                raise FeamoeError(
                    f"privileged: column {one['column']!r}: found {absent[0]!r}, expected some of its values {groups}"
                )

    def _with_columns(
        self, data: Table, y: NDArray[Any], weight: NDArray[np.float64] | None, given: Columns
    ) -> Table:
        """Adds to rows that are learned from what is not in X."""
        tables = self.schema_["protected"]
        known = [one["column"] for one in tables]
        other = [name for name in given if name not in known]
        absent = [one["column"] for one in tables if not (one["as_feature"] or one["column"] in given)]
        if other or absent:
            raise FeamoeError(
                f"sensitive_features: found columns {list(given)}, expected those of the first call: {known}"
            )
        names, columns = self._columns(y, given, tables)
        if self._weight is not None:
            names.append(self._weight)
            columns.append(np.ones(len(y)) if weight is None else weight)
        elif weight is not None:
            raise FeamoeError(
                "sample_weight: found weights, expected none as in the first call; give them from the first call on"
            )
        return data.with_columns(names, columns)

    def _columns(
        self, y: NDArray[Any], given: Columns, tables: Sequence[Mapping[str, Any]]
    ) -> tuple[list[str], list[Any]]:
        """Returns target and protected columns that are not in X, and their names."""
        outside = [one["column"] for one in tables if not one["as_feature"]]
        codes = np.searchsorted(self.classes_, y).astype(np.int32)
        columns = [(codes, self._spelled), *(given[name].tolist() for name in outside)]
        return [self.schema_["target"]["column"], *outside], columns

    def _options(self) -> dict[str, Any]:
        seed = 1 if self.random_state is None else self.random_state
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        options = {
            "fair": {name: _plain(limit) for name, limit in (self.targets or {}).items()},
            "fair_by": self.fair_by,
            "individual": self.individual,
            "penalties": None if self.penalties is None else ",".join(as_list(self.penalties)),
            "increment": self._increment(),
            "experts": self.experts,
            "grow": self.grow,
            "freeze": self.freeze,
            "loss": self.loss,
            "bins": self.bins,
            "warmup": self.warmup,
            "lr": self.learning_rate,
            "threshold": self.threshold,
            "weight": self._weight,
            "class_weight": "balanced" if isinstance(self.class_weight, str) else "equal",
            "background": self.background,
            "seed": seed,
        }
        return {key: _plain(value) for key, value in options.items() if value is not None}

    def _increment(self) -> float | str | None:
        if isinstance(self.increment, Mapping):
            return ",".join(f"{name}={one}" for name, one in self.increment.items())
        return self.increment


class _Export:
    """The model of a learner, made once."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._model: Model | None = None

    def model(self) -> Model:
        if self._model is None:
            self._model = self._learner.export()
        return self._model


class _Named:
    """Shape and names of a frame, in the form of those that every scikit-learn since 1.6 knows."""

    def __init__(self, frame: Any) -> None:
        self.shape = frame.shape
        self._names = list(getattr(frame, "column_names", frame.columns))

    def __dataframe__(self) -> _Named:
        return self

    def column_names(self) -> list[str]:
        return self._names


def _plain(value: Any) -> Any:
    """Returns a number of numpy as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _is_frame(X: Any) -> bool:
    """Whether X is a frame of pandas or polars, or a table of pyarrow."""
    kinds = {(cls.__module__.partition(".")[0], cls.__name__) for cls in type(X).__mro__}
    return bool(kinds & {("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table")})


def _check_unique(what: str, frame: Any) -> None:
    """Makes sure that the columns of a frame of pandas have different names; others always have."""
    columns = getattr(frame, "columns", None)
    if hasattr(frame, "iloc") and columns is not None and not columns.is_unique:
        twice = columns[columns.duplicated()][0]
        raise FeamoeError(f"{what}: found column {twice!r} twice, expected it once; rename one of the two")


def _column(X: Any, place: int) -> Any:
    if hasattr(X, "iloc"):
        return X.iloc[:, place]
    return X.column(place) if hasattr(X, "column_names") else X[:, place]


def _number_categories(X: Any, names: Sequence[str]) -> list[str]:
    """Columns of pandas that are categories, though of numbers."""
    if not hasattr(X, "iloc"):
        return []
    kinds = [getattr(kind, "categories", None) for kind in X.dtypes]
    return [name for name, kind in zip(names, kinds) if kind is not None and kind.dtype.kind in "iuf"]


def _is_missing(value: Any) -> bool:
    if isinstance(value, (float, np.floating, np.datetime64)):
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _labels(y: Any, X: Any, classes: NDArray[Any] | None = None) -> NDArray[Any]:
    """Checks the labels of rows, and returns them as an array that can be sorted."""
    if hasattr(y, "iloc") and not isinstance(getattr(y, "dtype", None), np.dtype):
        # Extensions of pandas, whose missing values no plain type has.
        y = np.asarray(y, dtype=object)
    if isinstance(y, (list, tuple)) and len({isinstance(value, str) for value in y}) > 1:
        # An array would make text of the others.
        y = np.asarray(y, dtype=object)
    y = column_or_1d(y, warn=True)
    check_consistent_length(X, y)
    missing = np.array([_is_missing(value) for value in y]) if y.dtype.kind in "fOM" else np.zeros(len(y), bool)
    if missing.any():
        raise FeamoeError(f"Input y contains NaN: row {int(missing.argmax()) + 1}; leave out rows without a label")
    if y.dtype == object:
        kinds = sorted({type(value).__name__ for value in y})
        if len(kinds) > 1:
            raise FeamoeError(f"y: found labels of the types {', '.join(kinds)}, expected one type")
        y = y if kinds == ["str"] else np.array(y.tolist())
    check_classification_targets(y)
    if classes is not None and not np.isin(y, classes).all():
        row = int(np.isin(y, classes).argmin())
        raise FeamoeError(f"y: row {row + 1}: found {label(y[row])!r}, expected one of the classes {classes.tolist()}")
    checked: NDArray[Any] = y
    return checked


def _two_classes(y: NDArray[Any]) -> NDArray[Any]:
    classes = np.unique(y)
    if len(classes) > 2:
        raise FeamoeError(f"Only binary classification is supported. The type of the target is {type_of_target(y)}.")
    if len(classes) < 2:
        raise FeamoeError(f"y: found one class {classes.tolist()}, expected two classes")
    return classes


def _texts(values: Any) -> NDArray[np.object_]:
    """Returns values as cells of a table spell them; None for missing ones."""
    made = column(values)
    levels: Any
    if isinstance(made, tuple):
        codes, levels = made
    elif isinstance(made, np.ndarray):
        levels, codes = np.unique(made, return_inverse=True)
    else:
        places: dict[Any, int] = {}
        codes = np.array([places.setdefault((type(value), value), len(places)) for value in made], dtype=np.int64)
        levels = [value for _, value in places]
    spelled = [None if _is_missing(level) else label(level).strip() for level in levels]
    # Code -1, a category that is missing, is the last.
    cells = np.array([None if text in MISSING else text for text in spelled] + [None], dtype=object)
    return cells[codes]


def _most_selected(name: str, texts: NDArray[np.object_], favourable: NDArray[np.bool_]) -> str:
    """Returns the group with the highest rate of favourable outcomes, of those that are not small."""
    rates: dict[str, float] = {}
    for group in sorted({text for text in texts if text is not None}):
        members = texts == group
        if members.mean() >= LEAST_SHARE:
            rates[group] = float(favourable[members].mean())
    if not rates:
        raise FeamoeError(
            f"sensitive_features: column {name!r}: found no group with at least a tenth of the rows, expected one that "
            "could be privileged; name it in privileged, or make groups of numbers by "
            f"privileged={{{name!r}: {{'cuts': [...], 'privileged': ...}}}}"
        )
    return max(rates, key=lambda group: rates[group])
