"""SQL engines in this process give the very bits of the package, whatever names and values are."""

import numpy as np
import pytest

import feamoe

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
import feamoe.sql  # noqa: E402

NAMES = ["a b", 'quo"ted', "it's", "Ümläut", "select", "{x}"]


@pytest.fixture(scope="module")
def rows() -> pandas.DataFrame:
    random = np.random.default_rng(5)
    rows = pandas.DataFrame({name: random.normal(size=5_000) for name in NAMES})
    rows["whole"] = random.integers(0, 50, 5_000)
    rows["level"] = random.choice(["x'y", "ü", 'q"', "NULL"], 5_000)
    rows.loc[::7, "a b"] = np.nan
    rows.loc[::11, "level"] = None
    return rows


@pytest.fixture(scope="module")
def model(rows) -> feamoe.Model:
    label = (rows["whole"] + rows["it's"].fillna(0) * 10 > 25).astype(int)
    return feamoe.Learner.fit(rows, label).export()


def duckdb(rows):
    engine = pytest.importorskip("duckdb").connect()
    engine.register("rows", rows.assign(number=range(len(rows))))
    return feamoe.sql.duckdb, engine, lambda query: engine.sql(query).df()


def datafusion(rows):
    engine = pytest.importorskip("datafusion").SessionContext()
    engine.from_pandas(rows.assign(number=range(len(rows))), name="rows")
    return feamoe.sql.datafusion, engine, lambda query: engine.sql(query).to_pandas()


@pytest.mark.parametrize("engine", [duckdb, datafusion])
def test_the_bits_are_the_packages(engine, rows, model):
    register, connection, query = engine(rows)
    for what, own in (("probability", model.predict_proba), ("score", model.score), ("decision", model.decide)):
        call = register(connection, model, f"of {what}", what)
        found = query(f"SELECT {call} AS found FROM rows ORDER BY number")["found"].to_numpy()
        assert (found == own(rows)).all() and len(found) == len(rows), what
    # In a condition, over a part of the rows, and over no rows.
    some = query(f"SELECT number FROM rows WHERE {call} AND number % 3 = 0 ORDER BY number")["number"]
    assert some.tolist() == [row for row in range(0, len(rows), 3) if model.decide(rows[row : row + 1])[0]]
    assert len(query(f"SELECT {call} FROM rows WHERE number < 0")) == 0


@pytest.mark.parametrize("engine", [duckdb, datafusion])
def test_two_models_and_a_column_that_is_not_there(engine, rows, model):
    register, connection, query = engine(rows)
    other = feamoe.Learner.fit(rows[["whole"]], (rows["whole"] > 10).astype(int)).export()
    calls = [register(connection, of, name) for of, name in ((model, "one"), (other, "two"))]
    found = query(f"SELECT {calls[0]} AS one, {calls[1]} AS two FROM rows ORDER BY number")
    assert (found["one"].to_numpy() == model.predict_proba(rows)).all()
    assert (found["two"].to_numpy() == other.predict_proba(rows)).all()
    with pytest.raises(Exception, match="(?s)whole"):
        query(f"SELECT {calls[1]} FROM (SELECT level FROM rows)")
    with pytest.raises(feamoe.FeamoeError, match="probability, score or decision"):
        register(connection, model, "three", "odds")


@pytest.fixture(scope="module")
def coded() -> pandas.DataFrame:
    """Categories that are no text."""
    random = np.random.default_rng(6)
    return pandas.DataFrame({
        "x": random.normal(size=2_000),
        "whole": random.integers(0, 4, 2_000),
        "half": random.choice([0.5, 1, 2.25, 3, 1e20, -4], 2_000),
        "flag": random.random(2_000) < 0.5,
        "day": random.choice(pandas.to_datetime(["2024-02-29", "2025-01-01", "1969-12-31"]), 2_000),
    })


@pytest.mark.parametrize("engine", [duckdb, datafusion])
def test_a_category_of_any_type_is_the_same_level(engine, coded):
    text = coded.assign(whole=coded["whole"].astype(str), half=coded["half"].map(lambda x: f"{x:g}".replace("1e+20", "1" + 20 * "0")))
    text = text.assign(flag=text["flag"].map({True: "true", False: "false"}))
    label = ((coded["x"] > 0) ^ (coded["whole"] == 2) ^ (coded["half"] > 2) ^ coded["flag"]).astype(int)
    columns = ["x", "whole", "half", "flag"]
    model = feamoe.Learner.fit(text[columns], label, features={"categorical": ["whole", "half"]}).export()
    expected = model.predict_proba(text[columns])
    assert (model.predict_proba(coded[columns]) == expected).all() and len(set(expected)) > 1_000
    for kind in ("int8", "int64", "float32", "float64"):
        register, connection, query = engine(coded.astype({"whole": kind}))
        call = register(connection, model)
        found = query(f"SELECT {call} AS found FROM rows ORDER BY number")["found"].to_numpy()
        assert (found == expected).all(), kind
    for other in ("flag", "day"):
        with pytest.raises(Exception, match="(?s)expected .*number"):
            query(f"SELECT {call} FROM (SELECT {other} AS x, whole, half, flag FROM rows)")


def test_names_that_differ_by_case_and_a_model_in_the_place_of_another(rows, model):
    connection = pytest.importorskip("duckdb").connect()
    pair = pandas.DataFrame({"a": rows["whole"], "A": rows["it's"]})
    other = feamoe.Learner.fit(pair, (pair["a"] > pair["A"]).astype(int)).export()
    # DuckDB would read both as the same column.
    with pytest.raises(feamoe.FeamoeError, match="'A'.*differ by case only"):
        feamoe.sql.duckdb(connection, other, "one")
    feamoe.sql.duckdb(connection, model, "one")
    other = feamoe.Learner.fit(rows[["whole"]], (rows["whole"] > 10).astype(int)).export()
    call = feamoe.sql.duckdb(connection, other, "one")
    found = connection.sql(f"SELECT {call} AS found FROM rows").df()["found"]
    assert (found.to_numpy() == other.predict_proba(rows)).all()
    with pytest.raises(feamoe.FeamoeError, match="a model without names"):
        feamoe.sql.duckdb(connection, other.export(names=False).model, "two")
