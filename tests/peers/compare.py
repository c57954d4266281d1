"""Measures SHAP's explainers on the rows, background and model of the recorded values, beside ours, and prints one table.

Python's times are CPU times after a first call, which compiles; ours are what `cargo bench -p feamoe --bench explain` prints. Errors are relative L2
distances from ExactExplainer's values in the same space, the mean over the rows.
"""

import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core for all

import numpy as np
import shap

from model import MODELS, REPOSITORY, SCHEMA, Model, data_file, feamoe, softmax
from record_values import chosen_rows

BENCH = REPOSITORY / "trainer/benches/explain.rs"
# As the bench prints them: `exact/adult: 123.4 us a row`.
BENCH_LINE = re.compile(r"^(.+): +([0-9.]+) us a row", re.MULTILINE)


class Counted:
    """A function of rows that counts them."""

    def __init__(self, function):
        self.function, self.rows = function, 0

    def __call__(self, matrix):
        self.rows += len(matrix)
        return self.function(matrix)


def measured(function, rows, explain):
    """Values, milliseconds a row and evaluations a row of `explain(function, rows)`."""
    explain(function, rows[:1])
    counted = Counted(function)
    start = time.process_time()
    values = explain(counted, rows)
    milliseconds = 1e3 * (time.process_time() - start) / len(rows)
    return values, milliseconds, counted.rows / len(rows)


def error(values, truth):
    return np.mean(np.linalg.norm(values - truth, axis=1) / np.linalg.norm(truth, axis=1))


def theorem_1(model, background):
    """LinearExplainer for each expert's log-odds over the encoded columns, summed by raw feature and averaged by the row's gate."""
    first_rows = [feature.first_row for feature in model.features]
    masker = shap.maskers.Independent(model.design(background), max_samples=len(background))
    lanes = range(model.experts, 2 * model.experts)
    explainers = [shap.LinearExplainer((model.rows[:, lane], model.bias[lane]), masker) for lane in lanes]

    def explain(_, rows):
        gate = softmax(model.logits(rows)[:, : model.experts])
        design = model.design(rows)
        by_column = sum(weight[:, None] * each.shap_values(design) for each, weight in zip(explainers, gate.T))
        return np.add.reduceat(by_column, first_rows, axis=1)

    return explain


def peers(model, rows, background):
    """Lines of the table."""
    masker = shap.maskers.Independent(background, max_samples=len(background))

    def exact(function, rows):
        return shap.explainers.Exact(function, masker)(rows, silent=True).values

    def permutation(function, rows):
        return shap.explainers.Permutation(function, masker, seed=1)(rows, silent=True).values

    def kernel(**options):
        def explain(function, rows):
            np.random.seed(1)
            return shap.KernelExplainer(function, background).shap_values(rows, silent=True, **options)

        return explain

    truth, *cost = measured(model.probability, rows, exact)
    yield "SHAP ExactExplainer", *cost, "0", "p"
    for name, explain in [
        ("SHAP PermutationExplainer, default", permutation),
        ("SHAP KernelExplainer, default (keeps 10 features)", kernel()),
        ("SHAP KernelExplainer, l1_reg=False", kernel(l1_reg=False)),
    ]:
        values, *cost = measured(model.probability, rows, explain)
        yield name, *cost, f"{error(values, truth):.1e}", "p"
    truth, *cost = measured(model.log_odds, rows, exact)
    yield "SHAP ExactExplainer", *cost, "0", "log-odds of p"
    values, *cost = measured(model.log_odds, rows, theorem_1(model, background))
    yield f"SHAP LinearExplainer x {model.experts}, Theorem 1", *cost, f"{error(values, truth):.1e}", "log-odds, gate held"


def ours(path):
    """Lines of the table: the bench's, or the whole command's where there is no bench."""
    if BENCH.exists():
        command = ["cargo", "bench", "--quiet", "-p", "feamoe", "--bench", "explain"]
        printed = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout
        found = BENCH_LINE.findall(printed)
        if not found:
            sys.exit(f"{' '.join(command)} printed no line like `name: 123.4 us a row`:\n{printed}")
        for name, microseconds in found:
            yield f"feamoe, bench {name}", float(microseconds) / 1e3
        return
    arguments = ["explain", path, data_file("adult.test"), "--schema", SCHEMA, "--format", "json"]
    before = os.times()
    explained = json.loads(feamoe(*arguments))
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    yield f"feamoe explain, {explained['method']}, the whole command", 1e3 * seconds / len(explained["row"])


def processor():
    information = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", information.read_text()) if information.exists() else None
    return found[1] if found else platform.processor()


def main():
    (_, test), (_, train) = chosen_rows()
    model = Model(MODELS[1])
    rows, background = model.coded(test), model.coded(train)
    packages = ", ".join(f"{name} {version(name)}" for name in ["shap", "numpy", "numba"])
    print(f"{MODELS[1].name}: {model.experts} experts, {len(model.features)} features; {len(rows)} rows, {len(background)} background rows")
    print(f"Python {platform.python_version()}, {packages}; {processor()}, one core\n")
    print("| method | ms a row | evaluations a row | relative error | of |")
    print("| --- | ---: | ---: | ---: | --- |")
    for name, milliseconds, evaluations, relative, space in peers(model, rows, background):
        print(f"| {name} | {milliseconds:.3g} | {evaluations:,.0f} | {relative} | {space} |", flush=True)
    for name, milliseconds in ours(MODELS[1]):
        print(f"| {name} | {milliseconds:.3g} | | | |", flush=True)


if __name__ == "__main__":
    main()
