"""Delay and false alarms of `feamoe monitor` beside tests of windows, on the same rows.

    pip install numpy scipy "pandas<3" evidently
    python trainer/python/benches/drift.py path/to/feamoe

Windows of 1,000 rows are compared with the reference as alibi-detect's `TabularDrift` does it:
Kolmogorov-Smirnov for numbers, chi-squared for levels, an alarm where the smallest p-value times
the number of columns is below 0.05. Where evidently is installed, its drift of columns is computed
on the same windows, by the methods and thresholds that it chooses itself. The change comes at row 20,001; a window can find it at its end.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import chi2_contingency, ks_2samp

try:
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset
except ImportError:
    Report = None

ROWS, CHANGE, WINDOW, STATIONARY = 25_000, 20_000, 1_000, 100_000
JOBS = np.array(["employed", "public", "retired", "student"])
SCHEMA = '[target]\ncolumn = "paid"\npositive = ["1"]\nnegative = ["0"]\n'


def table(seed, rows):
    r = np.random.default_rng(seed)
    income = np.exp(r.normal(10, 0.5, rows)).round()
    age = r.integers(18, 80, rows)
    job = JOBS[r.choice(4, rows, p=[0.6, 0.2, 0.15, 0.05])]
    paid = (r.random(rows) < 1 / (1 + np.exp(-2 * (np.log(income) - 10)))).astype(int)
    return {"income": income, "age": age, "job": job, "paid": paid}


def swapped(jobs):
    return np.where(jobs == "employed", "public", np.where(jobs == "public", "employed", jobs))


CASES = {
    "income tripled": ("income", lambda x: 3 * x),
    "income 10 % higher": ("income", lambda x: (1.1 * x).round()),
    "age 2 years more": ("age", lambda x: x + 2),
    "two levels swapped": ("job", swapped),
    "a new level": ("job", lambda x: np.where(x == "student", "trainee", x)),
}


def write(path, t):
    lines = zip(*(column.tolist() for column in t.values()))
    path.write_text(",".join(t) + "\n" + "".join(",".join(map(str, line)) + "\n" for line in lines))


def by_windows(reference, t):
    """1-based rows at which windows raise an alarm."""
    for end in range(WINDOW, len(t["age"]) + 1, WINDOW):
        p = []
        for name in ("income", "age", "job"):
            now = t[name][end - WINDOW : end]
            if name == "job":
                levels = sorted(set(now) | set(reference[name]))
                counts = [[np.count_nonzero(rows == level) for level in levels] for rows in (now, reference[name])]
                p.append(chi2_contingency(counts).pvalue)
            else:
                p.append(ks_2samp(now, reference[name]).pvalue)
        if min(p) * len(p) < 0.05:
            yield end


def by_evidently(reference, t):
    """1-based rows at which evidently finds a column drifted."""
    columns = ["income", "age", "job"]
    reference, now = (pd.DataFrame(rows)[columns] for rows in (reference, t))
    for end in range(WINDOW, len(now) + 1, WINDOW):
        metrics = Report([DataDriftPreset()]).run(now[end - WINDOW : end], reference).dict()["metrics"]
        drifts = [(m["value"], m["config"]["threshold"]) for m in metrics if "threshold" in m["config"]]
        if len(drifts) != len(columns):
            sys.exit(f"evidently: expected a drift for each of {columns}, found {metrics}")
        if any(value > threshold for value, threshold in drifts):
            yield end


def by_feamoe(feamoe, folder, t):
    """1-based rows at which an input raises an alarm."""
    write(folder / "t.csv", t)
    ran = subprocess.run(
        [feamoe, "monitor", "m.feamoe", "t.csv", "--reference", "reference.csv", "--format", "json"],
        cwd=folder, capture_output=True, text=True,
    )
    if ran.returncode == 2:
        sys.exit(ran.stderr)
    events = map(json.loads, ran.stdout.splitlines())
    return [e["row"] for e in events if e["event"] == "alarm" and e["quantity"] == "input"]


def main(feamoe):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = table(0, 10_000)
        write(folder / "reference.csv", reference)
        (folder / "s.toml").write_text(SCHEMA)
        train = [feamoe, "train", "reference.csv", "--schema", "s.toml", "-o", "m.feamoe"]
        subprocess.run(train, cwd=folder, check=True, capture_output=True)
        ways = {"feamoe": lambda t: by_feamoe(feamoe, folder, t), "windows": lambda t: list(by_windows(reference, t))}
        if Report is not None:
            ways["evidently"] = lambda t: list(by_evidently(reference, t))
        print(f"{'case':24}" + "".join(f"{f'{way}: before':>20}{'delay':>8}" for way in ways))
        for case, (column, change) in CASES.items():
            t = table(1, ROWS)
            after = change(t[column][CHANGE:])
            t[column] = np.concatenate([t[column][:CHANGE], after])
            line = f"{case:24}"
            for find in ways.values():
                alarms = find(t)
                before = sum(row <= CHANGE for row in alarms)
                delay = next((row - CHANGE for row in alarms if row > CHANGE), None)
                line += f"{before:>20}{'none' if delay is None else delay:>8}"
            print(line)
        counts = {way: np.zeros(2, int) for way in ways}
        for seed in range(2, 12):
            t = table(seed, STATIONARY)
            for way, find in ways.items():
                alarms = find(t)
                counts[way] += [len(alarms), bool(alarms)]
        for way, (alarms, streams) in counts.items():
            print(f"{way}: {alarms} alarms in {streams} of 10 streams of {STATIONARY} rows without any change")


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).resolve()))
