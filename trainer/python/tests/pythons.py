"""Tries a wheel on every Python that the machine has, with old and new numpy and pandas.

    python tests/pythons.py feamoe-0.1.0-cp310-abi3-....whl

Each gets a fresh environment. What cannot be installed for a Python is said, and is no failure; a smoke
test that fails is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

#: Python versions, from the oldest supported one.
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
#: Packages installed beside the wheel.
BESIDE = (
    ("numpy==1.26.*",),
    ("numpy==1.26.*", "pandas==2.*", "pyarrow"),
    ("numpy>=2", "pandas==2.*"),
    ("numpy>=2", "pandas==3.*", "pyarrow"),
)
SMOKE = """
import pickle, sys
import numpy as np
import feamoe

random = np.random.default_rng(0)
rows = 3000
columns = {
    "size": random.normal(size=rows),
    "count": random.integers(0, 9, rows),
    "color": random.choice(["red", "green"], rows).astype(object),
    "group": random.choice(["a", "b"], rows),
}
columns["color"][::7] = None
outcome = (columns["size"] + (columns["color"] == "red") > 0.3)
named = {"protected": {"group": "a"}, "fair": {"spd": 0.1}, "warmup": 500}
learner = feamoe.Learner.fit(columns, outcome, epochs=2, shuffle=True, **named)
model = learner.export()
assert pickle.loads(pickle.dumps(model)) == model == feamoe.Model(model.to_bytes())
scores = model.score(columns)
assert scores.dtype == np.float32 and scores.shape == (rows,)
assert ((scores >= model.threshold) == outcome).mean() > 0.9
row = {"size": 1.0, "count": 3, "color": None}
assert model.score_one(row) == model.score([row])[0]
assert np.allclose(model.gate(columns).sum(1), 1, atol=1e-5) and model.notes(columns).shape == (rows, 3)
few = {name: values[:20] for name, values in columns.items()}
for method in ("exact", "sampled", "path", "frozen"):
    values = model.explain(few, method=method)
    assert np.abs(values.base_values + values.values.sum(1) + values.residual - values.output).max() < 1e-3
assert len(model.recourse(few).answers()) > 0
evaluation = model.evaluate(columns, outcome, sensitive_features={"group": columns["group"]})
assert evaluation["accuracy"] > 0.9
device = model.export(device=feamoe.devices()[0], quantize="i8")
assert len(device.to_bytes()) < len(model.to_bytes()) and device.costs
stream = feamoe.Learner(warmup=100)
for place in range(300):
    row = {name: values[place] for name, values in columns.items() if name != "group"}
    stream.predict_proba_one(row)
    stream.learn_one(row, outcome[place])
again = feamoe.Learner.from_checkpoint(pickle.loads(pickle.dumps(stream)).checkpoint())
assert again.checkpoint() == stream.checkpoint() and again.rows == 300
assert "column" in feamoe.infer_schema(columns)
try:
    model.score({"size": ["large"], "count": [1], "color": ["red"]})
except feamoe.FeamoeError as error:
    assert (error.column, error.row, error.found) == ("size", 1, "large")
else:
    raise AssertionError("text is no number")
held = ["numpy"]
try:
    import pandas
except ImportError:
    pass
else:
    frame = pandas.DataFrame(columns)
    for one in (frame, frame.astype({"color": "category"}), frame.astype(object), frame.convert_dtypes()):
        assert np.array_equal(model.score(one), scores)
    assert len(evaluation["groups"]) == 2 and list(model.explain(frame[:3]).to_frame()) == model.features
    held.append(f"pandas {pandas.__version__}")
print(f"Python {sys.version.split()[0]}, numpy {np.__version__}, {', '.join(held[1:]) or 'no pandas'}: all works")
"""


def pythons() -> dict[str, str]:
    """The interpreters there are, by version."""
    found: dict[str, str] = {}
    for wanted in PYTHONS:
        kept = sorted(Path.home().glob(f".pyenv/versions/{wanted}.*/bin/python"))
        path = str(kept[-1]) if kept else shutil.which(f"python{wanted}")
        if path:
            found[wanted] = path
    return found


def main(wheel: str) -> int:
    found, failed = pythons(), 0
    for wanted in PYTHONS:
        if wanted not in found:
            print(f"Python {wanted}: not on this machine")
    for wanted, python in found.items():
        for beside in BESIDE:
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run([python, "-m", "venv", folder], check=True)
                inside = f"{folder}/bin/python"
                install = [
                    inside,
                    "-m",
                    "pip",
                    "install",
                    "-q",
                    "--only-binary",
                    ":all:",
                    "--disable-pip-version-check",
                ]
                done = subprocess.run([*install, wheel, *beside], capture_output=True, text=True)
                if done.returncode != 0:
                    reason = done.stderr.strip().splitlines()[-1]
                    print(f"Python {wanted}, {', '.join(beside)}: there is no such set ({reason})")
                    continue
                done = subprocess.run([inside, "-W", "error", "-c", SMOKE], cwd=folder, capture_output=True, text=True)
                failed += done.returncode != 0
                print(
                    done.stdout.strip()
                    if done.returncode == 0
                    else f"Python {wanted}, {', '.join(beside)}: FAILED\n{done.stderr}"
                )
    return min(failed, 1)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(str(Path(sys.argv[1]).resolve())))
