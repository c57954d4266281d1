"""Rows a second of a model of Adult by onnxruntime and by the package, in one run, on one thread
and on all: ``python trainer/python/benches/onnx_runtime.py FOLDER`` with adult.data and adult.test in FOLDER."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from adult import read, seconds

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import feamoe
from test_onnx import ADULT, feed

#: Rows of adult.test are repeated up to this number.
ROWS = 200_000


def main() -> None:
    folder = Path(sys.argv[1])
    model = feamoe.Learner.fit(read(folder, "adult.data"), schema=ADULT).export()
    test = read(folder, "adult.test")
    rows = pd.concat([test] * (ROWS // len(test) + 1))[:ROWS].reset_index(drop=True)
    inputs = feed(model, rows)
    print(f"{len(rows)} rows, {len(model.features)} features, {model.about['experts']} experts")
    for threads in (1, 0):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(model.to_onnx(), options, providers=["CPUExecutionProvider"])
        name = "one thread" if threads == 1 else "all threads"
        for outputs in (["label", "probability"], None):
            taken = seconds(lambda session=session, outputs=outputs: session.run(outputs, inputs))
            what = "label and probability" if outputs else "all outputs"
            print(f"onnxruntime, {name}, {what}: {len(rows) / taken:,.0f} rows/s")
    one = {name: column[:1] for name, column in inputs.items()}
    print(f"onnxruntime, one row: {seconds(lambda: session.run(['probability'], one), 200) * 1e6:.0f} us")
    taken = seconds(lambda: model.score(rows))
    print(f"feamoe, from a pandas frame: {len(rows) / taken:,.0f} rows/s")
    difference = np.abs(session.run(["score"], inputs)[0] - model.score(rows)).max()
    print(f"largest difference of a score: {difference:.2g}")


main()
