"""The card of `feamoe report --card`, read by the hub's own package, offline."""

import json
import os
import random
import subprocess

import pytest
from huggingface_hub import ModelCard

SCHEMA = """
[target]
column = "paid"
positive = ["yes"]
[[protected]]
column = "town"
privileged = ["a"]
"""

# A careless YAML reader would read each of these as something else, or fail.
NAMES = [
    "loans.feamoe",
    "- a: b",
    "it's \"so\" # {x}: [y]",
    "two\nlines\n---\nlicense: evil",
    "\t!!python.name:os.system",
    "&a *b | > % @ `",
    "yes",
    "1e3",
    "next\x85line \u2028 \u2029 \ufeff \x7f \x9f \x01",
    "Zürich 東京 🙂 \U0001ffff",
    "back\\slash \\u0041",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    command = os.environ.get("FEAMOE_COMMAND")
    if command is None:
        pytest.skip("FEAMOE_COMMAND is not set: it names the command")
    folder = tmp_path_factory.mktemp("cards")

    def run(*words):
        return subprocess.run([command, *words], cwd=folder, check=True, capture_output=True).stdout

    (folder / "schema.toml").write_text(SCHEMA)
    drawn = random.Random(1)
    rows = [(drawn.choice("ab"), drawn.randrange(100)) for _ in range(600)]
    lines = [f"{town},{age},{'yes' if age + drawn.randrange(40) > 70 else 'no'}" for town, age in rows]
    (folder / "rows.csv").write_text("\n".join(["town,age,paid", *lines, ""]))
    run("train", "rows.csv", "--schema", "schema.toml", "--fair", "spd=0.1", "-o", "m.feamoe")
    return folder, run


@pytest.mark.parametrize("name", NAMES)
def test_the_hub_reads_names_as_they_are(run, name):
    folder, command = run
    (folder / name).write_bytes((folder / "m.feamoe").read_bytes())
    (folder / f"{name}.csv").write_bytes((folder / "rows.csv").read_bytes())
    command("report", f"./{name}", "--data", f"./{name}.csv", "-o", "page.html", "--card", "README.md")
    card = ModelCard.load(folder / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == ("feamoe", "tabular-classification")
    assert card.data.license is None
    assert card.data.model_name == name
    assert {result.dataset_name for result in card.data.eval_results} == {f"./{name}.csv"}
    # Written again by the hub's package, the card reads the same.
    again = ModelCard(str(card))
    assert again.data.to_dict() == card.data.to_dict()


def test_the_hub_reads_the_figures_of_evaluate(run):
    folder, command = run
    command("report", "m.feamoe", "--data", "rows.csv", "-o", "page.html", "--card", "README.md")
    card = ModelCard.load(folder / "README.md")
    evaluated = json.loads(command("evaluate", "m.feamoe", "rows.csv", "--format", "json"))
    figures = {result.metric_type: result.metric_value for result in card.data.eval_results}
    keys = {"roc_auc": "auc", "expected_calibration_error": "calibration_error"}
    (gaps,) = evaluated["fairness"]
    for kind, value in figures.items():
        expected = evaluated.get(keys.get(kind, kind), gaps.get(kind))
        assert value == pytest.approx(expected, rel=1e-6), kind
    assert set(figures) >= {"accuracy", "balanced_accuracy", "roc_auc", "log_loss", "spd", "aod", "eodds", "eopp"}
    assert set(card.data.metrics) <= set(figures)
    assert {result.dataset_revision for result in card.data.eval_results} == {card_sha(folder / "rows.csv")}


def card_sha(path):
    return subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout.split()[0]
