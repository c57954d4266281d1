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

    def kept(self, model: Model, columns: Collection[str], keep: Collection[str] | None) -> list[str]:
        """Returns the columns that rows of these columns keep; raises :class:`FeamoeError` where
        nothing can be added to them."""
        for name in [*model.features, *(keep or ())]:
            if name not in columns:
                raise fault(", ".join(columns), "a column of this name in the frame", column=name)
        kept = [column for column in columns if keep is None or column in keep]
        for column in self.kinds:
            if column in kept:
                raise fault("one", f"none of this name, which is added to the frame; rename it ({column})", column=column)
        return kept


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
