"""Trains the contenders on adult.data, judges them on adult.test, and writes what their firmware is compiled from.

Every contender learns from the same columns as our schema gives the model (no fnlwgt). Numbers come as they are, categories as our level's codes. All but
ours are quick fits, none tuned.
"""

import sys
from pathlib import Path

import emlearn
import lightgbm
import m2cgen
import numpy as np
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.neural_network import MLPClassifier

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/peers"))
from model import SCHEMA, Model, adult, data_file, feamoe  # noqa: E402

ROWS = 64
MISSING = 0xFFFF


def array(name, values, kind="float"):
    """A constant of C; nested lists become further dimensions."""

    def text(values):
        if np.ndim(values) > 0:
            return "{" + ",\n".join(map(text, values)) + "}"
        return f"{np.float32(values):.9e}f" if kind == "float" else str(int(values))

    shape = "".join(f"[{length}]" for length in np.shape(values))
    return f"static const {kind} {name}{shape} = {text(values)};\n"


class Data:
    """The records of both files as the contenders see them, by the features of one of our models."""

    def __init__(self, model):
        self.features = model.features
        self.numbers = [i for i, feature in enumerate(self.features) if feature.is_number]
        self.categories = [i for i, feature in enumerate(self.features) if not feature.is_number]
        self.records, self.matrix, self.outcome = {}, {}, {}
        for name in ["adult.data", "adult.test"]:
            self.records[name] = adult(name)
            self.matrix[name] = model.coded(self.records[name])
            self.outcome[name] = np.array([record["income"].startswith(">50K") for record in self.records[name]])
        every = np.concatenate(list(self.matrix.values()))
        assert not np.isnan(every[:, self.numbers]).any()
        # A column for each level, and one for a missing value where there is any.
        self.widths = [
            feature.level_count + int((every[:, i] > feature.level_count).any())
            for i, feature in self.of(self.categories)
        ]
        known = [i for i, row in enumerate(self.matrix["adult.test"]) if not self.is_unseen(row)]
        self.rows = known[:ROWS]

    def of(self, indices):
        return [(i, self.features[i]) for i in indices]

    def is_unseen(self, row):
        return any(row[i] == feature.level_count for i, feature in self.of(self.categories))

    def columns(self, matrix, centres, scales):
        """Dense columns, as encoding.h makes them."""
        parts = []
        for (i, feature), centre, scale in zip(self.of(self.numbers), centres, scales):
            parts.append((self.transformed(feature, matrix[:, i]) - centre) * scale)
        for (i, feature), width in zip(self.of(self.categories), self.widths):
            codes = matrix[:, i].astype(int)
            # A missing value follows the levels; an unseen one has no column.
            codes = np.where(codes > feature.level_count, feature.level_count, np.where(codes == feature.level_count, -1, codes))
            parts.extend((codes == code).astype(float) for code in range(width))
        return np.stack(parts, axis=1)

    @staticmethod
    def transformed(feature, column):
        inside = np.clip(column, feature.low, feature.high)
        return np.log1p(inside) if feature.is_log1p else inside

    def ordinal(self, matrix):
        """Numbers, then codes, -1 for a missing one."""
        codes = [
            np.where(matrix[:, i] > feature.level_count, -1, matrix[:, i]) for i, feature in self.of(self.categories)
        ]
        return np.stack([matrix[:, i] for i in self.numbers] + codes, axis=1)

    def write_rows(self, path):
        def row(values):
            numbers = ", ".join(f"{np.float32(values[i]):.9e}f" for i in self.numbers)
            codes = [MISSING if values[i] > feature.level_count else int(values[i]) for i, feature in self.of(self.categories)]
            return f"    {{ {{ {numbers} }}, {{ {', '.join(map(str, codes))} }} }}"

        rows = ",\n".join(row(self.matrix["adult.test"][i]) for i in self.rows)
        path.write_text(f"static const struct row rows[{len(self.rows)}] = {{\n{rows}\n}};\n")

    def write_encoding(self, path, centres, scales):
        numbers = [feature for _, feature in self.of(self.numbers)]
        first = len(numbers) + np.concatenate([[0], np.cumsum(self.widths)])
        path.write_text(
            f"#define COLUMNS {first[-1]}\n"
            + array("lows", [feature.low for feature in numbers])
            + array("highs", [feature.high for feature in numbers])
            + array("centres", centres)
            + array("scales", scales)
            + array("is_log1p", [feature.is_log1p for feature in numbers], "unsigned char")
            + array("levels", [feature.level_count for _, feature in self.of(self.categories)], "unsigned char")
            + array("first_columns", first[:-1], "unsigned char")
        )

    def judged(self, p, label=None):
        """How good the scores of adult.test are, and those of the rows that the firmware scores."""
        outcome = self.outcome["adult.test"]
        label = p >= 0.5 if label is None else label
        return {
            "accuracy": accuracy_score(outcome, label),
            "auc": roc_auc_score(outcome, p),
            "expected": p[self.rows].tolist(),
        }


