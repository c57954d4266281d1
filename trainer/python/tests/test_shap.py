"""Explanations in SHAP's form: the command's values, SHAP's own values, plots that can be read."""

import io
import json
import os
import pickle
import subprocess
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
# Compiling takes longer than explaining these few rows.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")

import matplotlib.pyplot as plt  # noqa: E402
import shap  # noqa: E402

import feamoe  # noqa: E402
import feamoe.shap  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model(adult_train):
    rows = adult_train.drop(columns="fnlwgt")
    return feamoe.Learner.fit(
        rows, target="income", positive=">50K", protected={"sex": "Male"}, fair={"spd": 0.05}
    ).export()


@pytest.fixture(scope="module")
def command():
    places = [os.environ.get("FEAMOE_COMMAND")] + [ROOT / "target" / kind / "feamoe" for kind in ("release", "debug")]
    found = next((place for place in places if place and Path(place).is_file()), None)
    if found is None:
        pytest.skip("no feamoe command: build it (cargo build --release), or name one by FEAMOE_COMMAND")
    return found


def planted(rows, seed):
    """Returns some rows with missing values and levels that training had not."""
    draw = np.random.default_rng(seed)
    rows = rows.sample(12, random_state=seed).drop(columns=["income", "fnlwgt"])
    for name in rows.columns:
        rows[name] = rows[name].astype(object)
        for place in draw.choice(len(rows), 2, replace=False):
            is_number = isinstance(rows[name].dropna().iloc[0], (int, float))
            value = None if is_number or draw.random() < 0.5 else 'a, "new" level'
            rows.iloc[place, rows.columns.get_loc(name)] = value
    return rows


WISHES = [
    ({}, []),
    ({"space": "log-odds", "seed": 7}, ["--space", "log-odds", "--seed", "7"]),
    ({"method": "sampled", "max_evaluations": 3000}, ["--method", "sampled", "--max-evaluations", "3000"]),
    # Some records need more coalitions than that and are sampled.
    ({"budget": 150_000}, ["--budget", "150000"]),
    ({"method": "path"}, ["--method", "path"]),
    ({"method": "frozen"}, ["--method", "frozen"]),
    ({"groups": ["money=capital-gain+capital-loss"]}, ["--groups", "money=capital-gain+capital-loss"]),
    ({"background": True, "background_rows": 40}, ["--background", "background.csv", "--background-rows", "40"]),
]


@pytest.mark.parametrize(("seed", "wish"), list(enumerate(WISHES)))
def test_values_are_those_of_the_command_to_the_bit(model, command, adult_test, tmp_path, seed, wish):
    options, flags = wish
    rows, background = planted(adult_test, seed), adult_test[500:600]
    model.save(tmp_path / "m.feamoe")
    rows.to_csv(tmp_path / "rows.csv", index=False)
    background.to_csv(tmp_path / "background.csv", index=False)
    run = [command, "explain", "m.feamoe", "rows.csv", "--format", "json", *flags]
    said = json.loads(subprocess.run(run, cwd=tmp_path, check=True, capture_output=True).stdout)

    if options.get("background"):
        options = {**options, "background": background}
    explained = model.explain(rows, **options)
    assert explained.document == said
    assert len(said["values"]) == 12 and any("unseen" in notes or "missing" in notes for notes in said["notes"])

    of_all = json.loads(subprocess.run([*run, "--global"], cwd=tmp_path, check=True, capture_output=True).stdout)
    assert list(explained.importance()) == of_all["feature_names"]
    assert [*explained.importance().values()] == pytest.approx(of_all["mean_absolute_values"], rel=1e-6)

    explainer = feamoe.shap.Explainer(model, options.pop("background", None), **options)
    explanation = explainer(rows)
    values = np.array(said["values"], np.float32)
    assert np.array_equal(explanation.values, values) and np.array_equal(explainer.shap_values(rows), values)
    assert np.array_equal(explanation.base_values, np.array(said["base_values"], np.float32))
    if options.get("method") == "frozen":
        with pytest.raises(feamoe.FeamoeError, match="row to row"):
            explainer.expected_value
    else:
        # Each row's base value is rounded separately, so they differ in the last bit.
        assert np.abs(explanation.base_values - explainer.expected_value).max() <= np.spacing(np.float32(0.5))
    is_sampled = options.get("method") == "sampled" or "budget" in options
    assert (explanation.error_std is not None) == is_sampled
    assert not is_sampled or explanation.error_std.shape == values.shape and explanation.error_std.max() > 0


