"""Data in parts: evaluations add up to that of all rows, to the last digit; what is learned of the
parts is what merging by hand gives; what is wrong with a part is said with its number."""

import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest

import feamoe

pa = pytest.importorskip("pyarrow")
import feamoe.shards  # noqa: E402

SETTINGS = {"target": "y", "positive": 1, "protected": {"s": "m"}, "fair": {"spd": 0.05}, "experts": 3}


def people(seed: int, rows: int) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "a": draw.normal(size=rows),
        "b": draw.integers(0, 50, rows).astype(float),
        "c": draw.choice(["p", "q", "r"], rows),
        "s": draw.choice(["m", "f", "x"], rows, p=[0.5, 0.4, 0.1]),
    })
    frame.loc[draw.random(rows) < 0.05, "a"] = np.nan
    frame["y"] = (frame["a"].fillna(0) + frame["b"] / 20 + (frame["s"] == "m") + draw.normal(size=rows) > 1.7).astype(int)
    return frame


def cut(frame: pd.DataFrame, *at: int) -> list[list[pd.DataFrame]]:
    ends = [0, *at, len(frame)]
    return [[frame[start:end]] for start, end in zip(ends, ends[1:])]


@pytest.fixture(scope="module")
def model() -> feamoe.Model:
    return feamoe.Learner.fit(people(1, 8_000), **SETTINGS).export()


# Evaluation.


def digits(evaluation: feamoe.Evaluation, sort: bool = False) -> str:
    """Every digit of what adds up; ``sort``: with groups by name."""
    document = {key: value for key, value in evaluation.document.items() if key not in ("proxies", "warnings")}
    if sort:
        for key in ("groups", "fairness"):
            document[key] = sorted(document[key], key=lambda of: (of["attribute"], of["group"]))
        for attribute in document["attributes"]:
            attribute["groups"] = sorted(attribute["groups"])
    return json.dumps(document, sort_keys=True)


@pytest.mark.parametrize("seed", range(4))
def test_evaluations_of_shards_are_that_of_all_rows_to_the_last_digit(model, seed):
    draw = np.random.default_rng(seed)
    frame = people(seed, 2_000)
    whole = model.evaluate(frame, recourse_burden=seed == 0)
    shards = cut(frame, *np.sort(draw.integers(0, 2_000, 6)), 1_999)
    shards[1:1] = [[], [frame[:0]]]
    assert digits(feamoe.shards.evaluate(shards, model, recourse_burden=seed == 0)) == digits(whole)
    shuffled = [shards[at] for at in draw.permutation(len(shards))]
    found = feamoe.shards.evaluate(shuffled, model, recourse_burden=seed == 0)
    assert digits(found, sort=True) == digits(whole, sort=True)
    assert found["warnings"] == ["proxies are left out, since the search for them needs a sample of all rows"]
    # A row that is missing, or counted twice, changes the figures.
    for other in (shards[:-1], [*shards, [frame[:1]]]):
        assert digits(feamoe.shards.evaluate(other, model, recourse_burden=seed == 0)) != digits(whole)


def test_counts_are_bytes_that_add_up(model):
    frame = people(2, 900)
    counts = [model.count(rows) for (rows,) in cut(frame, 1, 1, 500)]
    summed = feamoe.EvaluationCounts.sum(counts)
    assert summed == counts[0] + counts[1] + counts[2] + counts[3]
    assert summed == pickle.loads(pickle.dumps(summed)) == feamoe.EvaluationCounts(summed.to_bytes())
    assert [of.rows for of in (*counts, summed)] == [1, 0, 499, 400, 900]
    assert digits(summed.evaluation()) == digits(model.evaluate(frame))
    labels = frame.pop("y")
    assert model.count(frame, labels) == model.count(frame.assign(y=labels))


def test_what_does_not_add_up_is_refused(model):
    frame = people(2, 200)
    counts, other = model.count(frame), model.with_threshold(0.4).count(frame)
    with pytest.raises(feamoe.FeamoeError, match="shard 3: its model differs from that of the earlier shards"):
        feamoe.EvaluationCounts.sum([counts, counts, other])
    with pytest.raises(feamoe.FeamoeError, match="expected those of at least one shard"):
        feamoe.EvaluationCounts.sum([])
    with pytest.raises(feamoe.FeamoeError, match="not counts of an evaluation, or they are damaged"):
        feamoe.EvaluationCounts(counts.to_bytes()[:-1])
    with pytest.raises(feamoe.FeamoeError, match="there are no records"):
        model.count(frame[:0]).evaluation()
    with pytest.raises(feamoe.FeamoeError, match="no rows in any shard"):
        feamoe.shards.evaluate([[], [frame[:0]]], model)


# Learning.


