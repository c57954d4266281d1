"""The classifier is one of river's."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("river")

from river import checks, compose, datasets, evaluate, metrics, preprocessing  # noqa: E402

import feamoe  # noqa: E402
from feamoe.river import FeamoeClassifier  # noqa: E402


def every_check():
    """Every check of river, with every set of parameters."""
    for place, parameters in enumerate(FeamoeClassifier._unit_test_params()):
        model = FeamoeClassifier(**parameters)
        for number, check in enumerate(checks.yield_checks(model)):
            yield pytest.param(parameters, check, id=f"{place}-{number}-{check.__name__}")


@pytest.mark.parametrize(("parameters", "check"), list(every_check()))
@pytest.mark.filterwarnings("ignore::feamoe.FeamoeWarning")
def test_river_checks(parameters, check):
    check(FeamoeClassifier(**parameters).clone())


def test_no_check_is_skipped():
    assert FeamoeClassifier()._unit_test_skips() == set()


def test_the_package_does_not_import_river():
    code = "import sys, feamoe; sys.exit('river' in sys.modules or 'pandas' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_progressive_validation_is_that_of_the_learner():
    metric = evaluate.progressive_val_score(datasets.Phishing(), FeamoeClassifier(), metrics.Accuracy())
    learner, right, rows = feamoe.Learner(columns=[*sorted(next(iter(datasets.Phishing()))[0]), "y"]), 0, 0
    for x, y in datasets.Phishing():
        right += learner.predict_one(x) == y
        learner.learn_one(x, y)
        rows += 1
    assert metric.get() == right / rows
    assert metric.get() > 0.87


def test_works_in_a_pipeline_with_text_and_missing_values():
    stream = list(datasets.Phishing().take(600))
    model = compose.Select("empty_server_form_handler", "popup_window", "https") | FeamoeClassifier(warmup=200)
    scaled = preprocessing.StandardScaler() | FeamoeClassifier(warmup=200)
    for pipeline in (model, scaled):
        metric = metrics.ROCAUC()
        for x, y in stream:
            metric.update(y, pipeline.predict_proba_one(x))
            pipeline.learn_one(x, y)
        assert metric.get() > 0.8
    classifier = FeamoeClassifier(warmup=50)
    for number in range(400):
        color = ["red", "green", None][number % 3]
        classifier.learn_one({"color": color, "size": number % 7}, color == "red")
    assert classifier.predict_one({"color": "red", "size": 3}) is True
    assert classifier.predict_one({"color": "green", "size": 3}) is False


def test_names_of_features_may_be_of_any_kind():
    classifier = FeamoeClassifier(warmup=20)
    for number in range(100):
        classifier.learn_one({1: number, ("a", 2): -number}, number > 50)
    assert classifier.learner.columns == ["('a', 2)", "1", "y"]
    with pytest.raises(feamoe.FeamoeError, match="spelled alike"):
        classifier.learn_one({1: 0, "1": 0}, True)
    with pytest.raises(feamoe.FeamoeError, match="in the row and beside it"):
        classifier.learn_one({1: 0, "y": 0}, True)


def test_fairness_is_held_on_a_stream():
    random = np.random.default_rng(5)
    rows = 12_000
    groups = random.choice(["a", "b"], rows)
    skill = random.normal(size=rows) + 0.7 * (groups == "a")
    outcomes = skill + random.normal(size=rows) > 0.5
    gaps = {}
    for fair in (None, {"spd": 0.05}):
        classifier = FeamoeClassifier(
            protected={"group": {"privileged": "a", "as_feature": True}}, fair=fair, warmup=1000
        )
        decisions = []
        for group, value, outcome in zip(groups, skill, outcomes):
            row = {"group": group, "skill": value}
            decisions.append(classifier.predict_one(row))
            classifier.learn_one(row, outcome)
        late = np.array(decisions[rows // 2 :])
        of = groups[rows // 2 :]
        gaps[fair is None] = abs(late[of == "a"].mean() - late[of == "b"].mean())
    assert gaps[True] > 0.2
    assert gaps[False] < 0.08


def test_a_copy_continues_as_the_original():
    stream = list(datasets.Phishing().take(400))
    original = FeamoeClassifier(warmup=100)
    for x, y in stream[:200]:
        original.learn_one(x, y)
    copy = pickle.loads(pickle.dumps(original))
    for x, y in stream[200:]:
        for model in (original, copy):
            model.learn_one(x, y)
    assert copy.learner.checkpoint() == original.learner.checkpoint()


def test_emerging_features_are_said():
    classifier = FeamoeClassifier(warmup=10)
    classifier.learn_one({"a": 1.0}, True)
    with pytest.warns(feamoe.FeamoeWarning, match="'b'"):
        classifier.learn_one({"a": 1.0, "b": 2.0}, False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.learn_one({"a": 1.0, "b": 2.0}, False)
    assert classifier.learner.unknown_columns == {"b": 2}
    named = FeamoeClassifier(columns=("a", "b"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named.learn_one({"a": 1.0}, True)
        named.learn_one({"a": 1.0, "b": 2.0}, False)
