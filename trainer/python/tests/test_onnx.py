"""ONNX: the same scores, decisions, gates and attributions by another runtime, on every row of the
data sets and on records that are meant to be hard."""

import os
from pathlib import Path

import numpy as np
import pytest

import feamoe

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pandas = pytest.importorskip("pandas")

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
ADULT = {
    "target": {"column": "income", "positive": [">50K"], "negative": ["<=50K"]},
    "protected": [{"column": "sex", "privileged": ["Male"], "as_feature": True}],
    "features": {"log1p": ["capital-gain", "capital-loss"]},
}
#: Largest allowed difference of scores and gates.
CLOSE = 1e-6


def session(model: feamoe.Model) -> onnxruntime.InferenceSession:
    file = model.to_onnx()
    onnx.checker.check_model(onnx.load_from_string(file), full_check=True)
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def feed(model: feamoe.Model, rows: pandas.DataFrame) -> dict[str, np.ndarray]:
    """Rows as the inputs that the model's features have."""
    inputs = {}
    for feature in model.about["features"]:
        column = rows[feature["name"]]
        if feature["kind"] == "number":
            inputs[feature["name"]] = column.to_numpy(dtype=np.float32).reshape(-1, 1)
        else:
            inputs[feature["name"]] = column.fillna("").to_numpy(dtype=object).reshape(-1, 1)
    return inputs


def typed(model: feamoe.Model, rows: pandas.DataFrame, missing=("", "?")) -> pandas.DataFrame:
    """Rows of text with the type that each feature has."""
    columns = {}
    for feature in model.about["features"]:
        column = rows[feature["name"]]
        column = column.where(~column.isin(missing), None)
        columns[feature["name"]] = pandas.to_numeric(column) if feature["kind"] == "number" else column
    return pandas.DataFrame(columns)


def hard(model: feamoe.Model, rows: pandas.DataFrame, count: int, seed: int) -> pandas.DataFrame:
    """Records that mix values of all rows with what lies outside, at the ends, and nowhere."""
    random = np.random.default_rng(seed)
    columns = {}
    for feature in model.about["features"]:
        values = rows[feature["name"]].to_numpy()
        picked = values[random.integers(0, len(values), count)]
        if feature["kind"] == "number":
            picked = picked.astype(np.float32)
            low, high = np.nanmin(picked), np.nanmax(picked)
            odd = np.array(
                [np.nan, np.inf, -np.inf, low, high, np.nextafter(low, -np.inf), np.nextafter(high, np.inf)]
                + [0, -0.0, 3e38, -3e38, 1e-30],
                dtype=np.float32,
            )
            near = np.nextafter(picked, np.where(random.random(count) < 0.5, -np.inf, np.inf).astype(np.float32))
            picked = np.where(random.random(count) < 0.2, near, picked)
        else:
            odd = np.array([None, "never seen", "0", "ü"], dtype=object)
        is_odd = random.random(count) < 0.2
        picked[is_odd] = odd[random.integers(0, len(odd), is_odd.sum())]
        columns[feature["name"]] = picked
    return pandas.DataFrame(columns)


def check(model: feamoe.Model, rows: pandas.DataFrame) -> None:
    other = session(model)
    names = [output.name for output in other.get_outputs()]
    found = dict(zip(names, other.run(names, feed(model, rows)), strict=True))
    explained = model.explain(rows, method="frozen")
    assert len(rows) > 0 and found["label"].shape == (len(rows),)
    assert np.abs(found["score"] - model.score(rows)).max() <= CLOSE
    assert np.abs(found["probability"] - model.predict_proba(rows)).max() <= CLOSE
    assert (found["label"] == model.decide(rows)).all()
    assert np.abs(found["gate"] - model.gate(rows)).max() <= CLOSE
    scale = 1 + np.abs(explained.values).max()
    assert np.abs(found["attributions"] - explained.values).max() <= CLOSE * scale
    assert np.abs(found["base"] - explained.base_values).max() <= CLOSE * scale