def test_values_add_up_to_the_score(model, adult_test):
    rows = adult_test[:300]
    scores = model.score(rows)
    for method, tolerance in [("exact", 5e-7), ("sampled", 5e-7), ("path", 5e-7), ("frozen", 5e-6)]:
        background = adult_test[1000:1020] if method in ("exact", "sampled") else None
        of = model.explain(rows, method=method, background=background, max_evaluations=2000)
        assert np.abs(of.base_values + of.values.sum(axis=1) + of.residual - of.output).max() < tolerance, method
        output = of.output if of.space == "probability" else 1 / (1 + np.exp(-of.output.astype(float)))
        if method != "frozen":
            assert np.abs(output - scores).max() < 1e-6, method
    assert np.abs(of.values).max() > 0.1


def test_values_are_those_of_shaps_exact_explainer():
    draw = np.random.default_rng(5)
    towns = np.array(["north", "south", "east"])
    codes = np.column_stack([draw.normal(size=(4000, 3)), draw.integers(0, 3, 4000)])
    codes[draw.random(codes.shape) < 0.05] = np.nan

    def frame(codes):
        town = [None if np.isnan(code) else towns[int(code)] for code in codes[:, 3]]
        return pd.DataFrame({"a": codes[:, 0], "b": codes[:, 1], "c": codes[:, 2], "town": town})

    chance = np.nan_to_num(codes[:, 0] * np.where(codes[:, 3] == 1, 2.0, -1.0) + codes[:, 1] ** 2) - 1
    y = draw.random(4000) < 1 / (1 + np.exp(-chance))
    model = feamoe.Learner.fit(frame(codes), y, experts=4).export()

    rows, background = codes[:15], codes[1000:1040]
    ours = feamoe.shap.Explainer(model, frame(background))(frame(rows))
    masker = shap.maskers.Independent(background, max_samples=len(background))
    theirs = shap.explainers.Exact(lambda codes: model.score(frame(codes)).astype(float), masker)(rows)
    assert np.abs(ours.values).max() > 0.05
    assert np.abs(ours.values - theirs.values).max() < 1e-4
    assert np.abs(ours.base_values - theirs.base_values).max() < 1e-4


def test_classifiers_and_arrays():
    x = np.arange(900.0)
    frame = pd.DataFrame({"z": x[::-1] % 7, "x": x})
    classifier = feamoe.FeamoeClassifier().fit(frame, x > 400)
    rows, background = frame[390:410], frame[::50]
    values = feamoe.shap.Explainer(classifier, background).shap_values(rows)
    assert np.array_equal(values, classifier.explain(rows, background=background).values) and np.abs(values).max() > 0.1
    assert np.array_equal(feamoe.shap.Explainer(classifier.model_, background).shap_values(rows[["x", "z"]]), values)
    # Maskers may hold arrays, and columns may have numbers as names.
    masker = shap.maskers.Independent(background.to_numpy())
    assert np.array_equal(feamoe.shap.Explainer(classifier.model_, masker).shap_values(rows.to_numpy()), values)
    numbered = feamoe.FeamoeClassifier().fit(frame.set_axis([0, 1], axis=1), x > 400)
    explainer = feamoe.shap.Explainer(numbered, masker)
    assert np.array_equal(explainer.shap_values(rows.set_axis([0, 1], axis=1)), values)
    assert np.array_equal(explainer(rows.to_numpy()).values, values)


def test_what_cannot_be_used_is_said_at_once(model, adult_test):
    Explainer = feamoe.shap.Explainer
    for wrong in ("m.feamoe", None, object(), feamoe.Learner()):
        with pytest.raises(feamoe.FeamoeError, match="expected a feamoe.Model or a fitted"):
            Explainer(wrong)
    with pytest.raises(feamoe.FeamoeError, match="the background: no column \"age\"") as raised:
        Explainer(model, adult_test.drop(columns="age"))
    assert raised.value.column == "age"
    with pytest.raises(feamoe.FeamoeError, match="expected exact, sampled, path or frozen"):
        Explainer(model, method="kernel")
    with pytest.raises(feamoe.FeamoeError, match="path values are not against any"):
        Explainer(model, adult_test[:50], method="path")
    small = model.export(quantize="i8").model
    with pytest.raises(feamoe.FeamoeError, match="frozen values are not against any"):
        Explainer(small, adult_test[:50])
    with pytest.raises(feamoe.FeamoeError, match="row to row"):
        Explainer(small).expected_value
    with pytest.raises(feamoe.FeamoeError, match="names"):
        Explainer(model.export(names=False).model)
    with pytest.raises(feamoe.FeamoeError, match="12 names"):
        Explainer(model)(np.zeros((2, 3)))


