"""feamoe beside its peers on UCI Adult, in one run on one machine: accuracy, gaps, calibration,
rows a second, and what an explanation takes and how far it is off.

    pip install -r trainer/python/requirements-peers.txt
    pip install target/wheels/feamoe-*.whl
    python trainer/python/benches/peers.py FOLDER > peers.json

FOLDER has adult.data and adult.test. Each method learns from adult.data, in an order that the seed
draws, and is judged on adult.test by one implementation of the measures (`fairlearn.metrics`).
Sex is a feature of all, as in the study. Nothing is tuned: each method has its authors' defaults.
"""

import json
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from adult import read
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from fairlearn.postprocessing import ThresholdOptimizer
from fairlearn.reductions import DemographicParity, ExponentiatedGradient
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import feamoe

SEEDS = (1, 2, 3)
#: Rows that are explained, and background rows.
EXPLAINED, BACKGROUND = 100, 100
PACKAGES = ("feamoe", "lightgbm", "interpret-core", "fairlearn", "river", "vowpalwabbit", "shap", "scikit-learn")

#: A method: from training rows, outcomes and test rows to scores, and decisions where those are no
#: matter of a threshold of 0.5.
Method = Callable[[pd.DataFrame, np.ndarray, pd.DataFrame, int], tuple[np.ndarray, np.ndarray | None, float]]


