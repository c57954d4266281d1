"""Draws the JSON of `feamoe explain` with SHAP's plots, without a window; fails where one cannot be drawn or its picture is empty.

The keys of the document are the keyword arguments of `shap.Explanation`, but lists must be arrays: see `explanation`.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import shap

from model import SCHEMA, check, data_file, feamoe

ROWS = 200
# A smaller picture shows nothing: an empty one has 2.4 kB.
LEAST_BYTES = 5_000
# Means over one background differ by what f32 rounds.
SAME_BASE = 1e-6
# What sampled values have beside the others' columns.
ESTIMATES = ["error_std", "lower_bounds", "upper_bounds"]


def explanation(document):
    """The document as an `Explanation`: `waterfall` fails on plain lists, colours need numbers, level names are for display only."""
    return shap.Explanation(
        values=np.asarray(document["values"], float),
        base_values=np.asarray(document["base_values"], float),
        data=np.asarray(document["data"], float),  # null, a missing value, becomes NaN
        display_data=np.asarray(document["display_data"], object),
        feature_names=document["feature_names"],
        output_names=document["output_names"],
        **{key: np.asarray(document[key], float) for key in ESTIMATES if key in document},
    )


def draw_decision(explained):
    shap.plots.decision(
        explained.base_values[0].item(),  # one base value for all rows
        explained.values,
        features=explained.display_data,
        feature_names=explained.feature_names,
        show=False,
    )


PLOTS = {
    "waterfall": lambda explained: shap.plots.waterfall(explained[0], show=False),  # one row, whose base value is a scalar
    "beeswarm": lambda explained: shap.plots.beeswarm(explained, show=False),
    "bar": lambda explained: shap.plots.bar(explained, show=False),
    "bar of one row": lambda explained: shap.plots.bar(explained[0], show=False),
    "decision": draw_decision,
}


def methods():
    """The methods that `feamoe explain` has."""
    listed = re.search(r"--method <.*?\n +--", feamoe("explain", "--help"), re.DOTALL)[0]
    return re.findall(r"^ +- (\w+):", listed, re.MULTILINE)


def draw(method, explained, picture):
    for name, plot in PLOTS.items():
        if name == "decision" and np.ptp(explained.base_values) > SAME_BASE:
            print(f"{method}, {name}: not drawn, each row has a base value of its own")
            continue
        plot(explained)
        plt.savefig(picture)
        plt.close("all")
        size = picture.stat().st_size
        print(f"{method}, {name}: {size} bytes")
        if size < LEAST_BYTES:
            sys.exit(f"{method}, {name}: the picture is empty")


def main():
    with tempfile.TemporaryDirectory() as folder:
        model, few = Path(folder) / "adult.feamoe", Path(folder) / "few.data"
        feamoe("train", data_file("adult.data"), "--schema", SCHEMA, "-o", model)
        check(model)  # a model with bins, unlike the committed ones
        lines = data_file("adult.test").read_text().splitlines(keepends=True)
        few.write_text("".join(lines[: ROWS + 1]))  # the first one is a comment
        for method in methods():
            found = feamoe("explain", model, few, "--schema", SCHEMA, "--method", method, "--format", "json")
            explained = explanation(json.loads(found))
            assert explained.values.shape == (ROWS, len(explained.feature_names))
            draw(method, explained, Path(folder) / "plot.png")


if __name__ == "__main__":
    main()
