"""What a model adds to rows, as columns: the same on every engine that holds frames in parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._model import Model
from ._tables import fault, table


@dataclass(frozen=True)
class Added:
    """Columns that are added to rows, with their kinds."""

    kinds: Mapping[str, str]
    #: Returns them for some rows: an array each.
    of: Callable[[Model, Any], list[np.ndarray[Any, Any]]]

    def check(self, model: Model, columns: Collection[str]) -> None:
        """Raises :class:`FeamoeError` where they cannot be added to rows of these columns."""
        for column in self.kinds:
            if column in columns:
                raise fault("one", f"none of this name, which is added to the frame; rename it ({column})", column=column)
        for feature in model.features:
            if feature not in columns:
                raise fault(", ".join(columns), "a column of this name in the frame", column=feature)


def scores() -> Added:
    """Returns what a model says of rows."""

    def of(model: Model, rows: Any) -> list[np.ndarray[Any, Any]]:
        score, probability = model._core.scores(table(rows))
        return [probability, score, score >= np.float32(model.threshold)]

    return Added({"probability": "float", "score": "float", "decision": "boolean"}, of)


def explanations(method: str, wishes: Mapping[str, Any]) -> Added:
    """Returns why rows have their scores; ``wishes``: those of :meth:`feamoe.Model.explain`."""

    def of(model: Model, rows: Any) -> list[np.ndarray[Any, Any]]:
        explained = model.explain(rows, method=method, **wishes)
        return [explained.values.astype(np.float64), explained.base_values.astype(np.float64)]

    return Added({"values": "array", "base_value": "double"}, of)