def test_a_learner_of_shards_is_what_merging_by_hand_gives():
    frame = people(3, 9_000)
    shards = cut(frame, 2_000, 5_500)
    found = feamoe.shards.train(shards, **SETTINGS, seed=7, polish=4_000, warmup=1_000)
    draws = [np.random.default_rng([7, shard]).random(len(rows)) for shard, (rows,) in enumerate(shards, 1)]
    sample = frame.iloc[np.argsort(np.concatenate(draws))[:4_000]]
    start = feamoe.Learner(**SETTINGS, seed=7, warmup=1_000)
    start.learn_many(sample)
    learners = []
    for (rows,) in shards:
        learners.append(feamoe.Learner(**SETTINGS, seed=7, encoding=start))
        learners[-1].learn_many(rows)
    assert found.checkpoint() == feamoe.Learner.merge(learners, polish=sample).checkpoint()
    assert found.classes == (0, 1) and found.rows == 13_000
    # The kind of the tables, their division within a shard, and the order of columns do not matter.
    kinds = [
        [pa.Table.from_pandas(shards[0][0], preserve_index=False)],
        pa.Table.from_pandas(shards[1][0], preserve_index=False).to_batches(max_chunksize=999),
        [shards[2][0][["y", "s", "a", "c", "b"]][:1], shards[2][0][:0], shards[2][0][1:]],
    ]
    again = feamoe.shards.train(kinds, **SETTINGS, seed=7, polish=4_000, warmup=1_000)
    assert again.checkpoint() == found.checkpoint()
    # Engines may finish partitions in any order.
    everywhere = feamoe.shards._here(shards)
    settings = {**SETTINGS, "seed": 7, "warmup": 1_000}
    late = feamoe.shards.trained(
        lambda work: list(everywhere(work))[::-1], how="join", polish=4_000, merged_experts=None, settings=settings
    )
    assert late.checkpoint() == found.checkpoint()
    other = feamoe.shards.train(shards[::-1], **SETTINGS, seed=7, polish=4_000, warmup=1_000)
    assert other.checkpoint() != found.checkpoint()


def test_as_good_as_one_learner_and_the_target_is_held():
    frame, fresh = people(4, 24_000), people(5, 10_000)
    settings = {**SETTINGS, "protected": {"s": {"privileged": "m", "unprivileged": "f"}}}
    whole = feamoe.Learner.fit(frame, **settings).export().evaluate(fresh, recourse_burden=False)
    by_group = [[frame[frame["s"] == "m"]], [], [frame[frame["s"] != "m"]]]
    for shards in (cut(frame, 6_000, 12_000, 18_000), by_group):
        learner = feamoe.shards.train(shards, **settings)
        found = learner.export().evaluate(fresh, recourse_burden=False)
        assert found["accuracy"] > whole["accuracy"] - 0.01 and found["log_loss"] < whole["log_loss"] + 0.02
        assert abs(found.differences()["demographic_parity_difference"].iloc[0]) < 0.08
        assert all(abs(target["gap"]) <= 0.05 for target in learner.report()["targets"])
    # Without rows to polish with, no shard sees the gap. The message names the shard by its own
    # number.
    with pytest.raises(feamoe.FeamoeError, match='shard 1 has 0 rows of group "f"'):
        feamoe.shards.train(by_group, polish=0, **settings)
    with pytest.raises(feamoe.FeamoeError, match='shard 3 has 0 rows of group "f"'):
        feamoe.shards.train([[frame], [], [frame[frame["s"] == "m"]]], polish=0, **settings)
    # A mixture holds at most 64 experts, or as many as requested.
    with pytest.raises(feamoe.FeamoeError, match="found 69 shards, but a mixture holds at most 64 experts"):
        feamoe.shards.train(cut(frame, *range(350, 24_000, 350)), **settings)
    many = cut(frame, *range(1_000, 24_000, 1_000))
    assert feamoe.shards.train(many, merged_experts=5, **settings).report()["experts"] <= 5


