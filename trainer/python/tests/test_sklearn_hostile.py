"""The classifier on labels, rows, weights and sensitive features that are wrong, or only look so."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.utils.validation import check_is_fitted

from feamoe import FeamoeClassifier, FeamoeError, FeamoeWarning

pytestmark = pytest.mark.filterwarnings("ignore::feamoe.FeamoeWarning")
ROWS = 600


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    random = np.random.default_rng(3)
    sex = random.choice(["f", "m"], ROWS)
    frame = pd.DataFrame({"a": random.normal(size=ROWS) + (sex == "m"), "b": random.normal(size=ROWS), "sex": sex})
    frame["y"] = frame.a + frame.b + random.logistic(size=ROWS) / 2 > 0.5
    return frame


@pytest.fixture(scope="module")
def X(frame):
    return frame[["a", "b"]]


@pytest.fixture(scope="module")
def expected(frame, X):
    return FeamoeClassifier().fit(X, frame.y)


def refused(message, *parts, kind=FeamoeError, **options):
    """Makes sure that a fit is refused, and leaves nothing that looks fitted."""
    keywords = parts[2] if len(parts) > 2 else {}
    model = FeamoeClassifier(**options)
    with pytest.raises(kind, match=message) as raised:
        model.fit(*parts[:2], **keywords)
    assert isinstance(raised.value, (ValueError, TypeError))
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    with pytest.raises(NotFittedError):
        model.predict(parts[0])


# Labels.


@pytest.mark.parametrize(
    "labels",
    [
        ["no", "yes"],
        ["no ", " yes"],
        ["", "NA"],
        ["?", "é\"'\\\n"],
        [-1, 1],
        [False, True],
        [1.0, 2.0],
        [0, 10**12],
        ["true", "false"],
    ],
)
def test_labels_of_every_kind_come_back(frame, X, expected, labels):
    classes = np.sort(np.asarray(labels))
    y = classes[frame.y.to_numpy().astype(int)]
    model = FeamoeClassifier().fit(X, y)
    assert model.classes_.dtype == y.dtype
    assert model.predict(X).tolist() == classes[expected.predict(X).astype(int)].tolist()
    assert np.array_equal(model.predict_proba(X), expected.predict_proba(X))
    assert model.score(X, y) == expected.score(X, frame.y)


@pytest.mark.parametrize(
    "as_labels",
    [
        lambda y: y.tolist(),
        lambda y: y.astype(object),
        lambda y: y.astype("boolean"),
        lambda y: y.astype("category"),
        lambda y: pl.Series("y", y.to_numpy()),
        lambda y: pa.array(y.to_numpy()),
        lambda y: y.set_axis(range(ROWS)[::-1]),
    ],
)
def test_labels_in_every_kind_of_column(frame, X, expected, as_labels):
    model = FeamoeClassifier().fit(X, as_labels(frame.y))
    assert model.classes_.tolist() == [False, True]
    assert np.array_equal(model.predict_proba(X), expected.predict_proba(X))


def test_labels_that_are_refused(frame, X):
    y = frame.y
    refused("Only binary classification is supported. The type of the target is multiclass", X, np.arange(ROWS) % 3)
    refused(r"found one class \[1\], expected two classes", X, np.ones(ROWS, int))
    refused("Unknown label type", X, frame.a, kind=ValueError)
    refused("types bool, str, expected one type", X, [*y[1:].tolist(), "yes"])
    refused("types bool, str, expected one type", X, np.array([*y[1:].tolist(), "yes"], dtype=object))
    for missing in (None, np.nan, pd.NA, pd.NaT):
        refused(f"Input y contains NaN: row {ROWS};", X, pd.Series([*y[1:].tolist(), missing], dtype=object))
    refused("Input y contains NaN: row 3", X, y.astype(float).mask(y.index == 2))
    refused("Input y contains NaN: row 3", X, y.astype("boolean").mask(y.index == 2))
    refused("Input y contains NaN: row 3", X, y.map({True: "a", False: "b"}).mask(y.index == 2))
    refused("inconsistent numbers of samples", X, y[:-1], kind=ValueError)
    refused("requires y to be passed", X, None, kind=ValueError)
    refused("1d array", X, np.column_stack([y, y]), kind=ValueError)
    refused(r"positive: found 'yes', expected one of the classes \[False, True\]", X, y, positive="yes")
    with pytest.warns(DataConversionWarning):
        FeamoeClassifier().fit(X, frame[["y"]])


def test_the_other_class_may_be_the_favourable_one(frame, X):
    y = np.where(frame.y, "granted", "refused")
    last = FeamoeClassifier().fit(X, y)
    first = FeamoeClassifier(positive="granted", threshold=0.3).fit(X, y)
    assert (last.positive_, first.positive_) == ("refused", "granted")
    score = first.model_.score(X)
    assert np.array_equal(first.predict(X) == "granted", score >= np.float32(0.3))
    assert np.array_equal(first.predict_proba(X)[:, 0], score.astype(float))
    assert first.model_.about["favourable_outcome"] == "granted"
    assert np.corrcoef(first.predict_proba(X)[:, 0], last.predict_proba(X)[:, 0])[0, 1] > 0.95
    assert np.array_equal(first.decision_function(X) > 0, first.predict(X) == "refused")


# Decisions.


@pytest.mark.parametrize("threshold", [0.2, 0.7, "auto:balanced", "auto:cost=3", "auto:select=0.3"])
@pytest.mark.parametrize("options", [{}, {"targets": {"spd": 0.05}}, {"class_weight": "balanced"}])
def test_decisions_are_those_of_the_threshold_on_the_score(frame, X, threshold, options):
    model = FeamoeClassifier(threshold=threshold, **options).fit(X, frame.y, sensitive_features=frame.sex)
    decided = model.predict(X)
    assert np.array_equal(decided, model.model_.score(X) >= np.float32(model.model_.threshold))
    assert np.array_equal(decided, model.decision_function(X) >= 0)
    probability = model.predict_proba(X)
    assert np.array_equal(probability.sum(axis=1), np.ones(ROWS))
    assert np.array_equal(probability[:, 1], model.model_.predict_proba(X))
    assert np.array_equal(probability[:, 1], model.model_.score(X)) == (not options)
    if options:
        assert abs(probability[:, 1].mean() - frame.y.mean()) < 0.1


# Rows.


def test_rows_that_are_refused(frame, X):
    y = frame.y
    refused("found column 'a' twice", pd.concat([X, X.a], axis=1), y)
    refused("Feature names are only supported", X.set_axis(["a", 1], axis=1), y, kind=TypeError)
    refused(r"0 sample\(s\)", X[:0], y[:0])
    refused(r"0 sample\(s\)", pl.from_pandas(X[:0]), y[:0])
    refused(r"0 sample\(s\)", X.to_numpy()[:0], y[:0], kind=ValueError)
    refused(r"0 feature\(s\)", X[[]], y)
    refused("Expected 2D array", X.a.to_numpy(), y, kind=ValueError)
    refused("Series", X.a, y, kind=ValueError)
    refused("found Series, expected a frame", pl.from_pandas(X)["a"], y)
    refused("make a table of it by pyarrow.table", pa.table(X).to_batches()[0], y)
    refused('column "c": found', X.assign(c=[{}] * ROWS), y)
    refused('column "c", row 1: found a value of type complex', X.assign(c=1j), y)
    refused("Complex data not supported", X.to_numpy() * 1j, y, kind=ValueError)


def test_columns_of_mixed_types(frame, X):
    mixed = X.assign(c=[1, "b", None, 2.5, True, pd.NA] * (ROWS // 6))
    model = FeamoeClassifier().fit(mixed, frame.y)
    [kind] = [one for one in model.model_.about["features"] if one["name"] == "c"]
    assert set(kind["levels"]) == {"1", "b", "2.5", "true"}
    proba = model.predict_proba(mixed)
    assert np.array_equal(proba, FeamoeClassifier().fit(mixed.to_numpy(), frame.y).predict_proba(mixed.to_numpy()))
    with pytest.raises(FeamoeError, match='column "a": found "old", expected a number') as raised:
        model.predict(mixed.assign(a=[*mixed.a[:-1], "old"]))
    assert (raised.value.column, raised.value.row) == ("a", ROWS)


def test_infinite_and_missing_numbers_are_scored(frame, X, expected):
    odd = pd.DataFrame({"a": [np.inf, 1e300, np.nan, -np.inf], "b": [0.0] * 4})
    found = expected.predict_proba(odd)[:, 1]
    assert found[0] == found[1] > found[2] > found[3]
    with np.errstate(all="ignore"):
        trained = FeamoeClassifier().fit(X.assign(b=X.b.mask(X.index < 5, np.inf)), frame.y)
    assert np.isfinite(trained.predict_proba(X)).all()


# Weights.


def test_weights_that_are_refused(frame, X):
    y = frame.y
    ones = np.ones(ROWS)
    for weight, message in (
        (np.r_[ones[1:], -1.0], f"sample_weight: row {ROWS}: found -1.0, expected a number of at least 0"),
        (np.zeros(ROWS), "only zero weights"),
        (np.r_[ones[1:], np.nan], "sample_weight contains NaN"),
        (np.r_[ones[1:], np.inf], "sample_weight contains infinity"),
        (ones[1:], r"found shape \(599,\), expected one weight a row: \(600,\)"),
        (ones[:, None], r"found shape \(600, 1\)"),
        (y.to_numpy(), "found one class"),
    ):
        refused(message, X, y, {"sample_weight": weight}, kind=ValueError)
    refused("found class 'yes', expected some of", X, y, class_weight={"yes": 2})
    refused("found 'equal', expected None, 'balanced' or a dictionary", X, y, class_weight="equal")


def test_rows_without_weight_teach_nothing(frame, X):
    weight = (np.arange(ROWS) % 3 > 0).astype(float)
    kept = weight > 0
    options = {"epochs": 1, "shuffle": False}
    found = FeamoeClassifier(**options).fit(X, frame.y, sample_weight=weight)
    without = FeamoeClassifier(**options).fit(X[kept], frame.y[kept], sample_weight=weight[kept])
    assert np.array_equal(found.predict_proba(X), without.predict_proba(X))
    flipped = FeamoeClassifier(**options).fit(X, frame.y ^ ~kept, sample_weight=weight)
    assert np.array_equal(found.predict_proba(X), flipped.predict_proba(X))


def test_only_ratios_of_weights_matter(frame, X):
    weight = 1.0 + np.arange(ROWS) % 4
    models = [FeamoeClassifier().fit(X, frame.y, sample_weight=weight * scale) for scale in (1, 4096)]
    assert np.array_equal(models[0].predict_proba(X), models[1].predict_proba(X))
    plain = FeamoeClassifier().fit(X, frame.y)
    assert np.array_equal(FeamoeClassifier().fit(X, frame.y, sample_weight=3).predict_proba(X), plain.predict_proba(X))
    assert not np.array_equal(models[0].predict_proba(X), plain.predict_proba(X))


def test_class_weights(frame, X):
    by_class = FeamoeClassifier(class_weight={True: 5}).fit(X, frame.y)
    by_row = FeamoeClassifier().fit(X, frame.y, sample_weight=np.where(frame.y, 5, 1))
    assert np.array_equal(by_class.predict_proba(X), by_row.predict_proba(X))
    assert by_class.predict(X).mean() > FeamoeClassifier().fit(X, frame.y).predict(X).mean() + 0.05


# Sensitive features.


def test_sensitive_features_are_no_inputs(frame, X):
    model = FeamoeClassifier(targets={"spd": 0.05}).fit(X, frame.y, sensitive_features=frame[["sex"]])
    assert model.model_.features == ["a", "b"]
    assert model.schema_["protected"] == [{"column": "sex", "privileged": ["m"], "as_feature": False}]
    assert len(model.predict(X)) == ROWS
    with_sex = frame[["a", "b", "sex"]]
    inside = FeamoeClassifier(targets={"spd": 0.05}).fit(with_sex, frame.y, sensitive_features=frame.sex)
    assert inside.model_.features == ["a", "b", "sex"]
    named = FeamoeClassifier(targets={"spd": 0.05}, privileged={"sex": "m"}).fit(with_sex, frame.y)
    assert named.model_ == inside.model_


@pytest.mark.parametrize(
    "given",
    [
        lambda sex: sex.tolist(),
        lambda sex: sex.to_numpy(),
        lambda sex: sex.rename(None).set_axis(range(ROWS)[::-1]),
        lambda sex: sex.astype("category").rename(None),
        lambda sex: pl.Series(sex.to_numpy()),
        lambda sex: pa.array(sex),
        lambda sex: sex.to_numpy().reshape(-1, 1),
        lambda sex: pl.DataFrame({"sensitive_feature_0": sex.to_numpy()}),
        lambda sex: pa.table({"sensitive_feature_0": sex.to_numpy()}),
        lambda sex: {"sensitive_feature_0": sex},
    ],
)
def test_sensitive_features_of_every_kind_are_taken_by_position(frame, X, given):
    options = {"targets": {"spd": 0.05}, "privileged": "m"}
    expected = FeamoeClassifier(**options).fit(X, frame.y, sensitive_features={"sensitive_feature_0": frame.sex})
    rows = X.set_axis(range(7, ROWS + 7))
    found = FeamoeClassifier(**options).fit(rows, frame.y, sensitive_features=given(frame.sex))
    assert list(found.privileged_) == ["sensitive_feature_0"]
    assert np.array_equal(found.predict_proba(X), expected.predict_proba(X))


def test_sensitive_features_that_are_refused(frame, X):
    y, sex = frame.y, frame.sex
    with_sex = frame[["a", "b", "sex"]]
    fair = {"targets": {"spd": 0.05}}
    both = {"sensitive_features": sex}
    refused("sensitive_features: found column 'sex' twice", X, y, {"sensitive_features": pd.concat([sex, sex], axis=1)})
    refused("found 599 values, expected one for each of the 600 rows", X, y, {"sensitive_features": sex[1:]})
    refused("column 'sex': row 1: found 'm', expected the value", with_sex.assign(sex="f"), y, {
        "sensitive_features": sex.mask(sex.index == 0, "m")
    })
    for options in (fair, {"penalties": "spd"}, {"individual": 0.4}):
        refused("no groups that they are for", X, y, **options)
    refused(r"found 'male', expected some of its values \['f', 'm'\]", X, y, both, privileged="male", **fair)
    refused("found column 'gender', expected some of sex, a, b", X, y, both, privileged={"gender": "m"})
    refused("no group with at least a tenth of the rows", X, y, {"sensitive_features": {"age": np.arange(ROWS)}})
    refused("no sensitive feature in X", X, y, {"sensitive_features": sex}, fair_by="threshold", **fair)


def test_rows_without_a_group_have_none(frame, X):
    sex = frame.sex.mask(frame.index % 3 == 0)
    objects = sex.astype(object).where(sex.notna(), None)
    kinds = [objects, sex.astype("category"), pl.Series(objects.tolist()), pa.array(objects), sex.fillna("NA")]
    models = []
    for kind in kinds:
        fair = FeamoeClassifier(targets={"spd": 0.05}).fit(X, frame.y, sensitive_features={"sex": kind})
        [attribute] = fair.report_["attributes"]
        assert (attribute["groups"], attribute["without_group"]) == (["m", "f"], ROWS // 3)
        models.append(fair.model_)
    assert all(model == models[0] for model in models)


def test_a_fit_that_fails_forgets_the_one_before(frame, X):
    model = FeamoeClassifier().fit(X, frame.y)
    with pytest.raises(FeamoeError):
        model.fit(X[["a"]], np.ones(ROWS, int))
    for call in (model.predict, model.predict_proba, model.explain, model.recourse):
        with pytest.raises(NotFittedError):
            call(X)


def test_the_privileged_group_is_the_one_most_selected_that_is_not_small():
    y = np.zeros(1000, dtype=int)
    group = np.array(["low"] * 500 + ["high"] * 401 + ["tiny"] * 99)
    y[:100] = 1
    y[500:700] = 1
    y[901:] = 1
    X = np.random.default_rng(0).normal(size=(1000, 2))
    sensitive = pd.DataFrame({"group": group, "half": np.arange(1000) % 2 == y, "code": np.where(y, 2.0, np.nan)})
    sensitive.loc[:300, "code"] = 1
    model = FeamoeClassifier().fit(X, y, sensitive_features=sensitive)
    half = (y[sensitive.half].mean() > y[~sensitive.half].mean()).item()
    assert model.privileged_ == {"group": ["high"], "half": [str(half).lower()], "code": ["2"]}
    # A tenth is tolerated, but a single row decides.
    group[500] = "tiny"
    assert FeamoeClassifier().fit(X, y, sensitive_features={"group": group}).privileged_ == {"group": ["tiny"]}


def test_groups_made_of_numbers(frame, X):
    age = np.random.default_rng(5).integers(18, 90, ROWS)
    made = {"age": {"cuts": [30, 62], "privileged": "30 to below 62"}}
    model = FeamoeClassifier(targets={"spd": 0.1}, privileged=made).fit(X, frame.y, sensitive_features={"age": age})
    judged = model.evaluate(X, frame.y, sensitive_features={"age": age})
    middle = (age >= 30) & (age < 62)
    counts = {"below 30": (age < 30).sum(), "30 to below 62": middle.sum(), "62 and more": (age >= 62).sum()}
    assert {one["group"]: one["rows"] for one in judged["groups"]} == counts


# Options.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": {"parity": 0.1}}, "found measure `parity`, expected one of spd"),
        ({"targets": {"spd": 0}}, "spd: found 0, allowed a gap above 0"),
        ({"targets": {"spd": 0.1}, "penalties": "spd"}, "which cannot be combined"),
        ({"penalties": ["spd", "parity"]}, "found penalty `parity`"),
        ({"increment": 0.02}, "increment: found one without penalties"),
        ({"fair_by": "scores"}, "unknown variant `scores`"),
        ({"threshold": 1.5}, "threshold: found 1.5"),
        ({"threshold": "auto:best"}, "found `auto:best`"),
        ({"epochs": 0}, "epochs: found 0"),
        ({"experts": 65}, "experts: found 65"),
        ({"bins": 10**6}, "bins: found 1000000"),
        ({"warmup": 0}, "warmup: found 0"),
        ({"background": 10**6}, "found|invalid value: integer `1000000`"),
        ({"learning_rate": 2}, "found 2"),
        ({"grow": "often"}, "found `often`"),
        ({"loss": "hinge"}, "unknown variant `hinge`"),
        ({"shuffle": "yes"}, "shuffle|expected a boolean"),
        ({"random_state": -1}, "options"),
        ({"monotone": {"c": "up"}}, 'no column "c", which features.monotone needs'),
        ({"monotone": {"a": "rising"}}, "unknown variant `rising`, expected `up` or `down`"),
    ],
)
def test_options_that_are_refused(frame, X, options, message):
    refused(message, X, frame.y, {"sensitive_features": frame.sex}, **options)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        FeamoeClassifier(epoch=2)
    with pytest.raises(ValueError, match="Invalid parameter 'epoch'"):
        FeamoeClassifier().set_params(epoch=2)


def test_options_of_numpy_are_taken(frame, X):
    plain = {"bins": 16, "epochs": 2, "learning_rate": 0.25, "shuffle": True, "threshold": 0.5, "random_state": 3}
    numpys = {key: np.array([value])[0] for key, value in plain.items()}
    plain["targets"], numpys["targets"] = {"spd": 0.125}, {"spd": np.float32(0.125)}
    fitted = [FeamoeClassifier(**one).fit(X, frame.y, sensitive_features=frame.sex) for one in (plain, numpys)]
    assert fitted[0].model_ == fitted[1].model_


def test_monotone_columns_are_held(frame, X):
    model = FeamoeClassifier(monotone={"b": "down"}).fit(X, frame.y)
    line = pd.DataFrame({"a": 0.0, "b": np.linspace(-4, 4, 200)})
    assert (np.diff(model.model_.score(line)) <= 0).all()


def test_progress(frame, X, capsys):
    seen = []
    FeamoeClassifier(epochs=3, verbose=lambda *at: seen.append(at)).fit(X, frame.y)
    assert seen[-1][1] == 3

    def stop(*_):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        FeamoeClassifier(verbose=stop).fit(X, frame.y)


# Further rows.


def test_further_rows_that_are_refused(frame, X):
    y, sex = frame.y, frame.sex
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        FeamoeClassifier().partial_fit(X, y)
    model = FeamoeClassifier().partial_fit(X, y, classes=[False, True], sensitive_features=sex)
    before = model.learner_.checkpoint()
    weight = {"sample_weight": np.ones(ROWS)}
    for message, rows, labels, keywords in (
        (r"found \[False, True\]|found \[0, 2\]", X, y, {"classes": [0, 2]}),
        ("row 1: found '2', expected one of the classes", X, np.r_[2, y[1:]], {"sensitive_features": sex}),
        ("found columns \\[\\], expected those of the first call: \\['sex'\\]", X, y, {}),
        ("found columns \\['sex', 'race'\\]", X, y, {"sensitive_features": {"sex": sex, "race": sex}}),
        ("found weights, expected none as in the first call", X, y, {"sensitive_features": sex, **weight}),
        ("feature names should match", X[["a"]], y, {"sensitive_features": sex}),
        ("found column 'a' twice", pd.concat([X, X.a], axis=1), y, {"sensitive_features": sex}),
    ):
        with pytest.raises(ValueError, match=message):
            model.partial_fit(rows, labels, **keywords)
        assert model.learner_.checkpoint() == before


def test_a_privileged_group_of_the_first_rows_is_a_warning(frame, X):
    first = {"classes": [False, True], "sensitive_features": frame.sex[:1]}
    with pytest.warns(FeamoeWarning, match=r"took {'sex': \['.'\]} by the first 1 rows; give privileged="):
        FeamoeClassifier().partial_fit(X[:1], frame.y[:1], **first)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FeamoeWarning)
        FeamoeClassifier(privileged="m").partial_fit(X[:1], frame.y[:1], **first)


def test_weights_may_be_left_out_later(frame, X):
    half = ROWS // 2
    ones = np.ones(half)
    found, expected = FeamoeClassifier(), FeamoeClassifier()
    for model, weight in ((found, None), (expected, ones)):
        model.partial_fit(X[:half], frame.y[:half], classes=[False, True], sample_weight=2 * ones)
        model.partial_fit(X[half:], frame.y[half:], sample_weight=weight)
    assert np.array_equal(found.predict_proba(X), expected.predict_proba(X))


def test_rows_of_one_class_come_first(frame, X):
    y = frame.y
    model = FeamoeClassifier().partial_fit(X[~y], y[~y], classes=[True, False])
    with pytest.raises(FeamoeError, match="outcome, expected both"):
        model.predict(X)
    model.partial_fit(X[y], y[y])
    assert model.predict(X).any()


def test_a_fitted_model_learns_on(frame, X):
    model = FeamoeClassifier(targets={"spd": 0.05}).fit(X, frame.y, sensitive_features=frame.sex)
    before = model.predict_proba(X)
    rows = model.learner_.rows
    for _ in range(20):
        model.partial_fit(X, ~frame.y, sensitive_features=frame.sex)
    assert (model.predict(X) == ~frame.y).mean() > 0.6
    assert not np.array_equal(model.predict_proba(X), before)
    assert model.learner_.rows == rows + 20 * ROWS


# Reports.


def test_reports(frame, X):
    model = FeamoeClassifier(targets={"spd": 0.05}, experts=2, grow="every=100")
    for name in ("model_", "events_", "report_", "privileged_", "learner_", "classes_"):
        assert not hasattr(model, name)
    model.fit(X, frame.y, sensitive_features=frame.sex)
    assert [one["measure"] for one in model.report_["targets"]] == ["spd"]
    assert model.events_ == model.report_["events"]
    explanation = model.explain(X[:4], background=X[100:150])
    total = explanation.base_values + explanation.values.sum(axis=1)
    assert np.allclose(total, model.model_.score(X[:4]), atol=1e-5)
    assert np.array_equal(model.explain(X.to_numpy()[:4], background=X[100:150]).values, explanation.values)
    declined = X[~model.predict(X)][:5]
    assert model.recourse(declined).summary["declined"] == 5
    assert model.recourse(declined, immutable=["a", "b"]).summary["with_recourse"] == 0
    with pytest.raises(ValueError, match="feature names should match"):
        model.explain(X[["a"]])


def test_remarks_are_warnings():
    random = np.random.default_rng(0)
    X = random.normal(size=(12000, 2))
    y = np.arange(12000) >= 6000
    with pytest.warns(FeamoeWarning, match="sorted by the outcome"):
        FeamoeClassifier(epochs=1).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FeamoeWarning)
        FeamoeClassifier().fit(X, y)
