"""Measures the package beside its peers, in one run on one machine.

    FEAMOE_DATA=... python benches/run.py [--quick] [--json] [--command PATH]

Scores and learns on Adult (adult.data, adult.test in the folder FEAMOE_DATA), each beside the peer that
people use for the same: scikit-learn's logistic regression on one-hot columns, river's, SHAP's exact
explainer, and the ``feamoe`` command. Times are the best of several runs on one thread, but for the fit of
many rows, where each has the machine. ``--quick`` takes smaller tables: it shows that all works, and its
figures are no measure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Before the library makes its threads.
os.environ.setdefault("RAYON_NUM_THREADS", "1")
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from adult import read, seconds  # noqa: E402

import feamoe  # noqa: E402

warnings.simplefilter("ignore")
#: Copies of adult.data in the fit of many rows: two million rows.
COPIES = 62
PEERS = ("numpy", "pandas", "pyarrow", "scikit-learn", "river", "shap")


def adult(name: str) -> pd.DataFrame:
    frame = read(Path(os.environ["FEAMOE_DATA"]), name)
    return frame.assign(income=frame["income"] == ">50K").drop(columns="fnlwgt")


def score(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, Any]:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rows = test.drop(columns="income")
    texts = list(rows.select_dtypes(exclude="number"))
    numbers = [name for name in rows if name not in texts]
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), texts), (StandardScaler(), numbers))
    peer = make_pipeline(columns, LogisticRegression(max_iter=200)).fit(train.drop(columns="income"), train["income"])
    model = feamoe.Learner.fit(train, target="income").export()
    ours = seconds(lambda: model.score(rows))
    theirs = seconds(lambda: peer.predict_proba(rows))
    row = rows.iloc[0].to_dict()
    one = seconds(lambda: [model.score_one(row) for _ in range(1000)]) / 1000
    return {
        "what": "score a frame of pandas, one thread",
        "unit": "rows/s",
        "ours": len(rows) / ours,
        "peer": "scikit-learn, one-hot and LogisticRegression",
        "theirs": len(rows) / theirs,
        "times": theirs / ours,
        "asked": "1,500,000 rows/s; 3 times the peer",
        "also": {
            "score_one, microseconds": one * 1e6,
            "accuracy": float((model.decide(rows) == test["income"]).mean()),
            "accuracy of the peer": float(peer.score(rows, test["income"])),
        },
    }


def many_rows(train: pd.DataFrame, copies: int) -> Any:
    import pyarrow as pa

    random = np.random.default_rng(1)
    parts = [train.iloc[random.permutation(len(train))] for _ in range(copies)]
    table = pa.Table.from_pandas(pd.concat(parts), preserve_index=False)
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            table = table.set_column(place, field.name, table.column(place).dictionary_encode())
    return table.combine_chunks()


def fit_beside_the_command(table: Any, command: str | None) -> dict[str, Any]:
    import pyarrow.parquet as pq

    ours = seconds(lambda: feamoe.Learner.fit(table, target="income").export(), least=2)
    theirs = None
    if command is not None:
        with tempfile.TemporaryDirectory() as folder:
            pq.write_table(table, f"{folder}/rows.parquet", row_group_size=131_072)
            Path(folder, "schema.toml").write_text('[target]\ncolumn = "income"\npositive = ["true"]\n')
            arguments = [command, "train", "rows.parquet", "--schema", "schema.toml", "-o", "m.feamoe"]
            theirs = seconds(lambda: subprocess.run(arguments, cwd=folder, check=True, capture_output=True), least=2)
    return {
        "what": f"fit {table.num_rows:,} rows from Arrow, model written",
        "unit": "s",
        "ours": ours,
        "peer": "the command, on Parquet",
        "theirs": theirs,
        "times": None if theirs is None else theirs / ours,
        "asked": "at most 1.2 times the command's time",
    }


def fit_beside_river(table: Any, most: int) -> dict[str, Any]:
    from river import compose, linear_model, preprocessing

    rows = table.slice(0, most).to_pandas()
    ours = seconds(lambda: feamoe.Learner.fit(table, target="income"), least=2) / table.num_rows
    labels = rows.pop("income").tolist()
    texts = [name for name in rows if rows[name].dtype.kind not in "iuf"]
    numbers = [name for name in rows if name not in texts]
    records = rows.astype(dict.fromkeys(texts, object)).to_dict("records")

    def learn() -> None:
        encoded = compose.Select(*texts) | preprocessing.OneHotEncoder()
        model = (
            encoded + (compose.Select(*numbers) | preprocessing.StandardScaler())
        ) | linear_model.LogisticRegression()
        for x, y in zip(records, labels):
            model.learn_one(x, y)

    def learn_one() -> None:
        learner = feamoe.Learner()
        for x, y in zip(records, labels):
            learner.learn_one(x, y)

    theirs = seconds(learn, least=1, enough=0) / len(records)
    return {
        "what": "learn from a row of a table",
        "unit": "microseconds",
        "ours": ours * 1e6,
        "peer": f"river, one-hot, scaling and LogisticRegression, {len(records):,} of the rows",
        "theirs": theirs * 1e6,
        "times": theirs / ours,
        "asked": "50 times the peer",
        "also": {"learn_one, microseconds": seconds(learn_one, least=1, enough=0) / len(records) * 1e6},
    }


def explain(train: pd.DataFrame, test: pd.DataFrame, most: int, peers: int) -> dict[str, Any]:
    import shap

    model = feamoe.Learner.fit(train, target="income").export()
    rows = test.drop(columns="income")
    background = train.drop(columns="income")[:100]
    ours = seconds(lambda: model.explain(rows[:most], method="exact", background=background), least=2) / most
    codes = {name: {level: code for code, level in enumerate(sorted(train[name].dropna().unique()))} for name in rows}
    texts = set(rows.select_dtypes(exclude="number"))

    def encoded(frame: pd.DataFrame) -> Any:
        return np.column_stack(
            [frame[name].map(codes[name]) if name in texts else frame[name] for name in frame]
        ).astype(float)

    def decoded(matrix: Any) -> dict[str, Any]:
        names = {name: np.array([*codes[name], None], dtype=object) for name in texts}
        of = lambda name, column: names[name][np.where(np.isnan(column), -1, column).astype(int)]  # noqa: E731
        return {name: of(name, matrix[:, at]) if name in texts else matrix[:, at] for at, name in enumerate(rows)}

    peer = shap.explainers.Exact(lambda matrix: model.predict_proba(decoded(matrix)), encoded(background))
    start = time.perf_counter()
    known = peer(encoded(rows[:peers]), silent=True)
    theirs = (time.perf_counter() - start) / peers
    found = model.explain(rows[:peers], method="exact", background=background)
    return {
        "what": "exact values against 100 background records, a row",
        "unit": "ms",
        "ours": ours * 1e3,
        "peer": "shap.explainers.Exact on our predict_proba",
        "theirs": theirs * 1e3,
        "times": theirs / ours,
        "asked": "0.15 ms; 500 times the peer",
        "also": {"largest difference of a value": float(np.abs(known.values - found.values).max())},
    }


def find_command() -> str | None:
    root = Path(__file__).resolve().parents[3]
    built = root / "target" / "release" / "feamoe"
    return os.environ.get("FEAMOE_COMMAND") or (str(built) if built.exists() else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small tables")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--command", default=find_command(), help="the feamoe command (FEAMOE_COMMAND)")
    chosen = parser.parse_args()
    if "FEAMOE_DATA" not in os.environ:
        parser.error("FEAMOE_DATA is not set; set it to the folder of adult.data and adult.test")
    train, test = adult("adult.data"), adult("adult.test")
    table = many_rows(train, 2 if chosen.quick else COPIES)
    figures = [
        score(train, test),
        fit_beside_the_command(table, chosen.command),
        fit_beside_river(table, 2_000 if chosen.quick else 50_000),
        explain(train, test, 100 if chosen.quick else 4_000, 1 if chosen.quick else 4),
    ]
    versions = {"feamoe": feamoe.__version__, "python": platform.python_version()} | {
        name: version(name) for name in PEERS
    }
    if chosen.json:
        json.dump({"quick": chosen.quick, "versions": versions, "figures": figures}, sys.stdout, indent=2)
        print()
        return
    print(", ".join(f"{name} {number}" for name, number in versions.items()))
    if chosen.quick:
        print("small tables: these figures are no measure")
    print("\n| what | unit | feamoe | peer | times faster | asked |\n| --- | --- | ---: | ---: | ---: | --- |")
    for figure in figures:
        theirs = "not there" if figure["theirs"] is None else f"{figure['theirs']:,.4g}"
        times = "" if figure["times"] is None else f"{figure['times']:,.3g}"
        cells = [figure["what"], figure["unit"], f"{figure['ours']:,.4g}", f"{theirs} ({figure['peer']})", times]
        print(f"| {' | '.join([*cells, figure['asked']])} |")
        for name, value in figure.get("also", {}).items():
            print(f"| ... {name} | | {value:,.4g} | | | |")


if __name__ == "__main__":
    main()
