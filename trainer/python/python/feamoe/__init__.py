"""Fair online learning of a mixture of logistic experts: train, evaluate, explain, export.

The main classes:

- :class:`FeamoeClassifier`, a scikit-learn classifier;
- :class:`Learner`, for streams: row by row or in batches, with the method names of river;
- :class:`Model`, a model file: scores, explanations, recourse, evaluation, copies for devices.

Numbers are bit-identical to those of the ``feamoe`` command, for any kind of table and any number
of threads.
"""

from typing import TYPE_CHECKING, Any

from . import shap as shap
from ._feamoe import FeamoeError, __version__
from ._learner import FeamoeWarning, Learner
from ._model import Evaluation, EvaluationCounts, Explanation, Export, Model, Recourse, devices
from ._schema import infer_schema

if TYPE_CHECKING:
    from .sklearn import FeamoeClassifier

__all__ = [
    "Evaluation",
    "EvaluationCounts",
    "Explanation",
    "Export",
    "FeamoeClassifier",
    "FeamoeError",
    "FeamoeWarning",
    "Learner",
    "Model",
    "Recourse",
    "__version__",
    "devices",
    "infer_schema",
]


def __getattr__(name: str) -> Any:
    # scikit-learn is imported by those who ask for its classifier.
    if name == "FeamoeClassifier":
        from .sklearn import FeamoeClassifier

        return FeamoeClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