def features(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the columns that every method sees: without the sampling weight and the outcome."""
    return frame.drop(columns=["fnlwgt", "income"])


def linear(**options: Any) -> Any:
    """Returns a logistic regression on standardised numbers and one-hot levels."""
    numbers = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
    encoder = OneHotEncoder(handle_unknown="ignore")
    names = [name for name in ADULT_FEATURES if name not in numbers]
    return make_pipeline(
        make_column_transformer((StandardScaler(), numbers), (encoder, names)),
        LogisticRegression(max_iter=1000, **options),
    )


ADULT_FEATURES: list[str] = []


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def with_feamoe(epochs: int | str, targets: dict[str, float] | None) -> Method:
    def method(x, y, test, seed):
        model = feamoe.FeamoeClassifier(targets=targets, privileged="Male", epochs=epochs, shuffle=False, random_state=seed)
        how = {"sensitive_features": x["sex"]} if targets else {}
        taken = timed(lambda: model.fit(x, y, **how))
        scores = model.predict_proba(test)[:, 1]
        return scores, model.predict(test), taken

    return method


def logistic(x, y, test, seed):
    model = linear()
    taken = timed(lambda: model.fit(x, y))
    return model.predict_proba(test)[:, 1], None, taken


def light(x, y, test, seed):
    import lightgbm

    columns = [x.select_dtypes(exclude="number").columns, x.columns][0]
    categories = {name: pd.CategoricalDtype(x[name].dropna().unique()) for name in columns}
    model = lightgbm.LGBMClassifier(random_state=seed, verbose=-1, n_jobs=1)
    taken = timed(lambda: model.fit(x.astype(categories), y))
    return model.predict_proba(test.astype(categories))[:, 1], None, taken


def boosted_additive(x, y, test, seed):
    from interpret.glassbox import ExplainableBoostingClassifier

    model = ExplainableBoostingClassifier(random_state=seed, n_jobs=1)
    taken = timed(lambda: model.fit(x, y))
    return model.predict_proba(test)[:, 1], None, taken


def reductions(x, y, test, seed):
    model = ExponentiatedGradient(
        linear(), DemographicParity(difference_bound=0.05), sample_weight_name="logisticregression__sample_weight"
    )
    taken = timed(lambda: model.fit(x, y, sensitive_features=x["sex"]))
    share = model._pmf_predict(test)[:, 1]
    return share, model.predict(test, random_state=seed), taken


def thresholds(x, y, test, seed):
    base = linear()
    model = ThresholdOptimizer(estimator=base, constraints="demographic_parity", predict_method="predict_proba")
    taken = timed(lambda: model.fit(x, y, sensitive_features=x["sex"]))
    decisions = model.predict(test, sensitive_features=test["sex"], random_state=seed)
    return model.estimator_.predict_proba(test)[:, 1], decisions, taken


def with_river(make: Callable[[int], Any]) -> Method:
    def method(x, y, test, seed):
        model = make(seed)
        rows = [{k: v for k, v in row.items() if v == v} for row in x.to_dict("records")]

        def learn():
            for row, label in zip(rows, y):
                model.learn_one(row, bool(label))

        taken = timed(learn)
        said = [model.predict_proba_one({k: v for k, v in row.items() if v == v}) for row in test.to_dict("records")]
        return np.array([one.get(True, 0.5) for one in said]), None, taken

    return method


def river_forest(seed: int) -> Any:
    from river import forest

    return forest.ARFClassifier(seed=seed)


def river_logistic(_: int) -> Any:
    from river import compose, linear_model, preprocessing

    numbers = compose.SelectType(int, float) | preprocessing.StandardScaler()
    levels = compose.SelectType(str) | preprocessing.OneHotEncoder()
    return (numbers + levels) | linear_model.LogisticRegression()


def vowpal(x, y, test, seed):
    import vowpalwabbit

    def example(row: dict[str, Any], label: Any = None) -> str:
        parts = []
        for name, value in row.items():
            if value != value:
                continue
            name = name.replace(" ", "_").replace(":", "_")
            parts.append(f"{name}:{value}" if isinstance(value, (int, float)) else f"{name}={value}")
        head = "" if label is None else ("1 " if label else "-1 ")
        return head + "|a " + " ".join(parts)

    model = vowpalwabbit.Workspace(f"--loss_function logistic --link logistic --quiet --random_seed {seed}")
    lines = [example(row, label) for row, label in zip(x.to_dict("records"), y)]
    taken = timed(lambda: [model.learn(line) for line in lines])
    scores = np.array([model.predict(example(row)) for row in test.to_dict("records")])
    model.finish()
    return scores, None, taken


METHODS: dict[str, Method] = {
    "feamoe, one pass": with_feamoe(1, None),
    "feamoe, five passes": with_feamoe(5, None),
    "feamoe, spd=0.05, one pass": with_feamoe(1, {"spd": 0.05}),
    "feamoe, spd=0.05, five passes": with_feamoe(5, {"spd": 0.05}),
    "feamoe, eodds=0.03, five passes": with_feamoe(5, {"eodds": 0.03}),
    "scikit-learn, logistic regression": logistic,
    "LightGBM": light,
    "interpret, explainable boosting machine": boosted_additive,
    "fairlearn, reductions for 0.05": reductions,
    "fairlearn, a threshold for each group": thresholds,
    "river, logistic regression": with_river(river_logistic),
    "river, adaptive random forest": with_river(river_forest),
    "Vowpal Wabbit": vowpal,
}


def judged(scores: np.ndarray, decisions: np.ndarray | None, y: np.ndarray, sex: pd.Series) -> dict[str, float]:
    decided = (scores >= 0.5).astype(int) if decisions is None else np.asarray(decisions).astype(int)
    clipped = np.clip(scores, 1e-6, 1 - 1e-6)
    bins = np.minimum((clipped * 10).astype(int), 9)
    errors = [abs(clipped[bins == b].mean() - y[bins == b].mean()) * (bins == b).mean() for b in range(10) if (bins == b).any()]
    return {
        "accuracy": accuracy_score(y, decided),
        "spd": demographic_parity_difference(y, decided, sensitive_features=sex),
        "eodds": equalized_odds_difference(y, decided, sensitive_features=sex),
        "log_loss": log_loss(y, clipped),
        "calibration_error": float(sum(errors)),
    }


def explanations(train: pd.DataFrame, y: np.ndarray, test: pd.DataFrame) -> list[dict[str, Any]]:
    """Times explanations of the same rows of one model of feamoe: its own, and SHAP's of its scores."""
    import shap

    classifier = feamoe.FeamoeClassifier(epochs=1, shuffle=False, background=BACKGROUND).fit(train, y)
    model = classifier.model_
    rows = test[:EXPLAINED]
    exact = model.explain(rows, method="exact").values
    lines = []
    for name in ("frozen", "path", "exact", "sampled"):
        taken = min(timed(lambda name=name: model.explain(rows, method=name)) for _ in range(3))
        values = model.explain(rows, method=name).values
        line = {"method": f"feamoe, {name}", "milliseconds_a_row": 1e3 * taken / len(rows)}
        if name != "frozen":  # in other units
            line["error"] = float(np.abs(values - exact).sum() / np.abs(exact).sum())
        lines.append(line)
    codes = {name: {value: code for code, value in enumerate(train[name].dropna().unique())} for name in train.select_dtypes(exclude="number")}
    words = {name: dict(enumerate(levels)) for name, levels in codes.items()}

    def coded(frame: pd.DataFrame) -> np.ndarray:
        return frame.assign(**{name: frame[name].map(levels) for name, levels in codes.items()}).to_numpy(float)

    def score(values: np.ndarray) -> np.ndarray:
        frame = pd.DataFrame(values, columns=train.columns)
        frame = frame.assign(**{name: frame[name].map(levels) for name, levels in words.items()})
        return classifier.predict_proba(frame)[:, 1]

    background = coded(train.sample(BACKGROUND, random_state=1))
    for evaluations in (200, 2000):
        explainer = shap.KernelExplainer(score, background)
        start = time.perf_counter()
        explainer.shap_values(coded(rows[:10]), nsamples=evaluations, silent=True)
        taken = time.perf_counter() - start
        lines.append({"method": f"shap, KernelExplainer, {evaluations} coalitions", "milliseconds_a_row": 1e3 * taken / 10})
    return lines


def main() -> None:
    folder = Path(sys.argv[1])
    train, test = read(folder, "adult.data"), read(folder, "adult.test")
    ADULT_FEATURES.extend(features(train).columns)
    truth = (test["income"] == ">50K").to_numpy().astype(int)
    lines = []
    for name, method in METHODS.items():
        runs = []
        for seed in SEEDS:
            order = np.random.default_rng(seed).permutation(len(train))
            shuffled = train.iloc[order].reset_index(drop=True)
            y = (shuffled["income"] == ">50K").to_numpy().astype(int)
            scores, decisions, taken = method(features(shuffled), y, features(test), seed)
            runs.append({**judged(scores, decisions, truth, test["sex"]), "rows_per_second": len(train) / taken})
        mean = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
        deviation = {key: float(np.std([run[key] for run in runs], ddof=1)) for key in runs[0]}
        lines.append({"method": name, "runs": len(SEEDS), "mean": mean, "deviation": deviation})
        print(f"{name}: {mean}", file=sys.stderr)
    y = (train["income"] == ">50K").to_numpy().astype(int)
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    document = {
        "machine": f"{platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "versions": versions,
        "seeds": SEEDS,
        "methods": lines,
        "explanations": explanations(features(train), y, features(test)),
    }
    json.dump(document, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
