"""feamoe beside its peers on UCI Adult, in one run on one machine: accuracy, gaps, calibration,
rows a second.

Each method learns from adult.data in an order that the seed draws, and is judged on adult.test by
one implementation of the measures. Sex is a feature of all, as in `feamoe study`. Nothing is tuned:
each method has its authors' defaults. Seconds are processor time, so that other work on the machine
counts little; feamoe's include reading the file, the others start from a frame in memory. Figures
go to standard error as they are found, and to standard output as one Markdown table.

Names as arguments choose methods.
"""

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for all

import numpy as np
import pandas as pd
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from fairlearn.postprocessing import ThresholdOptimizer
from fairlearn.reductions import DemographicParity, EqualizedOdds, ExponentiatedGradient
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from model import FEAMOE, REPOSITORY, SCHEMA, data_file

sys.path.insert(0, str(REPOSITORY / "trainer/python/benches"))
from adult import COLUMNS, read

SEEDS = (1, 2, 3)
PACKAGES = ("lightgbm", "interpret-core", "fairlearn", "river", "vowpalwabbit", "scikit-learn")
#: Bins of the calibration error.
BINS = 10

#: What a method gives for the test rows: probabilities, where it has them; decisions, where they
#: are not those at 0.5; the seconds that learning took.
Judged = tuple[np.ndarray | None, np.ndarray | None, float]
Method = Callable[[pd.DataFrame, np.ndarray, pd.DataFrame, int], Judged]


def timed(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def write(x: pd.DataFrame, y: np.ndarray, path: Path) -> Path:
    """Writes rows as the schema of adult.data reads them."""
    frame = x.assign(fnlwgt=0, income=np.where(y == 1, ">50K", "<=50K"))
    frame[COLUMNS].to_csv(path, header=False, index=False, na_rep="?")
    return path


def with_feamoe(*options: str) -> Method:
    def method(x: pd.DataFrame, y: np.ndarray, test: pd.DataFrame, seed: int) -> Judged:
        with tempfile.TemporaryDirectory() as made:
            folder, command = Path(made), FEAMOE
            rows = write(x, y, folder / "rows.csv")
            judged = write(test, np.zeros(len(test)), folder / "judged.csv")
            model = str(folder / "m.feamoe")
            learn = [command, "train", str(rows), "--schema", str(SCHEMA), "--seed", str(seed), "--quiet", "-o", model]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            # Exit code 1 says that a target is not shown to be met.
            learned = subprocess.run([*learn, *options], stdout=subprocess.DEVNULL, check=False)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert learned.returncode in (0, 1), learned
            subprocess.run([command, "score", model, str(judged), "--quiet", "-o", f"{made}/scores.csv"], check=True)
            scores = pd.read_csv(folder / "scores.csv")
        taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return scores["probability"].to_numpy(), scores["decision"].to_numpy(), taken

    return method


def logistic(_: int) -> Any:
    return LogisticRegression(max_iter=1000)


def boosted(seed: int) -> Any:
    import lightgbm

    return lightgbm.LGBMClassifier(random_state=seed, verbose=-1, n_jobs=1)


def on_numbers(model: Any) -> Any:
    """Puts standardised numbers and one-hot levels before a model."""
    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_exclude="number")),
    )
    return Pipeline([("columns", columns.set_output(transform="pandas")), ("model", model)])


def regression(x: pd.DataFrame, y: np.ndarray, test: pd.DataFrame, seed: int) -> Judged:
    model = on_numbers(logistic(seed))
    taken = timed(lambda: model.fit(x, y))
    return model.predict_proba(test)[:, 1], None, taken


def light(x: pd.DataFrame, y: np.ndarray, test: pd.DataFrame, seed: int) -> Judged:
    levels = {name: pd.CategoricalDtype(x[name].dropna().unique()) for name in x.select_dtypes(exclude="number")}
    model = boosted(seed)
    taken = timed(lambda: model.fit(x.astype(levels), y))
    return model.predict_proba(test.astype(levels))[:, 1], None, taken


