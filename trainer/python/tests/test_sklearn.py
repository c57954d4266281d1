"""The classifier as scikit-learn's own checks and tools see it, and on Adult."""

import doctest
import pickle
import subprocess
import sys
import warnings

import fairlearn.metrics as fl
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import feamoe.sklearn
from feamoe import FeamoeClassifier, FeamoeWarning, Learner

pytestmark = pytest.mark.filterwarnings("ignore::feamoe.FeamoeWarning")

#: The same exceptions as for scikit-learn's own estimators that learn row by row.
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "a step of twice the weight is not two steps",
}
OTHERS = [
    FeamoeClassifier(epochs="auto", experts=3),
    FeamoeClassifier(epochs=1, shuffle=True, bins=0, loss="competitive"),
    FeamoeClassifier(grow="every=30", freeze=True, background=0),
]


@parametrize_with_checks([FeamoeClassifier(), *OTHERS], expected_failed_checks=lambda _: EXPECTED)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_checks_of_scikit_learn_are_many():
    names = {getattr(check, "func", check).__name__ for _, check in estimator_checks_generator(FeamoeClassifier())}
    assert len(names) > 50
    assert names >= {"check_class_weight_classifiers", "check_estimators_partial_fit_n_features", *EXPECTED}


def test_the_example_runs():
    done = doctest.testmod(feamoe.sklearn)
    assert done.attempted > 5
    assert done.failed == 0


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(scope="module")
def loans() -> pd.DataFrame:
    """Rows of every kind of column, with a gap between groups."""
    random = np.random.default_rng(7)
    rows = 3000
    sex = random.choice(["f", "m"], rows)
    frame = pd.DataFrame(
        {
            "income": np.where(random.random(rows) < 0.1, np.nan, random.normal(size=rows) + (sex == "m")),
            "grade": pd.Categorical(random.choice(["A", "B", "C", None], rows)),
            "code": pd.Categorical(random.integers(1, 5, rows)),
            "city": random.choice(["Genève", "O'Hara", 'a "b"', None], rows).astype(object),
            "owner": random.random(rows) < 0.5,
            "children": random.integers(0, 4, rows),
        }
    )
    odds = frame.income.fillna(0.0) + (frame.grade == "A") + (frame.code == 3) - 0.5 + random.logistic(size=rows) / 2
    frame["sex"] = sex
    frame["paid"] = np.where(odds > 0, "yes", "no")
    return frame


@pytest.fixture(scope="module")
def adult(adult_train, adult_test):
    def parts(frame):
        return frame.drop(columns=["income", "fnlwgt", "sex"]), frame.income, frame.sex

    return parts(adult_train), parts(adult_test)


@pytest.fixture(scope="module")
def fair(adult):
    X, y, sex = adult[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FeamoeWarning)
        return FeamoeClassifier(targets={"spd": 0.05}).fit(X, y, sensitive_features=sex)


# Adult.


def test_a_target_is_met_by_fairlearns_measure(adult, fair):
    X, y, sex = adult[1]
    plain = FeamoeClassifier().fit(*adult[0][:2])
    gap = {}
    for name, model in (("plain", plain), ("fair", fair)):
        favourable = model.predict(X) == ">50K"
        gap[name] = fl.demographic_parity_difference(y == ">50K", favourable, sensitive_features=sex)
    assert gap["plain"] > 0.15
    assert gap["fair"] <= 0.05
    assert plain.score(X, y) > 0.870
    assert fair.score(X, y) > 0.855


def test_evaluate_gives_fairlearns_rates(adult, fair):
    X, y, sex = adult[1]
    favourable = fair.predict(X) == ">50K"
    frame = fl.MetricFrame(
        metrics={"selection_rate": fl.selection_rate, "accuracy": accuracy_score},
        y_true=y == ">50K",
        y_pred=favourable,
        sensitive_features=sex,
    )
    judged = fair.evaluate(X, y, sensitive_features=sex, recourse_burden=False)
    [gaps] = judged["fairness"]
    assert abs(-gaps["spd"] - frame.difference()["selection_rate"]) < 1e-6
    for group in judged["groups"]:
        of = frame.by_group.loc[group["group"]]
        assert abs(group["selection_rate"] - of["selection_rate"]) < 1e-6
        assert abs(group["accuracy"] - of["accuracy"]) < 1e-6
    eodds = fl.equalized_odds_difference(y == ">50K", favourable, sensitive_features=sex)
    assert abs(gaps["eodds"] - eodds) < 1e-6
    assert abs(judged["accuracy"] - accuracy_score(y, fair.predict(X))) < 1e-6


