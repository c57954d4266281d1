"""Evaluations: equal to fairlearn's on the same decisions."""

import fairlearn.metrics as fl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, precision_score, roc_auc_score

import feamoe

RATES = {
    "count": fl.count,
    "selection_rate": fl.selection_rate,
    "accuracy": accuracy_score,
    "true_positive_rate": fl.true_positive_rate,
    "true_negative_rate": fl.true_negative_rate,
    "false_positive_rate": fl.false_positive_rate,
    "false_negative_rate": fl.false_negative_rate,
    "precision": precision_score,
}
NAMED = ["demographic_parity_difference", "equalized_odds_difference", "equal_opportunity_difference"]


def people(seed, rows=3000):
    """Returns rows, outcomes and two protected columns of some random population."""
    draw = np.random.default_rng(seed)
    sex = draw.choice(["w", "m"], rows, p=[0.3, 0.7])
    race = draw.choice(["black", "white", "asian"], rows, p=[0.2, 0.7, 0.1])
    skill = draw.normal(size=rows) - 0.5 * (sex == "w") + draw.normal() * (race == "black")
    rows = pd.DataFrame({"test": skill + draw.normal(size=rows), "town": draw.choice(["a", "b"], rows)})
    y = skill + 0.3 * draw.normal(size=len(rows)) > draw.normal(scale=0.5)
    return rows, y, pd.DataFrame({"sex": sex, "race": race})


def evaluated(seed):
    rows, y, groups = people(seed)
    learner = feamoe.Learner.fit(
        rows, y, sensitive_features=groups, protected={"sex": "m", "race": "white"}, experts=2, individual=0
    )
    model = learner.export()
    return model, model.decide(rows), rows, y, groups, model.evaluate(rows, y, sensitive_features=groups)


@pytest.mark.parametrize("seed", range(5))
def test_rates_of_groups_are_fairlearns(seed):
    _, decided, _, y, groups, evaluation = evaluated(seed)
    ours = evaluation.by_group()
    for attribute in groups:
        theirs = fl.MetricFrame(metrics=RATES, y_true=y, y_pred=decided, sensitive_features=groups[attribute]).by_group
        assert set(ours.loc[attribute].index) == set(theirs.index)
        for group, rates in theirs.iterrows():
            for name in RATES:
                assert ours.loc[(attribute, group), name] == pytest.approx(rates[name], abs=1e-6), (group, name)
    polars = evaluation.by_group("polars")
    assert polars.equals(pl.DataFrame(ours.reset_index().to_dict("list")))


@pytest.mark.parametrize("seed", range(5))
def test_differences_of_groups_are_fairlearns(seed):
    _, decided, _, y, groups, evaluation = evaluated(seed)
    differences = evaluation.differences()
    assert set(differences.index) == {("sex", "w", "m"), ("race", "asian", "white"), ("race", "black", "white")}
    signs = set()
    for (attribute, group, reference), ours in differences.iterrows():
        of = groups[attribute].isin([group, reference]).to_numpy()
        given = {"y_true": y[of], "y_pred": decided[of], "sensitive_features": groups[attribute][of]}
        for name in NAMED:
            assert abs(ours[name]) == pytest.approx(getattr(fl, name)(**given), abs=1e-6), (group, name)
        ratio = ours["demographic_parity_ratio"]
        assert min(ratio, 1 / ratio) == pytest.approx(fl.demographic_parity_ratio(**given), abs=1e-6)
        assert (ratio < 1) == (ours["demographic_parity_difference"] < 0)
        frame = fl.MetricFrame(metrics=RATES, **given).by_group
        odds = frame.loc[group] - frame.loc[reference]
        mean = (odds["true_positive_rate"] + odds["false_positive_rate"]) / 2
        assert ours["average_odds_difference"] == pytest.approx(mean, abs=1e-6)
        assert ours["demographic_parity_difference_low"] < ours["demographic_parity_difference"]
        signs.add(np.sign(ours["demographic_parity_difference"]))
        for name in ("burden", "recourse_burden"):
            assert ours[f"{name}_low"] < ours[name] < ours[f"{name}_high"]
    assert -1 in signs
    wider = evaluation.differences("polars", corrected=True)
    for name in NAMED:
        width, plain = (
            np.array(frame[f"{name}_high"]) - np.array(frame[f"{name}_low"]) for frame in (wider, differences)
        )
        judged = [name not in few.split(", ") for few in differences["too_few"]]
        assert np.isnan(width[np.logical_not(judged)]).all()
        assert (width[judged] >= plain[judged]).all() and (width[judged] > plain[judged]).any()


