"""The package is typed: stubs are those of the module, and what users write type-checks."""

import subprocess
import sys
from pathlib import Path

import pytest

import feamoe

pytest.importorskip("mypy")

#: A program as users write it; a line that ends with ``# error`` does not type-check.
PROGRAM = """
import numpy as np
import feamoe
from numpy.typing import NDArray

learner = feamoe.Learner(target="paid", positive="yes", protected={"sex": "Male"}, fair={"spd": 0.05}, experts=8)
learner.learn_one({"income": 1.5, "job": None}, "yes")
fitted: feamoe.Learner = feamoe.Learner.fit({"a": [1, 2]}, [0, 1], verbose=True, epochs="auto")
probability: dict[object, float] = learner.predict_proba_one({"income": 1.5})
state: bytes = feamoe.Learner.from_checkpoint(learner.checkpoint()).checkpoint()
model: feamoe.Model = learner.export()
scores: NDArray[np.float32] = model.score({"income": [1.0]})
one: float = model.score_one({"income": 1.0})
explanation: feamoe.Explanation = model.explain([{"income": 1.0}], method="path", reasons=2)
values: NDArray[np.float32] = explanation.values
answers: list[dict[str, object]] = model.recourse({"income": [1.0]}, immutable=["job"]).answers()
evaluation: feamoe.Evaluation = model.evaluate({"income": [1.0]}, ["yes"])
flash: bytes = model.export(device=feamoe.devices()[0], quantize="i8").to_bytes()
text: str = feamoe.infer_schema({"a": [1]}, "a")
try:
    feamoe.Model(b"")
except feamoe.FeamoeError as error:
    where: tuple[str | None, int | None] = error.column, error.row
wrong: str = model.score_one({"income": 1.0})  # error
model.score()  # error
model.recourse({"income": [1.0]}, immutable=5)  # error
learner.learn_one([1, 2], True)  # error
feamoe.Model(7)  # error
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that the package is a package in; mypy keeps what it found there."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "feamoe").symlink_to(Path(feamoe.__file__).parent, target_is_directory=True)
    return folder


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True, timeout=600)


def test_stubs_are_those_of_the_module(tmp_path):
    done = run("mypy.stubtest", "feamoe._feamoe", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_type_checks_strictly(folder):
    done = run("mypy", "--strict", "--ignore-missing-imports", "-p", "feamoe", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_programs_of_users_type_check(folder):
    (folder / "program.py").write_text(PROGRAM)
    done = run("mypy", "--strict", "--ignore-missing-imports", "program.py", cwd=folder)
    wrong = {number for number, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# error")}
    found = {
        int(line.split(":")[1])
        for line in done.stdout.splitlines()
        if line.startswith("program.py:") and "error:" in line
    }
    assert found == wrong, done.stdout + done.stderr
