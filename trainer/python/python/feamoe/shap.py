"""Explanations as `SHAP <https://shap.readthedocs.io>`_ has them::

    explainer = feamoe.shap.Explainer(model, background)
    explanation = explainer(rows)
    shap.plots.waterfall(explanation[0])

The values are those of :meth:`feamoe.Model.explain`: exact Shapley values of the whole mixture, by
default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._feamoe import FeamoeError, Table
from ._model import Explanation, Model
from ._tables import table

if TYPE_CHECKING:
    import shap

__all__ = ["Explainer", "to_shap"]


class Explainer:
    """Explains scores of the favourable outcome; called like SHAP's explainers.

    ``model``: a :class:`feamoe.Model` or a fitted :class:`feamoe.FeamoeClassifier`. ``background``:
    the background records, by default those of the model; if there are more than
    ``background_rows`` (1000), a seeded sample is used. ``method`` and ``options``: see
    :meth:`feamoe.Model.explain`. Arrays have the columns of the model, or of the classifier's fit,
    in order.

    Raises :class:`FeamoeError` at once for an invalid background or option.
    """

    def __init__(self, model: Any, background: Any = None, *, method: str | None = None, **options: Any) -> None:
        found = getattr(model, "model_", model)
        if not isinstance(found, Model):
            raise FeamoeError(
                f"model: found {type(model).__name__}, expected a feamoe.Model or a fitted feamoe.FeamoeClassifier"
            )
        #: The model that is explained.
        self.model: Model = found
        self._classifier = None if found is model else model
        self._options = {**options, "method": method}
        if background is not None:
            # Maskers of SHAP hold their rows as `data`.
            rows = background.data if type(background).__module__.startswith("shap.") else background
            self._options["background"] = self._table(rows, "the background")
        # A row of missing values. A model without names says that it has none.
        probe = self.model.explain([dict.fromkeys(self.model.features or [""])], **self._options)
        self._expected_value = None if probe.method == "frozen" else float(probe.base_values[0])

    @property
    def expected_value(self) -> float:
        """The base value: the mean score of the background; for ``path`` the score of the mean
        record. Base values of an explanation may differ in the last bit.

        Raises :class:`FeamoeError` for ``frozen`` values: every row has its own base value.
        """
        if self._expected_value is None:
            raise FeamoeError(
                "expected_value: found frozen values, whose base value differs from row to row; "
                "take base_values of an explanation"
            )
        return self._expected_value

    def __call__(self, rows: Any) -> shap.Explanation:
        """Returns the explanation of every row, for the plots of SHAP."""
        return to_shap(self._explain(rows))

    def shap_values(self, rows: Any) -> NDArray[np.float32]:
        """Returns only the values, of shape (rows, features)."""
        return self._explain(rows).values

    def _explain(self, rows: Any) -> Explanation:
        return self.model.explain(self._table(rows), **self._options)

    def _table(self, rows: Any, name: str = "the table") -> Table:
        if self._classifier is not None:
            made: Table = self._classifier._rows(rows, reset=False)[1]
            return made
        # An array has no names: its columns are those of the model.
        return table(rows, self.model.features if isinstance(rows, np.ndarray) else None, name)

    def __repr__(self) -> str:
        return f"<feamoe.shap.Explainer of {self.model!r}>"


class _MissingNumber(float):
    """Not a number, shown as ``missing``. A text in its place would make SHAP's scatter plot take the
    numbers around it for levels."""

    def __new__(cls) -> _MissingNumber:
        return super().__new__(cls, "nan")

    def __reduce__(self) -> tuple[Any, ...]:
        return _MissingNumber, ()

    def __str__(self) -> str:
        return "missing"

    def __format__(self, _: str) -> str:
        return "missing"

    __repr__ = __str__


def to_shap(explanation: Explanation) -> shap.Explanation:
    """Returns an explanation as ``shap.Explanation``.

    ``data`` has numbers and the codes of levels, which position and colour points; ``display_data``
    has the levels themselves, and ``missing``. A missing number is NaN in ``data``. Values without
    a code in the model (missing or unseen levels, or grouped features) have codes below 0, in the
    order of their first appearance.
    """
    try:
        import shap
    except ImportError as error:
        raise ImportError("an explanation for SHAP's plots needs shap: pip install 'feamoe[shap]'") from error

    data, display = explanation.data.copy(), explanation.display_data.copy()
    for codes, shown in zip(data.T, display.T):
        if any(not isinstance(value, str) for value in shown):
            shown[np.isnan(codes)] = _MissingNumber()
            continue
        below: dict[str, int] = {}
        for row in np.flatnonzero(~(codes >= 0)):
            codes[row] = below.setdefault(shown[row], -1 - len(below))
    return shap.Explanation(
        values=explanation.values,
        base_values=explanation.base_values,
        data=data,
        display_data=display,
        feature_names=explanation.feature_names,
        output_names=explanation.output_names,
        error_std=explanation.error_std if "error_std" in explanation.document else None,
    )