def test_measures_of_all_rows(adult_train, adult_test):
    learner = feamoe.Learner.fit(adult_train[:5000], target="income", positive=">50K", protected={"sex": "Male"})
    model = learner.export()
    overall = model.evaluate(adult_test, recourse_burden=False).overall()
    y, decided = (adult_test.income == ">50K").to_numpy(), model.decide(adult_test)
    assert overall["rows"] == 16281
    assert overall["accuracy"] == pytest.approx(accuracy_score(y, decided), abs=1e-6)
    assert overall["auc"] == pytest.approx(roc_auc_score(y, model.score(adult_test)), abs=1e-6)
    assert overall["selection_rate"] == pytest.approx(decided.mean(), abs=1e-6)


def test_what_no_record_supports_is_not_zero():
    model, _, rows, y, groups, _ = evaluated(0)
    # The second group is small, and nobody in it has the favourable outcome.
    few = groups.assign(race=np.where(np.arange(3000) < 2980, "white", "asian"))
    y = y & (few["race"] == "white").to_numpy()
    evaluation = model.evaluate(rows, y, sensitive_features=few, recourse_burden=False)
    asian = evaluation.by_group().loc[("race", "asian")]
    assert asian["count"] == 20 and np.isnan(asian["true_positive_rate"]) and asian["false_positive_rate"] >= 0
    assert np.isnan(evaluation.by_group("polars")["recourse_burden"].to_numpy()).all()
    differences = evaluation.differences().loc[("race", "asian", "white")]
    assert "demographic_parity_difference" in differences["too_few"].split(", ")
    assert np.isnan(differences["equal_opportunity_difference"])


def test_one_outcome_only():
    model, _, rows, y, groups, _ = evaluated(1)
    evaluation = model.evaluate(rows[y], y[y], sensitive_features=groups[y], recourse_burden=False)
    assert np.isnan(evaluation.overall()["auc"]) and "AUC nan" in repr(evaluation)
    assert np.isnan(evaluation.by_group()["false_positive_rate"]).all()
    assert np.isnan(evaluation.by_group()["true_negative_rate"]).all()


def test_rows_of_polars_and_of_one_group():
    model, _, rows, y, groups, evaluation = evaluated(3)
    polars = pl.DataFrame({**rows.to_dict("list"), **groups.to_dict("list"), "y": y})
    assert model.evaluate(polars).document == evaluation.document
    men = (groups["sex"] == "m").to_numpy()
    of_men = model.evaluate(rows[men], y[men], sensitive_features=groups[men])
    assert "sex" not in of_men.differences().index.get_level_values("attribute")
    with pytest.raises(feamoe.FeamoeError, match="found 'spark', expected 'pandas' or 'polars'"):
        evaluation.by_group("spark")


def test_explanations_and_recourse_as_frames():
    model, decided, rows, *_ = evaluated(4)
    explanation = model.explain(rows[:50])
    values = explanation.to_frame()
    assert values.equals(pd.DataFrame(explanation.values, columns=["test", "town"]))
    assert explanation.to_frame("polars").to_pandas().equals(values)
    assert list(explanation.importance()) == list(values.abs().mean().sort_values(ascending=False).index)
    assert explanation.importance()["test"] == pytest.approx(values["test"].abs().mean(), rel=1e-6)

    recourse = model.recourse(rows[:50])
    frame = recourse.to_frame()
    assert len(frame) == sum(len(answer["changes"]) for answer in recourse.answers()) > 0
    shown = [str(value) for value in recourse.to_frame("polars")["to"]]
    assert shown == [str(value) for value in frame["to"]]
    assert not decided[frame["row"].to_numpy() - 1].any() and (frame["probability"] >= model.threshold).all()
    nobody = model.recourse(rows[decided][:5])
    assert list(nobody.to_frame().columns) == list(frame.columns) and len(nobody.to_frame()) == 0