def test_evaluate_judges_groups_that_fit_did_not_know(adult_test, adult, fair):
    X, y, sex = adult[1]
    judged = fair.evaluate(
        X, y, sensitive_features={"sex": sex, "adult": adult_test.age >= 25}, recourse_burden=False
    )
    assert [one["groups"] for one in judged["attributes"]] == [["Male", "Female"], ["true", "false"]]
    favourable = fair.predict(X) == ">50K"
    gap = fl.demographic_parity_difference(y == ">50K", favourable, sensitive_features=adult_test.age >= 25)
    assert abs(-judged["fairness"][1]["spd"] - gap) < 1e-6
    without = fair.evaluate(X, y, recourse_burden=False)
    assert without["attributes"] == []
    assert without["accuracy"] == judged["accuracy"]


def test_pieces_give_the_bits_of_one_pass(adult):
    X, y, sex = adult[0]
    made = FeamoeClassifier(targets={"spd": 0.05}, privileged="Male", epochs=1)
    whole = clone(made).fit(X, y, sensitive_features=sex)
    parts = clone(made)
    for start, end in zip([0, 1, 2000, 6000, 6001, 20000], [1, 2000, 6000, 6001, 20000, len(X)]):
        part = slice(start, end)
        parts.partial_fit(X[part], y[part], classes=["<=50K", ">50K"], sensitive_features=sex[part])
    test = adult[1][0]
    assert np.array_equal(whole.predict_proba(test), parts.predict_proba(test))
    assert np.array_equal(whole.decision_function(test), parts.decision_function(test))
    # Other rows give other results.
    parts.partial_fit(X[:500], y[:500], sensitive_features=sex[:500])
    assert not np.array_equal(whole.predict_proba(test), parts.predict_proba(test))


def test_bits_are_those_of_the_learner(adult, adult_train):
    X, y, _ = adult[0]
    frame = adult_train.drop(columns=["fnlwgt", "sex"])
    learner = Learner.fit(frame, target="income", positive=">50K", epochs=2, seed=5)
    classifier = FeamoeClassifier(epochs=2, shuffle=False, random_state=5).fit(X, y)
    test = adult[1][0]
    assert np.array_equal(learner.export().score(test), classifier.model_.score(test))


def test_a_call_with_few_rows_takes_no_copy_of_the_state(fair, adult, monkeypatch):
    X, y, sex = adult[0]
    learner = pickle.loads(pickle.dumps(fair))
    taken = []
    for name in ("checkpoint", "export"):
        monkeypatch.setattr(Learner, name, lambda *_, name=name: taken.append(name))
    for row in range(50):
        part = slice(row, row + 1)
        learner.partial_fit(X[part], y[part], sensitive_features=sex[part])
    assert not taken
    assert learner.learner_.rows == fair.learner_.rows + 50


# Frames of every kind.


def as_polars(frame):
    return pl.DataFrame(
        {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame.columns}
    )


def as_arrow(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)


def as_array(frame):
    return frame.to_numpy(dtype=object)


def as_lists(frame):
    return as_array(frame).tolist()


@pytest.mark.parametrize("kind", [as_polars, as_arrow, as_array, as_lists, lambda frame: as_polars(frame).lazy()])
def test_every_kind_of_frame_gives_the_same_bits(loans, kind):
    X, y = loans.drop(columns=["paid", "code"]), loans.paid
    odd = X.assign(income=X.income.mask(X.index % 50 == 0, np.inf).mask(X.index % 51 == 0, -1e300))
    expected = FeamoeClassifier().fit(odd, y)
    found = FeamoeClassifier().fit(kind(odd), y)
    assert np.array_equal(found.predict_proba(kind(odd)), expected.predict_proba(odd))
    assert np.array_equal(found.predict(kind(odd)), expected.predict(odd))
    assert (getattr(found, "feature_names_in_", None) is None) == (kind in (as_array, as_lists))


def test_numbers_that_are_categories_stay_categories(loans):
    model = FeamoeClassifier().fit(loans[["income", "code", "children"]], loans.paid).model_
    assert [one["kind"] for one in model.about["features"]] == ["number", "category", "number"]


