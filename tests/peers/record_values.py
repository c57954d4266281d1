"""Records what SHAP's ExactExplainer says of ten records of adult.test against 100 of adult.data: `tests/golden/shap-adult.json`, which
`tests/tests/shap_values.rs` compares with. Rows are told by their record numbers, as `feamoe score` counts them from 1: no cell is written.
"""

import json
import re

import numpy as np
import shap

from model import REPOSITORY, MODELS, Model, adult

# Among the rows it draws are missing cells, a capital-gain of 99999 and a capital-loss.
SEED = 8
TEST_ROWS = 10
# As many as SHAP's maskers take unless told otherwise: of more they draw 100, without a word.
BACKGROUND_ROWS = 100


def chosen_rows():
    """The record numbers of adult.test to explain and those of adult.data to explain against, and both as records."""
    generator = np.random.default_rng(SEED)

    def choose(name, count):
        records = adult(name)
        numbers = np.sort(generator.choice(len(records), count, replace=False)) + 1
        return numbers.tolist(), [records[number - 1] for number in numbers]

    return choose("adult.test", TEST_ROWS), choose("adult.data", BACKGROUND_ROWS)


def explain(function, background, rows):
    """Base value and values by every coalition of raw features, which take a background row's values where they are not in it."""
    masker = shap.maskers.Independent(background, max_samples=len(background))
    # `batch_size` is left alone: with this masker the rows of all coalitions of a record go to the model in one call, whatever it says.
    explanation = shap.explainers.Exact(function, masker)(rows, max_evals=2 ** rows.shape[1], silent=True)
    assert np.ptp(explanation.base_values) < 1e-12, explanation.base_values
    return {"base_value": explanation.base_values.flat[0].item(), "values": explanation.values.tolist()}


def main():
    (test_rows, test), (background_rows, background) = chosen_rows()
    cases = []
    for path in MODELS:
        model = Model(path)
        rows, others = model.coded(test), model.coded(background)
        cases.append(
            {
                "model": path.name,
                "probability": explain(model.probability, others, rows),
                "log-odds": explain(model.log_odds, others, rows),
            }
        )
    document = {
        "shap": shap.__version__,
        "test_rows": test_rows,
        "background_rows": background_rows,
        "cases": cases,
    }
    path = REPOSITORY / "tests/golden/shap-adult.json"
    lists_of_numbers = re.compile(r"\[[^\[\]{}]+\]")
    text = lists_of_numbers.sub(lambda found: re.sub(r"\s+", " ", found[0]), json.dumps(document, indent=1))
    path.write_text(text + "\n")
    print(f"{path}: {len(test_rows)} rows, {len(background_rows)} background rows, {len(cases)} models")


if __name__ == "__main__":
    main()
