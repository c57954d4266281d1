"""The learner as a classifier of `river <https://riverml.xyz>`_."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from river import base

from ._learner import Learner
from ._model import Model

if TYPE_CHECKING:
    import pandas as pd


class FeamoeClassifier(base.MiniBatchClassifier):
    """A fair mixture of logistic experts, learned online: :class:`feamoe.Learner` with the method
    names of river.

    Numbers, text and missing values are accepted; neither scaling nor one-hot encoding is needed.
    The features are those of the first row, unless ``columns`` names them; later ones are counted,
    with a warning. A feature that is absent from a row is missing.

    Parameters
    ----------
    protected
        Protected features, each with its privileged values: ``{"sex": "Male"}``. They are not
        features of the model.
    fair
        Targets: limits by measure, such as ``{"spd": 0.05}``.
    experts
        Largest number of experts, 1 to 64; None: as many as pay off.
    threshold
        Lowest score with a favourable decision, or a rule to choose it, such as
        ``"auto:balanced"``.
    columns
        All columns of the rows, including protected ones.
    target
        A name for the outcome, different from all features.
    positive
        The favourable values of the outcome; all others are unfavourable.
    features
        How features are seen: ``{"categorical": ["zip"], "monotone": {"income": "up"}}``.
    seed
        Seed of all random choices.
    options
        Further options of :class:`feamoe.Learner`.

    Examples
    --------
    >>> from river import datasets, evaluate, metrics
    >>> from feamoe.river import FeamoeClassifier
    >>> metric = evaluate.progressive_val_score(datasets.Phishing(), FeamoeClassifier(), metrics.Accuracy())
    >>> metric.get() > 0.85
    True

    """

    def __init__(
        self,
        protected: Mapping[str, Any] | None = None,
        fair: Mapping[str, float] | None = None,
        experts: int | None = None,
        threshold: float | str = 0.5,
        columns: tuple[str, ...] | None = None,
        target: str = "y",
        positive: Any = (True, 1),
        features: Mapping[str, Any] | None = None,
        seed: int = 1,
        **options: Any,
    ) -> None:
        self.protected = protected
        self.fair = fair
        self.experts = experts
        self.threshold = threshold
        self.columns = columns
        self.target = target
        self.positive = positive
        self.features = features
        self.seed = seed
        self.options = options
        #: The learner, with its events, measures and checkpoint.
        self.learner = Learner(
            protected=protected,
            columns=None if columns is None else [*dict.fromkeys([*columns, target])],
            target=target,
            positive=positive,
            features=features,
            fair={} if fair is None else dict(fair),
            experts="auto" if experts is None else experts,
            threshold=threshold,
            seed=seed,
            **options,
        )

    def learn_one(self, x: Mapping[Any, Any], y: Any) -> None:
        """Learns from a row and its outcome."""
        if not self.learner.columns:
            # Whatever the order of the features is, the sums are the same.
            x = dict(sorted(x.items(), key=lambda feature: str(feature[0])))
        self.learner.learn_one(_rounded(x), y)

    def learn_many(self, X: pd.DataFrame, y: pd.Series[Any]) -> None:
        """Learns from the rows of a frame, in order, like :meth:`learn_one` from each."""
        if not self.learner.columns:
            X = X[sorted(X.columns, key=str)]
        self.learner.learn_many(self._rows(X), y)

    def predict_proba_one(self, x: Mapping[Any, Any], **kwargs: Any) -> dict[Any, float]:
        """Returns the probability of each outcome."""
        return self.learner.predict_proba_one(_rounded(x))

    def predict_one(self, x: Mapping[Any, Any], **kwargs: Any) -> Any:
        """Returns the decided outcome, which depends on ``threshold`` and need not be the likelier
        one."""
        return self.learner.predict_one(_rounded(x))

    def predict_proba_many(self, X: pd.DataFrame) -> pd.DataFrame:
        """Returns the probabilities of each outcome, one column per outcome."""
        import pandas as pd

        return pd.DataFrame(self.learner.predict_proba_many(self._rows(X)), index=X.index)

    def predict_many(self, X: pd.DataFrame) -> pd.Series[Any]:
        """Returns the decided outcome for each row."""
        import pandas as pd

        return pd.Series(self.learner.predict_many(self._rows(X)), index=X.index, dtype=object).infer_objects()

    def export(self) -> Model:
        """Returns the current model."""
        return self.learner.export()

    def _rows(self, X: pd.DataFrame) -> Any:
        # As in rows, a feature that is not there is missing.
        there = {self.target, *map(str, X.columns)}
        absent = [name for name in self.learner.columns if name not in there]
        rounded = {name: X[name].map(_twelve_digits) for name in X.columns if X[name].dtype.kind == "f"}
        return X.assign(**rounded, **dict.fromkeys(absent, np.nan))

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {"experts": 3, "fair": None, "warmup": 100}


def _twelve_digits(number: float) -> float:
    return float(f"{number:.12g}")


def _rounded(x: Mapping[Any, Any]) -> dict[Any, Any]:
    """Returns a row without the noise that transformers leave in the last digits of its numbers: what
    was one value before them is one after them."""
    return {name: _twelve_digits(value) if isinstance(value, float) else value for name, value in x.items()}