@pytest.mark.parametrize("options", [{}, {"fair": {"spd": 0.05}}, {"bins": 0}, {"bins": 16, "experts": 3}])
def test_every_row_of_adult_and_hard_records(adult_train, adult_test, options):
    model = feamoe.Learner.fit(adult_train, schema=ADULT, **options).export()
    rows = adult_test[model.features]
    check(model, rows)
    check(model, hard(model, rows, 4_000, 7))


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("compas", "compas-scores-two-years.csv"),
        ("diabetes-130", "diabetes_1999_2008.csv.gz"),
        ("hmda", "hmda_2014_2017.csv.gz"),
    ],
)
def test_every_row_of_other_data(schema, file):
    folder = os.environ.get("FEAMOE_DATA")
    if folder is None:
        pytest.skip("FEAMOE_DATA is not set: it names a folder with the data sets")
    text = pandas.read_csv(Path(folder) / file, dtype=str, keep_default_na=False)
    model = feamoe.Learner.fit(text[:20_000], schema=(SCHEMAS / f"{schema}.toml").read_text()).export()
    rows = typed(model, text)
    check(model, rows)
    check(model, hard(model, rows, 4_000, 8))


def test_words_for_missing_are_those_of_the_model():
    """Text as a file has it, but for the blanks around it, and numbers that stand for nothing."""
    random = np.random.default_rng(4)
    rows = pandas.DataFrame({
        "u": random.choice([-1, -9, 0, 1, 2, 3], size=3_000),
        "v": random.normal(size=3_000),
        "c": random.choice(["a", "b", "?", "NA", "", "none", "-1"], size=3_000),
    })
    label = ((rows["u"] > 0) ^ (rows["v"] > 0) ^ (rows["c"] == "a")).astype(int)
    for table in ({"missing_in": {"u": ["-1"], "c": ["none"]}}, {"missing": ["?", "-9"]}, {}):
        schema = {"target": {"column": "y", "positive": ["1"], "negative": ["0"]}, "table": table}
        schema["features"] = {"categorical": ["c"]}
        model = feamoe.Learner.fit(rows.assign(y=label), schema=schema).export()
        check(model, rows)
        notes = model.notes(rows)
        assert (notes[:, 2] == "missing").any()


def test_large_weights_and_many_features():
    """Rounding grows with them, as the documentation says."""
    random = np.random.default_rng(40)
    rows = pandas.DataFrame({f"x{place}": random.normal(size=4_000) for place in range(40)})
    label = (rows.sum(axis=1) > 0).astype(int)
    model = feamoe.Learner.fit(rows, label, lr=1.0, epochs=5).export()
    score, decision = session(model).run(["score", "label"], feed(model, rows))
    close = 5e-6
    assert np.abs(score - model.score(rows)).max() <= close
    is_clear = np.abs(model.score(rows) - model.threshold) > close
    assert is_clear.mean() > 0.99 and (decision == model.decide(rows))[is_clear].all()


def test_names_that_the_graph_has_itself():
    random = np.random.default_rng(3)
    names = ["label", "score_", "score", "t1", "größe & <b>", "gate", "probability"]
    rows = pandas.DataFrame({name: random.normal(size=600) for name in names})
    rows["base"] = random.choice(["a", "ü", "", "x y"], size=600)
    label = (rows["label"] + rows["t1"] > 0).astype(int)
    model = feamoe.Learner.fit(rows, label).export()
    found = session(model)
    assert [output.name for output in found.get_outputs()] == [
        *("label_", "probability_", "score__", "gate_", "attributions", "base_")
    ]
    own = found.run(["score__"], feed(model, rows))[0]
    assert np.abs(own - model.score(rows)).max() <= CLOSE


def test_what_cannot_be_written_says_why(adult_train):
    model = feamoe.Learner.fit(adult_train[:3000], schema=ADULT).export()
    assert model.to_onnx() == model.to_onnx()
    with pytest.raises(feamoe.FeamoeError, match="names"):
        model.export(names=False).model.to_onnx()
    with pytest.raises(feamoe.FeamoeError, match="integer"):
        model.export(quantize="i16").model.to_onnx()
