"""Python and the command give the same bits, whatever the rows are held in and however many threads there are."""

import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import feamoe
from feamoe._tables import table

pandas = pytest.importorskip("pandas")

SCHEMA = {
    "target": {"column": "income", "positive": [">50K"], "negative": ["<=50K"]},
    "protected": [{"column": "sex", "privileged": ["Male"], "as_feature": True}],
    "features": {
        "log1p": ["capital-gain", "capital-loss"],
        "immutable": ["age", "sex", "race"],
        "steps": {"hours-per-week": 1.0},
    },
}
TOML = feamoe._schema.toml(SCHEMA)
#: Number of rows for the slow comparisons.
FEW = 40


def find_command() -> str | None:
    given = os.environ.get("FEAMOE_COMMAND")
    if given:
        return given
    root = Path(__file__).resolve().parents[3]
    built = (root / "target" / profile / "feamoe" for profile in ("release", "debug"))
    return next((str(path) for path in built if path.exists()), None)


COMMAND = find_command()
pytestmark = pytest.mark.skipif(
    COMMAND is None, reason="no feamoe command: FEAMOE_COMMAND does not name it, and target/ has none"
)


def command(*arguments) -> str:
    done = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def adult_test(adult_test):
    """Some rows of which have values that training did not."""
    odd = adult_test.copy()
    odd.loc[7::100, "age"] = 200
    odd.loc[::101, "occupation"] = "Astronaut"
    odd.loc[::103, "race"] = None
    return odd


@pytest.fixture(scope="module")
def files(adult_train, adult_test, tmp_path_factory):
    """The data as files, a model of the command with its checkpoint, and its scores."""
    folder = tmp_path_factory.mktemp("bits")
    adult_train.to_csv(folder / "train.csv", index=False)
    adult_test.to_csv(folder / "test.csv", index=False)
    adult_test[:3000].to_csv(folder / "part.csv", index=False)
    adult_test[:FEW].to_csv(folder / "few.csv", index=False)
    (folder / "schema.toml").write_text(TOML)
    trained = ["train", folder / "train.csv", "--schema", folder / "schema.toml", "--fair", "spd=0.05"]
    command(*trained, "-o", folder / "m.feamoe", "--checkpoint", folder / "run.ckpt", "--background", "100")
    return folder