def boosted_additive(x: pd.DataFrame, y: np.ndarray, test: pd.DataFrame, seed: int) -> Judged:
    from interpret.glassbox import ExplainableBoostingClassifier

    model = ExplainableBoostingClassifier(random_state=seed, n_jobs=1)
    taken = timed(lambda: model.fit(x, y))
    return model.predict_proba(test)[:, 1], None, taken


def reductions(base: Callable[[int], Any], constraint: Any) -> Method:
    def method(x: pd.DataFrame, y: np.ndarray, test: pd.DataFrame, seed: int) -> Judged:
        model = ExponentiatedGradient(on_numbers(base(seed)), constraint(), sample_weight_name="model__sample_weight")
        taken = timed(lambda: model.fit(x, y, sensitive_features=x["sex"]))
        return None, model.predict(test, random_state=seed), taken

    return method


def thresholds(base: Callable[[int], Any]) -> Method:
    def method(x: pd.DataFrame, y: np.ndarray, test: pd.DataFrame, seed: int) -> Judged:
        optimizer = ThresholdOptimizer(
            estimator=on_numbers(base(seed)), constraints="demographic_parity", predict_method="predict_proba"
        )
        taken = timed(lambda: optimizer.fit(x, y, sensitive_features=x["sex"]))
        decisions = optimizer.predict(test, sensitive_features=test["sex"], random_state=seed)
        return optimizer.estimator_.predict_proba(test)[:, 1], decisions, taken

    return method


def parity() -> Any:
    """Asks for a gap of 0.05 between men, two thirds of the rows, and women.

    The bound is on the gap between a group and all rows.
    """
    return DemographicParity(difference_bound=0.05 * 2 / 3)


def equal_odds() -> Any:
    return EqualizedOdds(difference_bound=0.03 * 2 / 3)


