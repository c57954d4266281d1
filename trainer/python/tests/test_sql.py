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
    # In a condition, over a part of the rows, and of none.
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