def trained(folder, name, *options):
    """A model of ours, its copy for a device, constants for both languages, and its scores of adult.test."""
    path = folder / f"{name}.feamoe"
    feamoe("train", data_file("adult.data"), "--schema", SCHEMA, *options, "-o", path)
    device = folder / name
    device.mkdir(exist_ok=True)
    for output in [["-o", device / "adult.feamoe"], ["--constants", "c", "-o", device / "adult.h"], ["--constants", "rust", "-o", device / "adult.rs"]]:
        feamoe("export", path, "--strip-names", *output)
    lines = feamoe("score", path, data_file("adult.test"), "--schema", SCHEMA).splitlines()[1:]
    return path, np.array([float(line.split(",")[1]) for line in lines])


def naive(folder, model, data):
    """The same mixture over dense columns."""
    numbers = [feature for _, feature in data.of(data.numbers)]
    centres = [feature.centre for feature in numbers]
    data.write_encoding(folder / "encoding_tables.h", centres, [1] * len(numbers))
    rows = [feature.first_row for feature in numbers]
    for (_, feature), width in zip(data.of(data.categories), data.widths):
        rows.extend(range(feature.first_row, feature.first_row + feature.level_count))
        rows.extend([feature.first_row + feature.level_count + 1] * (width - feature.level_count))
    weights = model.rows[rows].T
    (folder / "naive_weights.h").write_text(
        f"#define EXPERTS {model.experts}\n" + array("bias", model.bias) + array("weights", weights)
    )


def perceptron(folder, data):
    """scikit-learn's perceptron of two layers of 30, by emlearn."""
    train = data.matrix["adult.data"]
    transformed = [data.transformed(feature, train[:, i]) for i, feature in data.of(data.numbers)]
    centres, scales = [x.mean() for x in transformed], [1 / x.std() for x in transformed]
    data.write_encoding(folder / "encoding_tables.h", centres, scales)
    classifier = MLPClassifier((30, 30), early_stopping=True, random_state=1)
    classifier.fit(data.columns(train, centres, scales), data.outcome["adult.data"])
    emlearn.convert(classifier).save(file=str(folder / "perceptron.h"), name="perceptron")
    return data.judged(classifier.predict_proba(data.columns(data.matrix["adult.test"], centres, scales))[:, 1])


def trees(folder, data):
    """LightGBM's 100 trees of 15 leaves, by m2cgen: its doubles as they come, and as floats."""
    classifier = lightgbm.LGBMClassifier(n_estimators=100, num_leaves=15, random_state=1, verbose=-1)
    classifier.fit(data.ordinal(data.matrix["adult.data"]), data.outcome["adult.data"])
    text = m2cgen.export_to_c(classifier)
    (folder / "double").mkdir(exist_ok=True)
    (folder / "float").mkdir(exist_ok=True)
    (folder / "double/trees.h").write_text(text)
    (folder / "float/trees.h").write_text(text.replace("double", "float").replace("exp(", "expf("))
    return data.judged(classifier.booster_.predict(data.ordinal(data.matrix["adult.test"])))


def prepare(folder):
    """Writes all contenders' sources to `folder`; returns how each is judged, by its name."""
    plain, plain_scores = trained(folder, "plain", "--bins", "0", "--experts", "11")
    _, binned_scores = trained(folder, "binned")
    model = Model(plain)
    data = Data(model)
    data.write_rows(folder / "rows.h")
    places = {name: folder / name for name in ["naive", "perceptron", "trees"]}
    for place in places.values():
        place.mkdir(exist_ok=True)
    naive(places["naive"], model, data)
    return {
        "experts": model.experts,
        "plain": data.judged(plain_scores),
        "binned": data.judged(binned_scores),
        "perceptron": perceptron(places["perceptron"], data),
        "trees": trees(places["trees"], data),
    }