def present(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the rows without their missing values."""
    return [{name: value for name, value in row.items() if value == value} for row in frame.to_dict("records")]


def with_river(make: Callable[[int], Any]) -> Method:
    def method(x: pd.DataFrame, y: np.ndarray, test: pd.DataFrame, seed: int) -> Judged:
        model, rows = make(seed), present(x)

        def learn() -> None:
            for row, label in zip(rows, y, strict=True):
                model.learn_one(row, bool(label))

        taken = timed(learn)
        return np.array([model.predict_proba_one(row).get(True, 0.0) for row in present(test)]), None, taken

    return method


def river_forest(seed: int) -> Any:
    from river import forest

    return forest.ARFClassifier(seed=seed)


def river_logistic(_: int) -> Any:
    from river import compose, linear_model, preprocessing

    numbers = compose.SelectType(int, float) | preprocessing.StandardScaler()
    levels = compose.SelectType(str) | preprocessing.OneHotEncoder()
    return (numbers + levels) | linear_model.LogisticRegression()


def vowpal(x: pd.DataFrame, y: np.ndarray, test: pd.DataFrame, seed: int) -> Judged:
    import vowpalwabbit

    def line(row: dict[str, Any], label: str = "") -> str:
        parts = [f"{name}={value}" if isinstance(value, str) else f"{name}:{value}" for name, value in row.items()]
        return f"{label}|a {' '.join(parts)}"

    model = vowpalwabbit.Workspace(f"--loss_function logistic --link logistic --quiet --random_seed {seed}")
    lines = [line(row, "1 " if label else "-1 ") for row, label in zip(present(x), y, strict=True)]
    taken = timed(lambda: [model.learn(line) for line in lines])
    scores = np.array([model.predict(line(row)) for row in present(test)])
    model.finish()
    return scores, None, taken


METHODS: dict[str, Method] = {
    "feamoe, one pass": with_feamoe(),
    "feamoe, five passes": with_feamoe("--epochs", "5", "--shuffle"),
    "LightGBM": light,
    "explainable boosting machine": boosted_additive,
    "logistic regression": regression,
    "river, adaptive random forest": with_river(river_forest),
    "river, logistic regression": with_river(river_logistic),
    "Vowpal Wabbit": vowpal,
    "feamoe, `spd=0.05`, one pass": with_feamoe("--fair", "spd=0.05"),
    "feamoe, `spd=0.05`, five passes": with_feamoe("--epochs", "5", "--shuffle", "--fair", "spd=0.05"),
    "fairlearn, reductions of LightGBM, SPD 0.05": reductions(boosted, parity),
    "fairlearn, reductions of logistic regression, SPD 0.05": reductions(logistic, parity),
    "feamoe, `spd=0.01`, five passes": with_feamoe("--epochs", "5", "--shuffle", "--fair", "spd=0.01"),
    "fairlearn, thresholds of LightGBM, SPD 0": thresholds(boosted),
    "fairlearn, thresholds of logistic regression, SPD 0": thresholds(logistic),
    "feamoe, `eodds=0.03`, five passes": with_feamoe("--epochs", "5", "--shuffle", "--fair", "eodds=0.03"),
    "fairlearn, reductions of LightGBM, EOdds 0.03": reductions(boosted, equal_odds),
}


def judge(scores: np.ndarray | None, decisions: np.ndarray | None, y: np.ndarray, sex: pd.Series) -> dict[str, float]:
    """Returns the figures of a method; those of probabilities where it has some."""
    figures: dict[str, float] = {}
    if scores is not None:
        decisions = scores >= 0.5 if decisions is None else decisions
        clipped = np.clip(scores, 1e-6, 1 - 1e-6)
        bins = np.minimum((clipped * BINS).astype(int), BINS - 1)
        filled = [bins == each for each in range(BINS) if (bins == each).any()]
        errors = [abs(clipped[own].mean() - y[own].mean()) * own.mean() for own in filled]
        figures = {"log_loss": log_loss(y, clipped), "calibration_error": float(sum(errors))}
    decided = np.asarray(decisions).astype(int)
    return {
        "accuracy": accuracy_score(y, decided),
        "spd": demographic_parity_difference(y, decided, sensitive_features=sex),
        "eodds": equalized_odds_difference(y, decided, sensitive_features=sex),
        **figures,
    }


def measure(name: str, method: Method, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, Any]:
    """Learns in an order of each seed; returns the mean and the standard deviation of each figure."""
    runs = []
    for seed in SEEDS:
        shuffled = train.sample(frac=1, random_state=seed, ignore_index=True)
        scores, decisions, taken = method(*columns(shuffled), columns(test)[0], seed)
        figures = judge(scores, decisions, columns(test)[1], test["sex"])
        runs.append({**figures, "rows_per_second": len(train) / taken})
    frame = pd.DataFrame(runs)
    print(f"{name}: {frame.mean().round(4).to_dict()}", file=sys.stderr)
    return {"method": name, "runs": len(runs), "mean": frame.mean().to_dict(), "deviation": frame.std().to_dict()}


def columns(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Returns what every method sees, without the sampling weight, and the outcomes."""
    return frame.drop(columns=["fnlwgt", "income"]), (frame["income"] == ">50K").to_numpy().astype(int)


def table_line(measured: dict[str, Any]) -> str:
    """Returns the line of the table: the mean of each figure and its standard deviation over the seeds."""
    mean, deviation = measured["mean"], measured["deviation"]
    names = ("accuracy", "spd", "eodds", "log_loss")
    cells = [f"{mean[name]:.4f} ±{deviation[name]:.4f}" if name in mean else "-" for name in names]
    error = f"{mean['calibration_error']:.4f}" if "calibration_error" in mean else "-"
    return f"| {' | '.join([measured['method'], *cells, error, format(mean['rows_per_second'], ',.0f')])} |"


def main() -> None:
    folder, chosen = data_file("adult.data").parent, sys.argv[1:]
    train, test = read(folder, "adult.data"), read(folder, "adult.test")
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    print(f"Python {platform.python_version()}, {versions}; {platform.machine()}, one core; seeds {SEEDS}\n")
    print("| way | accuracy | SPD | EOdds | log-loss | calibration error | rows/s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in chosen or METHODS:
        print(table_line(measure(name, METHODS[name], train, test)), flush=True)


if __name__ == "__main__":
    main()
