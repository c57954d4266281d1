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
from test_shards import SETTINGS, digits, people  # noqa: E402

import feamoe.shards  # noqa: E402
import feamoe.spark  # noqa: E402


@pytest.fixture(scope="module")
def spark():
    # Workers use this environment.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    options = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
        "spark.sql.shuffle.partitions": "4",
        # Spark's own Snappy is not found if musl is installed beside glibc.
        "spark.sql.parquet.compression.codec": "zstd",
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
    few = feamoe.spark.score(frame_of(spark, rows), model, keep=["number"]).toPandas().sort_values("number")
    assert few.equals(found[list(few.columns)]) and list(few.columns)[:2] == ["number", "probability"]


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
    renamed = frame.withColumnRenamed("number", "decision")
    with pytest.raises(feamoe.FeamoeError, match="decision"):
        feamoe.spark.score(renamed, model)
    assert feamoe.spark.score(renamed, model, keep=()).columns == ["probability", "score", "decision"]


def parted(spark, shards):
    """Returns a frame with a partition for each frame of pandas, with the rows in their order."""
    frame = spark.createDataFrame(pandas.concat([rows.assign(shard=at) for at, rows in enumerate(shards)]))
    ids = frame.rdd.map(lambda row: (row["shard"], row)).partitionBy(len(shards), int).values()
    return spark.createDataFrame(ids, frame.schema).drop("shard")


def test_what_is_learned_and_judged_of_partitions_is_that_of_shards(spark, model):
    frame = people(1, 6_000)
    shards = [frame[:2_000], frame[:0], frame[2_000:2_001], frame[2_001:]]
    found = feamoe.spark.train(parted(spark, shards), **SETTINGS)
    assert found.checkpoint() == feamoe.shards.train([[rows] for rows in shards], **SETTINGS).checkpoint()
    model = found.export()
    assert digits(feamoe.spark.evaluate(parted(spark, shards), model)) == digits(model.evaluate(frame))
    assert feamoe.spark.train(spark.createDataFrame(frame[:40]).coalesce(1), **SETTINGS).rows == 80


def test_rows_spread_by_hash_give_the_same_bytes_wherever_they_came_from(spark):
    frame = people(2, 6_000)
    found = feamoe.spark.train(spark.createDataFrame(frame), shards=3, key=["a", "b"], **SETTINGS)
    shuffled = spark.createDataFrame(frame.sample(frac=1.0, random_state=1)).repartition(5)
    assert feamoe.spark.train(shuffled, shards=3, key=["a", "b"], **SETTINGS).checkpoint() == found.checkpoint()
    assert feamoe.spark.train(shuffled, shards=3, **SETTINGS).checkpoint() != found.checkpoint()
    assert found.rows == 12_000


def test_what_is_wrong_with_a_partition_is_said_with_its_number(spark, model):
    frame = people(3, 6_000)
    men = [frame, frame[:0], frame[frame["s"] == "m"]]
    with pytest.raises(feamoe.FeamoeError, match='shard 3 has 0 rows of group "[fx]"'):
        feamoe.spark.train(parted(spark, men), polish=0, **SETTINGS)
    odd = frame.assign(y=frame["y"].astype(str))
    own = feamoe.Learner.fit(odd, **SETTINGS).export()
    odd.loc[5_000, "y"] = "perhaps"
    with pytest.raises(feamoe.FeamoeError, match="shard 2, row 3001, column 'y': found .*perhaps") as raised:
        feamoe.spark.evaluate(parted(spark, [odd[:2_000], odd[2_000:]]), own)
    assert (raised.value.column, raised.value.row) == ("y", 3_001)
    with pytest.raises(feamoe.FeamoeError, match="shards=N with it"):
        feamoe.spark.train(spark.createDataFrame(frame), key="s", **SETTINGS)
    with pytest.raises(feamoe.FeamoeError, match="no rows in any shard"):
        feamoe.spark.evaluate(spark.createDataFrame(frame).filter("b < 0"), own)
