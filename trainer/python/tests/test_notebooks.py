"""The notebooks run from top to bottom, and what their prose says of figures holds."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"

#: For each notebook, the figures that its prose states.
STATED = {
    "credit": """
past = pd.crosstab(sex, y, normalize="index")["approved"]
assert 0.525 < past["Male"] < 0.535 and 0.28 < past["Female"] < 0.29, past
gap = judged.differences()["demographic_parity_difference"].iloc[0]
assert 0.815 < judged["accuracy"] < 0.825 and -0.285 < gap < -0.275, gap
assert gap < past["Female"] - past["Male"]
bank, other = prices["as the bank"], prices["as an unbiased lender"]
assert bank.is_monotonic_decreasing and other.is_monotonic_increasing, prices
assert 0.815 < bank[0] < 0.825 and 0.795 < bank[3] < 0.805 and 0.775 < other[0] < 0.785 and 0.805 < other[3] < 0.815
assert abs(prices["gap"][3]) < 0.05
months = some["break_months"].to_numpy()
effect = [of[:, "break_months"].values for of in (of_plain, of_fair)]
none, long = ([of[months < 3].mean() for of in effect], [of[months > 6].mean() for of in effect])
assert 0.11 < none[0] < 0.13 and -0.13 < long[0] < -0.11 and 0.055 < none[1] - long[1] < 0.065, (none, long)
assert len(judged_fair.differences()) == 1
assert recourse.summary["with_recourse"] == 1
for answer in recourse.answers():
    then = applicant.copy()
    for name, (before, after) in answer["changes"].items():
        assert name in ("income", "score") and after > before
        then[name] = float(after)
    assert fair.predict(then)[0] == "approved"
""",
    "drift": """
assert drifts["cause"].tolist()[:2] == ["loss drift", "fairness drift"]
rows = drifts["row"].tolist()
assert 12_100 < rows[0] < 12_160 and 21_530 < rows[1] < 21_590, rows
assert drifts["rate"].tolist()[1] == "residual" and all("positive rate" in rate for rate in drifts["rate"][2:])
after = slice(RULES_CHANGE, None)
assert 0.65 < once["right"][after].mean() < 0.68
assert windows["accuracy"][12:].between(0.79, 0.85).all() and windows["accuracy"][12] > 0.8
late = stream[BIAS_GROWS:]
lenders = late["approved"].groupby(late["sex"]).mean()
assert -0.28 < lenders["Female"] - lenders["Male"] < -0.26
assert -0.05 < windows["spd"][21:].mean() < -0.035
verdict = learner.report()["targets"][0]
assert verdict["verdict"] == "not shown" and abs(verdict["gap"]) < 0.05 < abs(verdict["interval"][0])
assert resumed.export() == learner.export() and resumed.events() == learner.events()
""",
    "device": """
by = costs.set_index(["device", "weights"])
score, size, changed = (by[name] for name in ("instructions a score", "bytes", "decisions that change"))
assert max(score["cortex-m0", "i16"], score["cortex-m0", "i8"]) < score["cortex-m0", "f32"] / 10
for device in ("cortex-m4f", "cortex-m0"):
    assert 0.45 < size[device, "i16"] / size[device, "f32"] < 0.55 and size[device, "i8"] < size[device, "f32"] / 3
    assert changed[device, "f32"] == changed[device, "i16"] == 0 and 10 < changed[device, "i8"] < 30
assert np.array_equal(copy.model.score(test), model.score(test))
assert len(two.to_bytes()) < len(small.to_bytes())
assert "PAYMENTS_FEATURE_DISTANCE_KM" in header and "merchant" not in str(nameless.to_bytes())
assert 0 < len(delta) < len(newer.to_bytes()) / 2
""",
}


#: SHAP's plots need no compilation and show no progress bars.
BEFORE = """
import os, warnings
os.environ["NUMBA_DISABLE_JIT"] = "1"
warnings.filterwarnings("ignore", "IProgress not found")
"""


@pytest.mark.parametrize("name", STATED)
def test_a_notebook_runs_and_its_prose_is_true(name, tmp_path):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in codes), "kept without outputs"
    notebook.cells = [nbformat.v4.new_code_cell(BEFORE), *notebook.cells, nbformat.v4.new_code_cell(STATED[name])]
    there = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, kernel_name="python3", timeout=120, resources=there).execute()
    for cell in codes:
        assert not any(output.get("name") == "stderr" for output in cell.outputs), cell.outputs


def test_every_notebook_is_tested():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(STATED)
