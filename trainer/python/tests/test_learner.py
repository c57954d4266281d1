"""Learners of streams: labels, columns, counts, copies."""

import copy
import pickle
import sys
import warnings

import numpy as np
import pytest

import feamoe


def stream(rows, seed=0):
    """Rows whose outcome follows from them, but for noise."""
    random = np.random.default_rng(seed)
    for _ in range(rows):
        size, color = random.normal(), random.choice(["red", "green", "blue"])
        yield {"size": float(size), "color": str(color)}, bool(size + (color == "red") + random.normal() / 2 > 0.5)


def table(rows, seed=0):
    pairs = list(stream(rows, seed))
    columns = {name: [x[name] for x, _ in pairs] for name in ("size", "color")}
    return columns, [y for _, y in pairs]


def learned(rows=300, **options):
    learner = feamoe.Learner(warmup=100, **options)
    for x, y in stream(rows):
        learner.learn_one(x, y)
    return learner


LABELS = [
    (None, (False, True)),
    (None, (0, 1)),
    (None, (np.bool_(False), np.bool_(True))),
    (None, (np.int64(0), np.int64(1))),
    (None, (0.0, 1.0)),
    ("yes", ("no", "yes")),
    (2, (1, 2)),
    (2, (1.0, 2.0)),
    (0.5, (0.25, 0.5)),
    ("2", (1, 2)),
    ([">50K", ">50K."], ("<=50K", ">50K.")),
    (False, (True, False)),
]


@pytest.mark.parametrize(("positive", "labels"), LABELS, ids=str)
def test_predictions_are_labels_as_they_came(positive, labels):
    """One by one and from tables: the same outcomes, the same learner."""
    one = feamoe.Learner(positive=positive, warmup=100)
    for x, y in stream(300):
        one.learn_one(x, labels[y])
    columns, outcomes = table(300)
    many = feamoe.Learner(positive=positive, warmup=100)
    many.learn_many(columns, [labels[y] for y in outcomes])
    assert one.checkpoint() == many.checkpoint()
    for learner in (one, many):
        assert learner.classes == labels
        assert set(learner.predict_proba_one(columns and {"size": 3.0, "color": "red"})) == set(labels)
        assert learner.predict_one({"size": 3.0, "color": "red"}) == labels[True]
        assert learner.predict_one({"size": -3.0, "color": "red"}) == labels[False]
        assert set(learner.predict_many(columns)) == set(labels)
        assert learner.counts["favourable"] == sum(outcomes)
    if not isinstance(labels[0], np.generic):
        assert [type(name) for name in one.classes] == [type(name) for name in labels]


def test_outcomes_have_names_before_any_row():
    assert feamoe.Learner().classes == (False, True)
    assert feamoe.Learner(positive=1).classes == (0, 1)
    assert feamoe.Learner(positive="yes").classes == ("not yes", "yes")
    assert feamoe.Learner(positive="yes", negative=["no", "never"]).classes == ("no", "yes")
    assert feamoe.Learner(schema='[target]\ncolumn = "y"\npositive = ["1"]\nnegative = ["0"]\n').classes == (0, 1)
    assert feamoe.Learner().predict_proba_one({"a": 1}) == {False: 0.5, True: 0.5}
    assert feamoe.Learner(columns=["a", "y"]).predict_proba_one({"a": 1}) == {False: 0.5, True: 0.5}
    assert feamoe.Learner().predict_one({"a": 1}) == feamoe.Learner(columns=["a", "y"]).predict_one({"a": 1})
    assert list(feamoe.Learner().predict_proba_many({"a": [1, 2]})[True]) == [0.5, 0.5]


@pytest.mark.parametrize(("positive", "labels"), LABELS, ids=str)
def test_a_checkpoint_knows_the_outcomes(positive, labels):
    columns, outcomes = table(300)
    learner = feamoe.Learner(positive=positive, warmup=100)
    learner.learn_many(columns, [labels[y] for y in outcomes])
    again = feamoe.Learner.from_checkpoint(learner.checkpoint())
    if positive not in ("2",):
        assert again.classes[0] == labels[0]
    again.learn_many(columns, [labels[y] for y in outcomes])
    assert again.classes == labels
    assert again.predict_one({"size": 3.0, "color": "red"}) == labels[True]


