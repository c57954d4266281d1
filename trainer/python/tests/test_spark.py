"""Spark gives the very bits of the package, of frames and of streams. Runs with FEAMOE_SPARK=1,
where pyspark is installed: it weighs half a gigabyte."""

import os
import sys

import numpy as np
import pytest

import feamoe

if os.environ.get("FEAMOE_SPARK") != "1":
    pytest.skip("FEAMOE_SPARK is not 1", allow_module_level=True)

import pandas  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

import feamoe.spark  # noqa: E402


@pytest.fixture(scope="module")
def spark():
    # Workers are of this environment.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    options = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
        "spark.sql.shuffle.partitions": "4",
    }
    builder = SparkSession.builder.master("local[2]")
    for key, value in options.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="module")
def rows() -> pandas.DataFrame:
    random = np.random.default_rng(6)
    rows = pandas.DataFrame({"number": range(6_000), "a b": random.normal(size=6_000)})
    rows["größe"] = random.integers(0, 50, 6_000)
    rows["level"] = random.choice(["x", "ü", "NULL"], 6_000)
    rows.loc[::7, "a b"] = np.nan
    rows.loc[::11, "level"] = None
    return rows


@pytest.fixture(scope="module")
def model(rows) -> feamoe.Model:
    label = (rows["größe"] + rows["a b"].fillna(0) * 10 > 25).astype(int)
    return feamoe.Learner.fit(rows.drop(columns="number"), label).export()


def frame_of(spark, rows):
    text = rows.assign(level=rows["level"].astype(object).where(rows["level"].notna(), None))
    return spark.createDataFrame(text).repartition(5)


def test_scores_are_the_packages(spark, rows, model):
    found = feamoe.spark.score(frame_of(spark, rows), model).toPandas().sort_values("number")
    assert list(found.columns) == [*rows.columns, "probability", "score", "decision"]
    assert (found["probability"].to_numpy(np.float32) == model.predict_proba(rows)).all()
    assert (found["score"].to_numpy(np.float32) == model.score(rows)).all()
    assert (found["decision"].to_numpy(bool) == model.decide(rows)).all()


@pytest.mark.parametrize("method", ["path", "frozen"])
def test_explanations_are_the_packages(spark, rows, model, method):
    found = feamoe.spark.explain(frame_of(spark, rows), model, method=method).toPandas().sort_values("number")
    own = model.explain(rows, method=method)
    assert (np.array(found["values"].tolist()) == own.values).all()
    assert (found["base_value"].to_numpy() == own.base_values).all()


def test_every_row_of_a_stream_is_scored_once(spark, rows, model, tmp_path):
    frame = frame_of(spark, rows)
    for part in range(4):
        frame.filter(f"number % 4 = {part}").coalesce(1).write.mode("append").parquet(str(tmp_path / "in"))
    stream = spark.readStream.schema(frame.schema).option("maxFilesPerTrigger", 1).parquet(str(tmp_path / "in"))
    query = (
        feamoe.spark.score(stream, model)
        .writeStream.format("parquet")
        .option("path", str(tmp_path / "out"))
        .option("checkpointLocation", str(tmp_path / "state"))
        .trigger(availableNow=True)
        .start()
    )
    assert query.awaitTermination(120)
    found = spark.read.parquet(str(tmp_path / "out")).toPandas().sort_values("number")
    assert found["number"].tolist() == rows["number"].tolist()
    assert (found["score"].to_numpy(np.float32) == model.score(rows)).all()


def test_what_does_not_fit_is_refused_before_anything_runs(spark, rows, model):
    frame = frame_of(spark, rows)
    with pytest.raises(feamoe.FeamoeError, match="größe"):
        feamoe.spark.score(frame.drop("größe"), model)
    with pytest.raises(feamoe.FeamoeError, match="decision"):
        feamoe.spark.score(frame.withColumnRenamed("number", "decision"), model)
