"""Rows of any holder are the same rows."""

import datetime

import numpy as np
import pandas as pd
import pytest

import feamoe
from feamoe._schema import label, toml
from feamoe._tables import table

ROWS = 500


@pytest.fixture(scope="module")
def columns():
    random = np.random.default_rng(2)
    return {
        "number": random.normal(size=ROWS).astype(np.float32).astype(np.float64),
        "whole": random.integers(-5, 2000, ROWS),
        "text": random.choice(["red", "green", 'b, "x"'], ROWS).astype(object),
        "truth": random.random(ROWS) < 0.5,
        "gaps": np.where(random.random(ROWS) < 0.3, np.nan, random.integers(0, 9, ROWS)),
        "holes": np.where(random.random(ROWS) < 0.3, None, "full"),
    }


@pytest.fixture(scope="module")
def model(columns):
    outcome = (columns["number"] > 0) ^ (columns["text"] == "red") ^ (columns["holes"] == "full")
    return feamoe.Learner.fit(columns, outcome, warmup=ROWS).export()


def holders(columns):
    """The same rows in all that holds rows."""
    listed = {name: values.tolist() for name, values in columns.items()}
    none = {name: [None if value != value else value for value in values] for name, values in listed.items()}
    records = [dict(zip(none, row)) for row in zip(*none.values())]
    matrix = np.empty((ROWS, len(columns)), object)
    for place, values in enumerate(columns.values()):
        matrix[:, place] = values
    masked = np.ma.masked_array(np.nan_to_num(columns["gaps"], nan=77), mask=np.isnan(columns["gaps"]))
    yield "lists", listed
    yield "lists with None", none
    yield "tuples", {name: tuple(values) for name, values in listed.items()}
    yield "iterators", {name: iter(values) for name, values in listed.items()}
    yield "records", records
    yield "records, generated", (record for record in records)
    yield "object array", table(matrix, list(columns))
    yield "object array by columns", table(np.asfortranarray(matrix), list(columns))
    yield "every second row of more", table(np.repeat(matrix, 2, axis=0)[::2], list(columns))
    yield "masked", columns | {"gaps": masked}
    yield "masked whole numbers", columns | {"gaps": masked.astype(np.int64)}
    yield (
        "swapped bytes",
        columns | {"number": columns["number"].astype(">f8"), "whole": columns["whole"].astype(">i4")},
    )
    yield (
        "narrow",
        columns | {"number": columns["number"].astype(np.float32), "whole": columns["whole"].astype(np.int16)},
    )
    yield "wide", columns | {"number": columns["number"].astype(np.longdouble)}
    yield "text of numpy", columns | {"text": columns["text"].astype(str)}
    yield "strided", {name: np.repeat(values, 3)[::3] for name, values in columns.items()}
    yield "structured", np.rec.fromarrays(list(columns.values()), names=list(columns))
    try:
        import pandas
    except ImportError:
        return
    frame = pandas.DataFrame(columns)
    yield "pandas", frame
    yield "pandas, other index", frame.set_index(np.arange(ROWS) * 7)
    yield "pandas, named index", frame.set_index(pandas.Index(range(ROWS), name="id"))
    yield (
        "pandas, categories",
        frame.astype({"text": "category", "holes": "category", "whole": "category", "truth": "category"}),
    )
    yield "pandas, nullable", frame.convert_dtypes()
    yield "pandas, objects", frame.astype(object)
    yield "pandas, mixed column beside", frame.assign(junk=[1, "a"] * (ROWS // 2))
    yield "pandas, numbers as names beside", frame.assign(**{"z": 1}).rename(columns={"z": 7})
    yield "series", {name: frame[name] for name in frame}
    polars = pytest.importorskip("polars")
    held = polars.DataFrame(none)
    yield "polars", held
    yield "polars, lazy", held.lazy()
    yield "polars, categories", held.with_columns(polars.col("text").cast(polars.Categorical))
    yield "polars, chunks", polars.concat([held[:100], held[100:101], held[101:]], rechunk=False)
    yield "polars series", {name: held[name] for name in held.columns}
    arrow = pytest.importorskip("pyarrow")
    arrows = arrow.Table.from_pylist(records)
    yield "pyarrow", arrows
    yield "pyarrow, dictionaries", arrows.set_column(2, "text", arrows["text"].dictionary_encode())
    yield "pyarrow, batch", arrows.combine_chunks().to_batches()[0]
    yield "pyarrow, reader", arrow.RecordBatchReader.from_batches(arrows.schema, arrows.to_batches(max_chunksize=7))
    yield "pyarrow, chunks", arrow.concat_tables([arrows[:3], arrows[3:3], arrows[3:]])
    yield "pyarrow columns", {name: arrows[name] for name in arrows.column_names}
    duckdb = pytest.importorskip("duckdb")
    yield "duckdb", duckdb.connect().from_arrow(arrows)


def test_all_holders_hold_the_same_rows(columns, model):
    expected = model.score(columns)
    assert len(set(expected.tolist())) > ROWS / 2
    notes = model.notes(columns)
    seen = 0
    for name, holder in holders(columns):
        held = table(holder)
        assert np.array_equal(model.score(held), expected), name
        assert np.array_equal(model.notes(held), notes), name
        seen += 1
    assert seen >= 17
    row = {name: values[0] for name, values in columns.items()}
    assert model.score_one(row) == expected[0]


def test_names_may_repeat_as_in_files(columns, model):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns)
    doubled = pandas.concat([frame, frame.assign(number=0.0, text="red")], axis=1)
    assert np.array_equal(model.score(doubled), model.score(frame))


def test_values_of_a_list_of_rows_stay_what_they_are():
    assert table([[1, "a"], [2, "b"]]).is_number() == [True, False]
    assert table([[1, 2.5], [2, None]]).is_number() == [True, True]


def test_what_is_no_table_is_said():
    for rows, found in [
        (5, "a value of type int"),
        ("rows.csv", "a value of type str"),
        ({1, 2}, "a value of type set"),
        (np.zeros(3), "an array of 1 dimensions"),
        (np.zeros((2, 2, 2)), "an array of 3 dimensions"),
        ([1, 2], "an array of 1 dimensions"),
    ]:
        with pytest.raises(feamoe.FeamoeError) as raised:
            table(rows)
        assert raised.value.found == found
        assert "expected" in str(raised.value)
    for values, found in [
        (5, "a value of type int"),
        ("abc", "a value of type str"),
        ({1: 2}, "a value of type dict"),
        (np.zeros((2, 2)), "an array of 2 dimensions"),
    ]:
        with pytest.raises(feamoe.FeamoeError) as raised:
            table({"a": [1, 2], "b": values})
        assert (raised.value.column, raised.value.found) == ("b", found)
    with pytest.raises(feamoe.FeamoeError):
        table({"a": [1, 2], "b": [1]})


def test_labels_are_spelled_as_cells():
    for value, spelled in [
        (True, "true"),
        (np.bool_(False), "false"),
        (1, "1"),
        (1.0, "1"),
        (np.float32(2), "2"),
        (0.5, "0.5"),
        ("a b", "a b"),
        (10**30, str(10**30)),
        (datetime.date(2020, 1, 2), "2020-01-02"),
    ]:
        assert label(value) == spelled
    for value in (None, float("nan"), b"x", [1], object(), 1j):
        with pytest.raises(feamoe.FeamoeError):
            label(value)


def test_schemas_are_the_same_as_text_file_and_dictionary(tmp_path):
    document = {
        "target": {"column": 'a "b"\n\x7f\u00e9', "positive": ["1", "\\"], "negative": None},
        "protected": [{"column": "s", "privileged": ["m"], "bands": np.array([18.0, 40.0])}],
        "features": {"drop": ("x",), "ranges": {"n": [0, 1.5]}, "max_levels": np.int64(9)},
    }
    text = toml(document)
    try:
        import tomllib
    except ImportError:
        pytest.skip("tomllib reads TOML from Python 3.11 on")
    read = tomllib.loads(text)
    assert read["target"] == {"column": 'a "b"\n\x7f\u00e9', "positive": ["1", "\\"]}
    assert read["protected"] == [{"column": "s", "privileged": ["m"], "bands": [18.0, 40.0]}]
    assert read["features"] == {"drop": ["x"], "ranges": {"n": [0, 1.5]}, "max_levels": 9}
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    assert toml(tmp_path / "s.toml") == text == toml(text)
    for wrong in (5, None, b"", tmp_path, {"a": object()}, {"a": {1, 2}}):
        with pytest.raises(feamoe.FeamoeError):
            toml(wrong)


def test_columns_made_of_dates_are_those_of_training():
    random = np.random.default_rng(3)
    days = pd.date_range("2015-01-01", "2024-12-31").to_numpy()[random.integers(0, 3600, 6000)]
    frame = pd.DataFrame({"day": pd.Series(days).dt.strftime("%Y-%m-%d"), "x": random.normal(size=6000)})
    frame["paid"] = (pd.to_datetime(frame["day"]).dt.month > 6) ^ (random.random(6000) < 0.1)
    schema = {
        "table": {"dates": {"day": {"format": "%Y-%m-%d", "parts": ["year", "month"]}}},
        "target": {"column": "paid", "positive": ["true"]},
    }
    learner = feamoe.Learner.fit(frame, schema=schema)
    model = learner.export()
    assert {"day.year", "day.month"} <= set(model.features)
    assert (model.decide(frame) == frame["paid"]).mean() > 0.85
    assert model.evaluate(frame, recourse_burden=False)["accuracy"] > 0.85
    assert len(model.explain(frame[:20])) == 20
    learner.learn_many(frame[["paid", "x", "day"]][:100])
    assert learner.rows == 6100
    with pytest.raises(feamoe.FeamoeError, match="dates"):
        learner.learn_one({"day": "2020-01-01", "x": 1.0}, True)