def test_rows_are_counted_from_the_first():
    learner = feamoe.Learner(negative=["false", "no"], positive=True)
    for number, (x, y) in enumerate(stream(250), 1):
        learner.learn_one(x, y)
        assert learner.rows == number
    learner.learn_one({"size": 1.0}, None)
    learner.learn_one({"size": 1.0}, float("nan"))
    learner.learn_one({"size": 1.0, "color": "red"})
    learner.learn_one({"size": 1.0}, "maybe")
    assert learner.rows == 250
    counts = learner.counts
    assert (counts["read"], counts["unlabelled"]) == (254, 4)
    assert counts["favourable"] + counts["unfavourable"] == 250
    assert learner.classes == (False, True)
    assert repr(learner).startswith("<feamoe.Learner: 250 rows,")
    columns, outcomes = table(400)
    assert feamoe.Learner.fit(columns, outcomes, epochs=3, shuffle=True, warmup=100).rows == 400


def test_a_third_label_is_an_error_and_not_learned():
    learner = learned()
    state = learner.checkpoint()
    with pytest.raises(feamoe.FeamoeError) as raised:
        learner.learn_one({"size": 1.0, "color": "red"}, "maybe")
    assert (raised.value.column, raised.value.found) == ("y", "maybe")
    assert learner.classes == (False, True)
    assert learner.rows == 300
    assert feamoe.Learner.from_checkpoint(state).rows == 300


def test_filters_weights_and_lateness_are_counted():
    schema = {
        "target": {"column": "paid", "positive": ["true"]},
        "filter": [{"column": "age", "min": 18}],
        "protected": [{"column": "sex", "privileged": ["m"]}],
    }
    learner = feamoe.Learner(schema=schema, weight="importance", label_delay=10, warmup=50)
    random = np.random.default_rng(3)
    expected = dict.fromkeys(("read", "filtered", "unlabelled", "weightless", "favourable", "unfavourable"), 0)
    for _ in range(400):
        age, weight = int(random.integers(10, 60)), float(random.choice([0.0, 1.0, 2.5]))
        sex, paid = str(random.choice(["m", "f"])), random.choice([True, False, None])
        learner.learn_one({"age": age, "sex": sex, "importance": weight}, None if paid is None else bool(paid))
        fate = (
            "filtered"
            if age < 18
            else "unlabelled"
            if paid is None
            else "weightless"
            if weight == 0
            else "favourable"
            if paid
            else "unfavourable"
        )
        expected["read"] += 1
        expected[fate] += 1
    assert learner.counts == expected
    assert learner.report()["rows"]
    with pytest.raises(feamoe.FeamoeError) as raised:
        learner.learn_one({"age": 20, "sex": "m", "importance": -1.0}, True)
    assert raised.value.column == "importance"
    # Columns that are no features may be absent when scoring.
    assert len(learner.predict_proba_many({"age": [20, 30]})[True]) == 2
    assert learner.export().features == ["age"]


@pytest.mark.parametrize("rows", [0, 1, 50, 250])
def test_copies_continue_as_the_original(rows):
    learner = feamoe.Learner(warmup=100, positive="yes")
    for x, y in stream(rows):
        learner.learn_one(x, "yes" if y else "no")
    copies = [pickle.loads(pickle.dumps(learner)), copy.deepcopy(learner)]
    for x, y in stream(300, seed=9):
        for one in (learner, *copies):
            one.learn_one(x, "yes" if y else "no")
    for one in copies:
        assert one.checkpoint() == learner.checkpoint()
        assert (one.classes, one.columns, one.rows) == (learner.classes, learner.columns, learner.rows)
        assert one.export() == learner.export()


