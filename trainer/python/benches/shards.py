"""Learning and scoring where the rows lie, against one process in the same run: Adult in 4 shards
with ``spd=0.05``, and 2,000,000 rows scored by Spark and by Dask.
``PYSPARK_PYTHON=$(command -v python) python trainer/python/benches/shards.py FOLDER``, adult.data
and adult.test being in FOLDER. ``learn`` or ``score`` after it: only that. Each is done several times, in turns; the
medians are printed, of the times those against one process in the same turn."""

import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import pyarrow as pa
import pyarrow.parquet as pq
from adult import read
from pyspark.sql import SparkSession

import feamoe
import feamoe.dask
import feamoe.spark

ROWS = 2_000_000
TURNS = 5
SHARDS = 4
SETTINGS = {"target": "income", "positive": ">50K", "protected": {"sex": "Male"}, "fair": {"spd": 0.05}}


def session() -> SparkSession:
    """Starts Spark on two cores."""
    options = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
    }
    builder = SparkSession.builder.master("local[2]")
    for key, value in options.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def learned(spark: SparkSession, folder: Path) -> None:
    """Prints how the learners do on adult.test."""
    train, test = read(folder, "adult.data"), read(folder, "adult.test")
    frame = spark.createDataFrame(train.astype(object).where(train.notna(), None))
    print(f"| adult.data, spd=0.05 | seconds | accuracy | log-loss | SPD |\n{'| --- ' + '| ---: ' * 4}|")
    found: dict[str, list[tuple[float, ...]]] = {}
    for seed in range(1, TURNS + 1):
        ways: dict[str, Callable[[], feamoe.Learner]] = {
            "one process": lambda: feamoe.Learner.fit(train, **SETTINGS, seed=seed),
            f"Spark, {SHARDS} shards by hash": lambda: feamoe.spark.train(frame, shards=SHARDS, **SETTINGS, seed=seed),
            f"Spark, {SHARDS} shards by education": lambda: feamoe.spark.train(
                frame, shards=SHARDS, key="education", **SETTINGS, seed=seed
            ),
            "Spark, 2 shards by sex": lambda: feamoe.spark.train(
                frame.filter("sex = 'Male'").coalesce(1).union(frame.filter("sex = 'Female'").coalesce(1)),
                **SETTINGS,
                seed=seed,
            ),
        }
        for name, way in ways.items():
            start = time.perf_counter()
            learner = way()
            seconds = time.perf_counter() - start
            judged = learner.export().evaluate(test, recourse_burden=False)
            gaps = judged.differences().loc[("sex", "Female", "Male"), "demographic_parity_difference"]
            found.setdefault(name, []).append((seconds, judged["accuracy"], judged["log_loss"], gaps))
    for name, runs in found.items():
        seconds, accuracy, loss, gap = (statistics.median(column) for column in zip(*runs))
        widest = max((gap for *_, gap in runs), key=abs)
        print(f"| {name} | {seconds:.1f} | {accuracy:.4f} | {loss:.4f} | {gap:.3f} (at most {widest:.3f}) |")


def scored(spark: SparkSession, folder: Path) -> None:
    """Prints how long scoring takes, start-up apart."""
    model = feamoe.Learner.fit(read(folder, "adult.data"), **SETTINGS).export()
    table = pa.Table.from_pandas(read(folder, "adult.test"), preserve_index=False)
    table = pa.concat_tables([table] * (ROWS // len(table) + 1)).slice(0, ROWS)
    with tempfile.TemporaryDirectory() as place:
        for part in range(SHARDS):
            rows = table.slice(part * ROWS // SHARDS, ROWS // SHARDS)
            pq.write_table(rows, f"{place}/{part}.parquet", row_group_size=131_072, compression="zstd")
        # The files are looked at once.
        on_spark, on_dask = spark.read.parquet(place).select(model.features), dd.read_parquet(place, columns=model.features)
        ways: dict[str, Callable[[], Any]] = {
            "one process": lambda: model.predict_proba(pq.read_table(place, columns=model.features)).mean(),
            "Spark, mapInArrow": lambda: feamoe.spark.score(on_spark, model, keep=()).agg({"probability": "avg"}).first()[0],
            "Dask, threads": lambda: feamoe.dask.score(on_dask, model, keep=())["probability"].mean().compute(),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        means = [f"{way():.5f}" for way in ways.values()]
        assert len(set(means)) == 1, means
        for _ in range(2 * TURNS - 1):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                times[name].append(time.perf_counter() - start)
    print(f"\n| {ROWS:,} rows from Parquet | seconds | rows/s | times one process |\n| --- | ---: | ---: | ---: |")
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        ratio = statistics.median(own / one for own, one in zip(seconds, times["one process"]))
        print(f"| {name} | {middle:.2f} | {ROWS / middle:,.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    data = Path(sys.argv[1])
    with_spark = session()
    for name, figures in {"learn": learned, "score": scored}.items():
        if name in sys.argv[2:] or not sys.argv[2:]:
            figures(with_spark, data)
    with_spark.stop()