def test_names_are_checked_as_scikit_learn_does(loans):
    X, y = loans[["income", "children"]], loans.paid
    model = FeamoeClassifier().fit(X, y)
    assert list(model.feature_names_in_) == ["income", "children"]
    for wrong in (X[["children", "income"]], X[["income"]], X.rename(columns={"income": "Income"})):
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(wrong)
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(pl.from_pandas(wrong))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        by_place = model.predict_proba(X.to_numpy())
    assert np.array_equal(by_place, model.predict_proba(X))
    numbered = FeamoeClassifier().fit(X.set_axis([7, 5], axis=1), y)
    assert numbered.model_.features == ["x0", "x1"]
    assert np.array_equal(numbered.predict_proba(X.to_numpy()), model.predict_proba(X))


# scikit-learn's tools.


def test_cross_validation_routes_groups_and_weights(loans, routing):
    X, y, sex = loans.drop(columns=["paid", "sex"]), loans.paid, loans.sex
    seen = []

    class Watched(FeamoeClassifier):
        def fit(self, X, y, *, sample_weight=None, sensitive_features=None):
            seen.append((len(X), len(sample_weight), len(sensitive_features)))
            assert (sensitive_features.index == X.index).all()
            return super().fit(X, y, sample_weight=sample_weight, sensitive_features=sensitive_features)

    model = Watched(targets={"spd": 0.05}).set_fit_request(sensitive_features=True, sample_weight=True)
    model.set_score_request(sample_weight=False)
    params = {"sensitive_features": sex, "sample_weight": np.linspace(1, 2, len(X))}
    scores = cross_validate(model, X, y, cv=3, params=params, return_estimator=True, error_score="raise")
    assert seen == [(2000, 2000, 2000)] * 3
    assert scores["test_score"].min() > 0.6
    assert all(one.privileged_ == {"sex": ["m"]} for one in scores["estimator"])
    assert model.get_metadata_routing().fit.requests["sensitive_features"] is True


def test_a_grid_search_over_a_pipeline(loans, routing):
    X, y = loans.drop(columns="paid"), loans.paid
    steps = Pipeline(
        [
            ("columns", ColumnTransformer([("scaled", StandardScaler(), ["income"])], remainder="passthrough")),
            ("model", FeamoeClassifier(privileged="m").set_fit_request(sensitive_features=True)),
        ]
    ).set_output(transform="pandas")
    grid = {"model__targets": [None, {"spd": 0.05}], "model__bins": np.array([16, 64])}
    search = GridSearchCV(steps, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y, sensitive_features=X.sex)
    assert len(search.cv_results_["params"]) == 4
    model = search.best_estimator_["model"]
    assert "scaled__income" in model.feature_names_in_
    assert search.predict(X).tolist() == search.best_estimator_.predict(X).tolist()


def test_a_pipeline_takes_whatever_comes_out_of_it(loans):
    X, y = loans.drop(columns="paid"), loans.paid
    for through in (as_polars, as_arrow, as_array):
        steps = Pipeline([("kind", FunctionTransformer(through)), ("model", FeamoeClassifier())]).fit(X, y)
        assert steps.score(X, y) > 0.7


def test_copies(loans):
    X, y = loans.drop(columns="paid"), loans.paid
    made = FeamoeClassifier(targets={"spd": 0.1}, privileged={"sex": "m"}, positive="no", experts=2)
    assert clone(made).get_params() == made.get_params()
    made.fit(X, y)
    copy = pickle.loads(pickle.dumps(made))
    assert copy.model_ == made.model_
    assert not hasattr(clone(made), "learner_")
    for one in (made, copy):
        one.partial_fit(X[:700], y[:700])
    assert copy.learner_.checkpoint() == made.learner_.checkpoint()
    assert copy.model_ == made.model_


def test_fitting_again_forgets(loans):
    X, y = loans.drop(columns="paid"), loans.paid
    made = FeamoeClassifier().fit(X, y)
    first = made.predict_proba(X)
    made.fit(X[["income"]], y == "yes")
    assert made.classes_.tolist() == [False, True]
    assert np.array_equal(made.fit(X, y).predict_proba(X), first)


def test_seeds(loans):
    X, y = loans.drop(columns="paid"), loans.paid
    bits = [FeamoeClassifier(random_state=seed).fit(X, y).model_.to_bytes() for seed in (None, 1, 2)]
    assert bits[0] == bits[1] != bits[2]
    drawn = [FeamoeClassifier(random_state=np.random.RandomState(3)).fit(X, y).model_.to_bytes() for _ in range(2)]
    assert drawn[0] == drawn[1] != bits[0]


def test_importing_feamoe_imports_none_of_the_others():
    code = (
        "import sys, feamoe; assert not {'sklearn', 'pandas', 'pyarrow', 'scipy', 'polars'} & set(sys.modules); "
        "feamoe.FeamoeClassifier; assert 'sklearn' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