@pytest.fixture(scope="module")
def said(files):
    """What the command says of every row."""
    scores = command("score", files / "m.feamoe", files / "test.csv", "--gate")
    return pandas.read_csv(io.StringIO(scores), dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def model(files):
    return feamoe.Model(files / "m.feamoe")


@pytest.fixture(scope="module")
def rows(adult_test):
    return adult_test.drop(columns="income")


def holders(rows):
    texts = list(rows.select_dtypes(exclude="number"))
    yield "pandas text", rows
    yield "pandas objects", rows.astype(object)
    yield "pandas categories", rows.astype(dict.fromkeys(texts, "category"))
    yield "dictionary of columns", {name: rows[name].tolist() for name in rows}
    yield "dictionary of arrays", {name: rows[name].to_numpy() for name in rows}
    yield "numpy objects", table(rows.astype(object).to_numpy(), list(rows.columns))
    arrow = pytest.importorskip("pyarrow")
    arrows = arrow.Table.from_pandas(rows, preserve_index=False)
    yield "pyarrow", arrows
    yield "pyarrow batches", arrow.Table.from_batches(arrows.to_batches(max_chunksize=1000))
    polars = pytest.importorskip("polars")
    yield "polars", polars.from_arrow(arrows)
    yield "polars categories", polars.from_arrow(arrows).with_columns(polars.col(texts).cast(polars.Categorical))
    duckdb = pytest.importorskip("duckdb")
    yield "duckdb", duckdb.connect().from_arrow(arrows)


def bits(scores):
    return np.asarray(scores, dtype=np.float32).view(np.uint32)


def notes_of(model, rows, never_missing):
    """The notes of the rows as the command writes them: those of missing values where training had all."""
    lines = []
    for words in model.notes(rows):
        noted = {
            kind: [name for name, word in zip(model.features, words) if word == kind]
            for kind in ("missing", "clamped", "unseen")
        }
        noted["missing"] = [name for name in noted["missing"] if name in never_missing]
        lines.append("; ".join(f"{kind}: {' '.join(names)}" for kind, names in noted.items() if names))
    return lines


def score_of(said):
    """The score that decides, where it is not the probability."""
    return bits(said["score" if "score" in said else "probability"].astype(np.float32))


def test_scores_gates_and_notes_of_all_rows_are_those_of_the_command(model, rows, said, adult_train):
    expected = score_of(said)
    assert len(set(expected)) > len(rows) / 4
    gate = said[[name for name in said if name.startswith("gate_")]].astype(np.float32).to_numpy()
    assert gate.shape == (len(rows), model.about["experts"])
    for name, holder in holders(rows):
        held = table(holder)
        assert np.array_equal(bits(model.score(held)), expected), name
        assert np.array_equal(bits(model.predict_proba(held)), bits(said["probability"].astype(np.float32))), name
        assert np.array_equal(bits(model.gate(held)), bits(gate)), name
        assert np.array_equal(model.decide(held), said["decision"] == "1"), name
    notes = notes_of(model, rows, {name for name in adult_train if adult_train[name].notna().all()})
    assert notes == said["notes"].tolist()
    assert sum(map(bool, notes)) > 400
    one = [model.score_one(row) for row in rows.to_dict("records")]
    assert np.array_equal(bits(one), expected)


@pytest.mark.parametrize("threads", [1, 5])
def test_the_number_of_threads_does_not_matter(model, rows, said, threads, tmp_path):
    rows.to_pickle(tmp_path / "rows.pickle")
    (tmp_path / "model").write_bytes(model.to_bytes())
    code = (
        "import pandas, numpy, feamoe, sys\n"
        "model, rows = feamoe.Model('model'), pandas.read_pickle('rows.pickle')\n"
        "numpy.savez('said', score=model.score(rows), gate=model.gate(rows), notes=model.notes(rows),\n"
        "    values=model.explain(rows[:200], method='exact').values,\n"
        "    sampled=model.explain(rows[:20], method='sampled').values)\n"
    )
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    found = np.load(tmp_path / "said.npz")
    assert np.array_equal(bits(found["score"]), score_of(said))
    assert np.array_equal(bits(found["gate"]), bits(model.gate(rows)))
    assert np.array_equal(found["notes"], model.notes(rows))
    assert np.array_equal(bits(found["values"]), bits(model.explain(rows[:200], method="exact").values))
    assert np.array_equal(bits(found["sampled"]), bits(model.explain(rows[:20], method="sampled").values))


@pytest.mark.parametrize("method", ["exact", "sampled", "path", "frozen"])
def test_explanations_are_those_of_the_command(model, rows, files, method):
    expected = json.loads(
        command("explain", files / "m.feamoe", files / "few.csv", "--method", method, "--format", "json")
    )
    for holder in (rows[:FEW], {name: rows[name][:FEW].tolist() for name in rows}):
        found = model.explain(holder, method=method)
        assert found.document == expected
        assert np.array_equal(bits(found.values), bits(expected["values"]))


def test_recourse_is_that_of_the_command(model, rows, files):
    known = command("recourse", files / "m.feamoe", files / "few.csv", "--format", "json")
    found = model.recourse(rows[:FEW])
    assert found.document == json.loads(known)
    assert found.summary["with_recourse"] > 5
    narrow = command(
        "recourse",
        files / "m.feamoe",
        files / "few.csv",
        "--format",
        "json",
        "--fix",
        "workclass",
        "--increase-only",
        "hours-per-week",
        "--answers",
        2,
        "--max-changes",
        2,
        "--margin",
        0.01,
        "--cost",
        "education=3",
        "--range",
        "hours-per-week=20..60",
        "--row",
        1,
    )
    found = model.recourse(
        rows[:FEW],
        immutable=["workclass"],
        increase_only=["hours-per-week"],
        answers=2,
        max_changes=2,
        margin=0.01,
        costs={"education": 3},
        ranges={"hours-per-week": (20, 60)},
        row=1,
    )
    assert found.document == json.loads(narrow)


def test_an_evaluation_is_that_of_the_command(model, adult_test, files):
    known = json.loads(
        command(
            "evaluate", files / "m.feamoe", files / "part.csv", "--schema", files / "schema.toml", "--format", "json"
        )
    )
    found = model.evaluate(adult_test[:3000]).document
    differing = {key for key in known.keys() | found.keys() if known.get(key) != found.get(key)}
    # The command also states the requirements that it was given.
    assert differing <= {"requirements"}


def without_provenance(model):
    """The bytes of a model, but for the hash of its data and the checksums."""
    about = model.about
    content = model.to_bytes()
    hashed = bytes.fromhex(about["data_sha256"])
    assert content.count(hashed) == 1
    content = content.replace(hashed, bytes(32))
    for checksum in (about["crc32"],):
        content = content.replace(bytes.fromhex(checksum)[::-1], bytes(4))
    return content


OPTIONS = [
    ({}, []),
    ({"fair": {"spd": 0.05}, "experts": 5}, ["--fair", "spd=0.05", "--experts", 5]),
    ({"epochs": 3, "bins": 16, "seed": 7}, ["--epochs", 3, "--bins", 16, "--seed", 7]),
    (
        {"fair": {"aod": 0.05, "burden": 0.03}, "epochs": 3, "shuffle": True, "threshold": "auto:balanced"},
        ["--fair", "aod=0.05,burden=0.03", "--epochs", 3, "--shuffle", "--threshold", "auto:balanced"],
    ),
    (
        {
            "weight": "hours-per-week",
            "class_weight": "balanced",
            "loss": "competitive",
            "lr": 0.3,
            "grow": "drift",
            "background": 7,
        },
        [
            "--weight",
            "hours-per-week",
            "--class-weight",
            "balanced",
            "--loss",
            "competitive",
            "--lr",
            0.3,
            "--grow",
            "drift",
            "--background",
            7,
        ],
    ),
    ({"penalties": "spd", "increment": 0.02, "label_delay": 100}, None),
]


@pytest.mark.parametrize(("options", "flags"), [pair for pair in OPTIONS if pair[1] is not None], ids=str)
def test_models_are_those_of_the_command(adult_train, files, tmp_path, options, flags):
    schema = SCHEMA
    if options.get("weight"):
        schema = {"target": SCHEMA["target"], "protected": SCHEMA["protected"]}
    (tmp_path / "schema.toml").write_text(feamoe._schema.toml(schema))
    command("train", files / "train.csv", "--schema", tmp_path / "schema.toml", *flags, "-o", tmp_path / "m.feamoe")
    expected = feamoe.Model(tmp_path / "m.feamoe")
    found = feamoe.Learner.fit(adult_train, schema=schema, **options).export()
    assert without_provenance(found) == without_provenance(expected)


def test_a_run_moves_from_python_to_the_command_and_back(adult_train, adult_test, files, tmp_path):
    """In parts, here or there: always what one run over all gives."""
    schema, train, test = files / "schema.toml", files / "train.csv", files / "test.csv"
    command("train", train, test, "--schema", schema, "--fair", "spd=0.05", "-o", tmp_path / "one.feamoe")
    whole = without_provenance(feamoe.Model(tmp_path / "one.feamoe"))

    half = len(adult_train) // 2
    learner = feamoe.Learner(schema=SCHEMA, fair={"spd": 0.05}, columns=list(adult_train.columns))
    learner.learn_many(adult_train[:half])
    learner = pickle.loads(pickle.dumps(learner))
    learner.learn_many(adult_train[half:])
    learner.save(tmp_path / "python.ckpt")
    command("update", tmp_path / "python.ckpt", test, "-o", tmp_path / "two.feamoe")
    assert without_provenance(feamoe.Model(tmp_path / "two.feamoe")) == whole

    command(
        "train",
        train,
        "--schema",
        schema,
        "--fair",
        "spd=0.05",
        "-o",
        tmp_path / "first.feamoe",
        "--checkpoint",
        tmp_path / "c.ckpt",
    )
    resumed = feamoe.Learner.from_checkpoint(tmp_path / "c.ckpt")
    assert resumed.classes == ("<=50K", ">50K")
    assert resumed.rows == len(adult_train)
    resumed.learn_many(adult_test)
    assert without_provenance(resumed.export()) == whole

    fitted = feamoe.Learner.fit(adult_train, schema=SCHEMA, fair={"spd": 0.05})
    for row in adult_test.to_dict("records"):
        fitted.learn_one(row)
    assert without_provenance(fitted.export()) == whole