def test_shards_without_usable_rows_are_passed_over():
    frame = people(6, 6_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        feamoe.shards.train([[], *cut(frame, 3_000), [frame[:0]]], **SETTINGS)
    unlabelled = frame[:50].assign(y=None)
    with pytest.warns(feamoe.FeamoeWarning, match="shard 2 has no usable row, and is left out: .*'unlabelled': 50"):
        feamoe.shards.train([[frame[:3_000]], [unlabelled], [frame[3_000:]]], **SETTINGS)
    with pytest.raises(feamoe.FeamoeError, match="no usable row in any shard"):
        feamoe.shards.train([[unlabelled]], **SETTINGS)
    for empty in ([], [[]], [[frame[:0]], []]):
        with pytest.raises(feamoe.FeamoeError, match="no rows in any shard"):
            feamoe.shards.train(empty, **SETTINGS)


def test_few_rows_and_rows_that_filters_leave_few_of():
    frame = people(7, 30)
    assert feamoe.shards.train(cut(frame, 1), **SETTINGS).rows == 60
    assert feamoe.shards.train(cut(frame, 1), **SETTINGS, warmup=4_000, bins=16).rows == 60
    with pytest.raises(feamoe.FeamoeError, match="outcome, expected both"):
        feamoe.shards.train([[frame[:1]]], **SETTINGS)
    # Only 5,400 of 12,000 rows have an outcome, so a sample of 5,000 does not contain enough of
    # them.
    frame = people(8, 12_000)
    frame["y"] = frame["y"].where(frame.index % 20 < 9)
    everywhere, calls = feamoe.shards._here(cut(frame, 6_000)), []

    def run(work):
        calls.append(work.func.__name__)
        return everywhere(work)

    learner = feamoe.shards.trained(run, how="join", polish=0, merged_experts=None, settings=SETTINGS)
    assert calls == ["sampled", "sampled", "learned"]
    twin = feamoe.Learner(**SETTINGS)
    twin.learn_many(frame)
    assert learner.rows == twin.rows == 5_400
    assert feamoe.shards.train(cut(frame, 6_000), **SETTINGS, warmup=5_000, polish=0).checkpoint() == learner.checkpoint()


def test_a_level_of_one_shard_only_is_a_level():
    frame = people(9, 12_000)
    frame.loc[9_000:, "c"] = "only here"
    learner = feamoe.shards.train(cut(frame, 9_000), **SETTINGS)
    levels = next(of["levels"] for of in learner.export().about["features"] if of["name"] == "c")
    assert set(levels) == {"p", "q", "r", "only here"}


@pytest.mark.parametrize("polish", [0, 20_000])
def test_a_bad_cell_is_named_by_shard_and_row_whether_it_is_sampled_or_not(polish):
    frame = people(10, 20_000)
    frame["b"] = frame["b"].astype(int).astype(str)
    frame.loc[17_000, "b"] = "many"
    # If the warm-up contained the bad cell, the column would become text.
    shards = [[frame[:4_000]], [], [frame[4_000:12_000], frame[12_000:]]]
    draws = [np.random.default_rng([1, shard]).random(len(rows)) for shard, rows in ((1, frame[:4_000]), (3, frame[4_000:]))]
    place = int(np.flatnonzero(np.argsort(np.concatenate(draws)) == 17_000)[0])
    assert place > 500
    with pytest.raises(feamoe.FeamoeError, match="shard 3, row 13001, column 'b': found .*many.*expected") as raised:
        feamoe.shards.train(shards, **SETTINGS, polish=polish, warmup=500)
    assert (raised.value.column, raised.value.row) == ("b", 13_001)


def test_shards_of_other_columns_are_refused_by_number():
    frame = people(11, 6_000)
    first, rest = frame[:3_000], frame[3_000:]
    for other, message in (
        (rest.drop(columns="c"), "shard 2: found no column 'c', only a, b, s, y, expected the columns of the rows before"),
        (rest.assign(z=1), "shard 2: found a column 'z', expected the columns of the rows before, a, b, c, s, y"),
        (rest.assign(b="x"), "shard 2, column 'b': found .*string, expected double, as in the shards before"),
    ):
        with pytest.raises(feamoe.FeamoeError, match=message):
            feamoe.shards.train([[first], [other]], **SETTINGS)
        with pytest.raises(feamoe.FeamoeError, match="shard 1"):
            feamoe.shards.train([[first, other]], **SETTINGS)


def test_settings_are_checked_before_anything_runs():
    def untouched():
        raise AssertionError
        yield

    def refused(message, **settings):
        with pytest.raises(feamoe.FeamoeError, match=message):
            feamoe.shards.trained(
                lambda work: untouched(), settings=settings, **{"how": "join", "polish": 5, "merged_experts": None}
            )

    refused("expected one of spd, aod", fair={"sdp": 0.1})
    refused("columns: found one", columns=["a"])
    refused("encoding: found one", encoding=b"")
    with pytest.raises(feamoe.FeamoeError, match="polish: found -1"):
        feamoe.shards.train([], polish=-1)
    with pytest.raises(feamoe.FeamoeError, match='how: found "mix"'):
        feamoe.shards.train([[people(1, 100)]], how="mix", **SETTINGS)


def test_the_partitions_of_datafusion_are_shards():
    datafusion = pytest.importorskip("datafusion")
    frame = people(12, 6_000)
    context = datafusion.SessionContext()
    parts = [pa.Table.from_pandas(rows, preserve_index=False).to_batches(1_000) for (rows,) in cut(frame, 2_500)]
    context.register_record_batches("people", parts)
    shards = context.sql("SELECT * FROM people").collect_partitioned()
    assert len(shards) == 2
    learner = feamoe.shards.train(shards, **SETTINGS)
    assert learner.checkpoint() == feamoe.shards.train(cut(frame, 2_500), **SETTINGS).checkpoint()
    model = learner.export()
    assert digits(feamoe.shards.evaluate(shards, model)) == digits(model.evaluate(frame))