def test_a_checkpoint_is_a_file_too(tmp_path, monkeypatch):
    learner = learned()
    learner.save(tmp_path / "run.ckpt")
    # Python itself uses the standard output, so `-` is a file name.
    monkeypatch.chdir(tmp_path)
    learner.save("-")
    assert (tmp_path / "-").read_bytes() == learner.checkpoint()
    for source in (tmp_path / "run.ckpt", str(tmp_path / "run.ckpt"), bytearray(learner.checkpoint())):
        assert feamoe.Learner.from_checkpoint(source).checkpoint() == learner.checkpoint()
    with pytest.raises(feamoe.FeamoeError, match="without rows"):
        feamoe.Learner().checkpoint()


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
def test_a_checkpoint_is_written_by_one_process_and_for_its_owner(tmp_path):
    import fcntl

    learner = learned()
    path = tmp_path / "run.ckpt"
    with open(tmp_path / ".run.ckpt.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(feamoe.FeamoeError, match="another process is writing this file"):
            learner.save(path)
        assert not path.exists()
    learner.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["run.ckpt"]


def test_unknown_columns_are_counted_and_said_once():
    learner = learned()
    with pytest.warns(feamoe.FeamoeWarning, match="'weight': not among the columns") as said:
        for _ in range(5):
            learner.learn_one({"size": 1.0, "color": "red", "weight": 2}, True)
    assert len(said) == 1
    columns, outcomes = table(20)
    with pytest.warns(feamoe.FeamoeWarning, match="'height'"):
        learner.learn_many(columns | {"height": [1.0] * 20, "weight": [1.0] * 20}, outcomes)
    assert learner.unknown_columns == {"weight": 25, "height": 20}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = pickle.loads(pickle.dumps(learner))
        again.learn_one({"size": 1.0, "color": "red", "weight": 2}, True)
        again.predict_one({"size": 1.0, "other": 2})
    assert again.unknown_columns["weight"] == 26


def test_columns_may_be_named_and_features_described():
    learner = feamoe.Learner(
        columns=["y", "zip", "size", "id"], features={"categorical": ["zip"], "drop": ["id"]}, warmup=100
    )
    random = np.random.default_rng(1)
    for number in range(300):
        place = int(random.integers(3))
        learner.learn_one({"size": float(random.normal()), "zip": 1000 + place, "id": number}, place == 1)
    kinds = {feature["name"]: feature["kind"] for feature in learner.export().about["features"]}
    assert kinds == {"zip": "category", "size": "number"}
    with pytest.raises(feamoe.FeamoeError, match="schema and features"):
        feamoe.Learner(schema='[target]\ncolumn = "y"\npositive = ["1"]\n', features={"drop": ["a"]})
    with pytest.raises(feamoe.FeamoeError):
        feamoe.Learner(features={"dorp": ["a"]})
    with pytest.raises(feamoe.FeamoeError) as raised:
        feamoe.Learner(columns=["a"])
    assert raised.value.column == "y"


def test_options_are_checked_at_once():
    for options in (
        {"epochs": 3},
        {"shuffle": True},
        {"epochs": "auto"},
        {"bins": -1},
        {"bin": 3},
        {"fair": {"spd": 0}},
        {"lr": [1]},
    ):
        with pytest.raises(feamoe.FeamoeError):
            feamoe.Learner(**options)
    feamoe.Learner(epochs=1, shuffle=False, seed=np.int64(3), fair={"spd": np.float32(0.1)})


def test_outcomes_and_groups_beside_the_rows():
    columns, outcomes = table(400)
    groups = ["a" if size > 0 else "b" for size in columns["size"]]
    inside = feamoe.Learner.fit(columns | {"y": outcomes, "group": groups}, protected={"group": "a"}, warmup=100)
    beside = feamoe.Learner.fit(
        columns, outcomes, sensitive_features={"group": groups}, protected={"group": "a"}, warmup=100
    )
    assert inside.export() == beside.export()
    one = feamoe.Learner(columns=[*columns, "y", "group"], protected={"group": "a"}, warmup=100)
    for size, color, group, outcome in zip(columns["size"], columns["color"], groups, outcomes):
        one.learn_one({"size": size, "color": color, "group": group}, outcome)
    assert one.export().score(columns).tolist() == inside.export().score(columns).tolist()
    for both in (
        lambda: one.learn_one({"size": 1.0, "y": True}, True),
        lambda: one.learn_many(columns | {"y": outcomes}, outcomes),
    ):
        with pytest.raises(feamoe.FeamoeError, match="beside"):
            both()
    with pytest.raises(feamoe.FeamoeError) as raised:
        one.learn_one(["size", 1.0], True)
    assert raised.value.found == "a value of type list"


def test_many_is_one_by_one():
    columns, outcomes = table(900)
    by_one, by_many = (feamoe.Learner(warmup=300, columns=[*columns, "y"]) for _ in range(2))
    for place, (x, y) in enumerate(stream(900)):
        if place % 90 == 0:
            part = {name: values[place : place + 90] for name, values in columns.items()}
            proba = by_many.predict_proba_many(part)
            assert list(proba) == list(by_many.classes)
            state = by_many.checkpoint()
            first = by_many.predict_proba_one(x)
            assert {name: values[0] for name, values in proba.items()} == first
            assert by_many.predict_many(part)[0] == by_many.predict_one(x)
            # Scoring does not change the state.
            assert by_many.checkpoint() == state
            by_many.learn_many(part, outcomes[place : place + 90])
        by_one.learn_one(x, y)
    assert by_one.export() == by_many.export()
    with pytest.raises(feamoe.FeamoeError, match="color"):
        by_one.predict_proba_many({"size": [1.0]})
    with pytest.raises(feamoe.FeamoeError, match="color"):
        by_one.learn_many({"size": [1.0]}, [True])


def test_progress_is_shown(capsys):
    columns, outcomes = table(20_000)
    seen = []
    feamoe.Learner.fit(columns, outcomes, epochs=2, verbose=lambda *at: seen.append(at))
    assert seen[-1][:2] == (40_000, 2)
    assert seen == sorted(seen, key=lambda at: at[:2])
    with pytest.raises(ZeroDivisionError):
        feamoe.Learner.fit(columns, outcomes, verbose=lambda *_: 1 / 0)
    feamoe.Learner.fit(columns, outcomes, verbose=True)
    assert "rows" in capsys.readouterr().err
    feamoe.Learner.fit(columns, outcomes)
    assert capsys.readouterr().err == ""


def parts(seeds, **options):
    """Learners of parts of the data that share one encoding."""
    first = learned()
    learners = [feamoe.Learner(encoding=first, warmup=100, **options) for _ in seeds]
    for learner, seed in zip(learners, seeds):
        learner.learn_many(*table(300, seed))
    return learners


def test_learners_of_parts_become_one():
    one, other = parts([1, 2])
    merged = feamoe.Learner.merge([one, other])
    assert merged.rows == 600 and merged.classes == one.classes
    assert merged.checkpoint() == feamoe.Learner.merge([one, other]).checkpoint()
    assert merged.checkpoint() != feamoe.Learner.merge([other, one]).checkpoint()
    rows, outcomes = table(200, 3)
    alike = feamoe.Learner.merge([one, one]).predict_proba_many(rows)[True]
    assert np.allclose(alike, one.predict_proba_many(rows)[True], atol=1e-5)
    polished = feamoe.Learner.merge([one, other], "average", polish={**rows, "y": outcomes}, experts=1)
    assert polished.rows == 800 and polished.report()["experts"] == 1
    assert 0.7 < np.mean(polished.predict_many(rows) == np.array(outcomes))


def test_learners_that_do_not_belong_together_are_not_merged(tmp_path):
    one, other = parts([1, 2])
    one.save(tmp_path / "one.ckpt")
    again = feamoe.Learner(encoding=tmp_path / "one.ckpt", warmup=100)
    again.learn_many(*table(300, 4))
    feamoe.Learner.merge([one, again])
    with pytest.raises(feamoe.FeamoeError, match="its own encoding"):
        feamoe.Learner.merge([one, learned()])
    with pytest.raises(feamoe.FeamoeError, match="differ in their options: learning_rate: 0.1"):
        feamoe.Learner.merge([one, *parts([2], lr=0.1)])
    with pytest.raises(feamoe.FeamoeError, match="join"):
        feamoe.Learner.merge([one, other], how="sum")
    with pytest.raises(feamoe.FeamoeError, match="list of learners"):
        feamoe.Learner.merge([])
    with pytest.raises(feamoe.FeamoeError, match="bins"):
        feamoe.Learner(encoding=one, bins=7, columns=["size", "color", "y"])
