"""Dask gives the very bits of the package: of scores, explanations, evaluations and learners."""

import numpy as np
import pandas
import pytest
from test_shards import SETTINGS, digits, people

import feamoe

dask = pytest.importorskip("dask")
frames = pytest.importorskip("dask.dataframe")
import feamoe.dask  # noqa: E402
import feamoe.shards  # noqa: E402


@pytest.fixture(scope="module")
def rows() -> pandas.DataFrame:
    rows = people(1, 9_000)
    return rows.set_index(pandas.Index(range(5, 18_005, 2), name="person"))


@pytest.fixture(scope="module")
def model(rows) -> feamoe.Model:
    return feamoe.Learner.fit(rows, **SETTINGS).export()


def with_empty(rows: pandas.DataFrame):
    """Five partitions, of which one is empty and one has one row."""
    number = frames.from_pandas(rows.assign(number=range(len(rows))), npartitions=5)
    empty = number[(number["number"] < 1_800) | (number["number"] >= 5_400) | (number["number"] == 1_801)]
    return empty.drop(columns="number")


def test_scores_and_explanations_are_the_packages(rows, model):
    frame = frames.from_pandas(rows, npartitions=4)
    scored = feamoe.dask.score(frame, model)
    found = scored.compute()
    assert list(found.dtypes) == list(scored.dtypes) and found.index.equals(rows.index)
    assert (found["probability"].to_numpy() == model.predict_proba(rows)).all()
    assert (found["score"].to_numpy() == model.score(rows)).all()
    assert (found["decision"].to_numpy() == model.decide(rows)).all()
    for method in ("path", "frozen"):
        found = feamoe.dask.explain(frame, model, method=method).compute()
        own = model.explain(rows, method=method)
        assert (np.stack(found["values"]) == own.values).all()
        assert (found["base_value"].to_numpy() == own.base_values).all()
    kept = feamoe.dask.score(frame, model, keep=["y"])
    assert list(kept.columns) == list(kept.compute().columns) == ["y", "probability", "score", "decision"]
    partly = with_empty(rows)
    assert len(feamoe.dask.score(partly, model).compute()) == len(partly.compute()) == 5_401


def test_what_is_learned_and_judged_of_partitions_is_that_of_shards(rows, model):
    for frame in (frames.from_pandas(rows, npartitions=4), with_empty(rows)):
        shards = [[part.compute()] for part in frame.to_delayed()]
        found = feamoe.dask.train(frame, **SETTINGS)
        assert found.checkpoint() == feamoe.shards.train(shards, **SETTINGS).checkpoint()
        with dask.config.set(scheduler="synchronous"):
            assert found.checkpoint() == feamoe.dask.train(frame, **SETTINGS).checkpoint()
        judged = feamoe.dask.evaluate(frame, model)
        assert digits(judged) == digits(model.evaluate(frame.compute()))


def test_what_is_wrong_with_a_partition_is_said_with_its_number(rows, model):
    frame = frames.from_pandas(rows, npartitions=3)
    with pytest.raises(feamoe.FeamoeError, match="a column of this name in the frame"):
        feamoe.dask.score(frame.drop(columns="b"), model)
    with pytest.raises(feamoe.FeamoeError, match="'z': found a, b, c, s, y, expected a column of this name"):
        feamoe.dask.score(frame, model, keep=["z"])
    with pytest.raises(feamoe.FeamoeError, match="found one, expected none of this name"):
        feamoe.dask.explain(frame.rename(columns={"y": "base_value"}), model)
    men = frames.concat([frame, frames.from_pandas(rows[rows["s"] == "m"], npartitions=1)])
    with pytest.raises(feamoe.FeamoeError, match='shard 4 has 0 rows of group "[fx]"'):
        feamoe.dask.train(men, polish=0, **SETTINGS)
    labels = rows["y"].astype(object)
    labels.iloc[7_000] = "perhaps"
    with pytest.raises(feamoe.FeamoeError, match="shard 3, row 1001, column 'y': found .*perhaps"):
        feamoe.dask.evaluate(frames.from_pandas(rows.assign(y=labels.astype(str)), npartitions=3), model)