@pytest.fixture(scope="module")
def explanation(model, adult_test):
    rows = adult_test[:240].copy()
    rows["age"] = rows["age"].where(rows.index % 3 == 1)
    rows.loc[::11, "workclass"] = "Ruritania & <b>"
    rows.loc[::13, "workclass"] = "Utopia"
    return feamoe.shap.Explainer(model, adult_test[1000:1030])(rows)


def drawn():
    """Returns the labels of a plot's axes once it is drawn to PNG, and closes it."""
    axes = plt.gcf().axes[0]
    with io.BytesIO() as file:
        plt.savefig(file, format="png", dpi=40)
        file.seek(0)
        image = plt.imread(file)
    assert image[..., :3].std() > 0.05, "an empty picture"
    labels = [label.get_text() for label in [*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.texts]]
    plt.close("all")
    return labels


def test_plots_of_one_row_show_levels_and_missing_values(explanation):
    shap.plots.waterfall(explanation[33], max_display=20, show=False)
    labels = drawn()
    assert "missing = age" in labels and "Ruritania & <b> = workclass" in labels, labels
    assert any(label.endswith("= marital-status") and not label[0].isdigit() for label in labels)
    shap.plots.bar(explanation[33], show=False)
    assert "Ruritania & <b> = workclass" in drawn()
    one = explanation[33]
    shap.plots.decision(one.base_values, one.values, one.display_data, one.feature_names, show=False)
    labels = [label.strip() for label in drawn()]
    assert "(missing)" in labels and "(Ruritania & <b>)" in labels, labels
    shap.plots.force(one, matplotlib=True, show=False)
    drawn()


def test_plots_of_many_rows(explanation):
    shap.plots.beeswarm(explanation, show=False)
    assert "marital-status" in drawn()
    shap.plots.bar(explanation, show=False)
    assert "capital-gain" in drawn()
    shap.plots.heatmap(explanation, show=False)
    drawn()
    names = explanation.feature_names
    shap.plots.decision(explanation.base_values[0], explanation.values, feature_names=names, show=False)
    assert "capital-gain" in drawn()


@pytest.mark.parametrize("seed", range(6))
def test_scatter_names_levels_and_not_numbers(explanation, seed):
    # SHAP tests one random row to find out whether a feature has levels.
    np.random.seed(seed)
    shap.plots.scatter(explanation[:, "workclass"], show=False)
    labels = drawn()
    levels = {"Private", "Local-gov", "missing", "Ruritania & <b>", "Utopia"}
    assert levels <= set(labels) and len(labels) < 20 + len(levels), labels
    shap.plots.scatter(explanation[:, "age"], color=explanation[:, "workclass"], show=False)
    labels = drawn()
    # The axis is numeric: it does not have a label for each value.
    assert "40" in labels and "41" not in labels, labels


def test_groups_of_features_and_columns_without_values(model, adult_test):
    rows = adult_test[:30].assign(age=np.nan, race=None)
    explanation = model.explain(rows, method="path", groups=["money=capital-gain+capital-loss"]).to_shap()
    assert explanation.display_data[0, explanation.feature_names.index("money")].startswith("capital-gain = ")
    for name in ("age", "race", "money"):
        shap.plots.scatter(explanation[:, name], show=False)
        drawn()
    shap.plots.beeswarm(explanation, show=False)
    drawn()


def test_a_negative_number_keeps_its_value():
    x = np.arange(-500.0, 500.0)
    model = feamoe.Learner.fit({"x": x, "z": x % 3}, x > 0).export()
    explanation = feamoe.shap.Explainer(model)({"x": [-3.5, None], "z": [None, 2]})
    assert explanation.data[0, 0] == -3.5 and np.isnan(explanation.data[1, 0])
    assert str(explanation.display_data[1, 0]) == "missing" and explanation.display_data[1, 1] == 2
    assert str(pickle.loads(pickle.dumps(explanation.display_data))[1, 0]) == "missing"
