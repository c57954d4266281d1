"""What objects show of themselves in a notebook: whole tables, no text of the data as markup."""

from html.parser import HTMLParser

import numpy as np
import pytest

import feamoe

# Names, levels and outcomes that would do harm if they were not escaped.
EVIL = [
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "' onmouseover='x"),
    *("&lt;b&gt; & </table>", "<!--"),
]
ALLOWED = {
    "table": set(),
    "caption": {"style"},
    "thead": set(),
    "tbody": set(),
    "tr": set(),
    "th": {"scope"},
    "td": set(),
    "span": {"style", "aria-hidden"},
}


class Page(HTMLParser):
    """Reads a page: its texts; every element must be one of ours, and closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.cells, self.texts, self.tables = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        assert tag in ALLOWED and {name for name, _ in attributes} <= ALLOWED[tag], (tag, attributes)
        attributes = dict(attributes)
        if tag == "th":
            assert attributes["scope"] in ("col", "row")
        if tag == "table":
            assert not self.open
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append(0)
        if tag in ("td", "th"):
            self.tables[-1][-1] += 1
        if "style" in attributes:
            assert "color:" not in attributes["style"].replace("background:", "")
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def handle_comment(self, data):
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def shown(of):
    """Returns the texts of what an object shows, after the checks that hold for each."""
    html = of._repr_html_()
    page = Page(html)
    assert html.count("<caption") == html.count("<table") == len(page.tables) > 0
    assert all(len(set(rows)) == 1 for rows in page.tables), page.tables
    return page.texts


@pytest.fixture(scope="module")
def made():
    draw = np.random.default_rng(1)
    n = 6000
    number, level, group = EVIL[1], EVIL[2], EVIL[4]
    rows = {
        number: draw.normal(size=n).tolist(),
        level: [None if draw.random() < 0.1 else EVIL[i] for i in draw.integers(0, 4, n)],
        group: [EVIL[i] for i in draw.integers(0, 2, n)],
    }
    merit = [x + draw.normal() - (of == EVIL[1]) for x, of in zip(rows[number], rows[group])]
    y = [EVIL[0] if one > 0 else EVIL[3] for one in merit]
    protected = {group: {"privileged": EVIL[0], "as_feature": True}}
    learner = feamoe.Learner.fit(rows, y, target=EVIL[3], positive=EVIL[0], protected=protected, fair={"spd": 0.2})
    model = learner.export()
    few = {name: values[:30] for name, values in rows.items()}
    return {
        "learner": learner,
        "model": model,
        "export": model.export(device=feamoe.devices()[0], quantize="i8"),
        "nameless": model.export(names=False),
        "explanation": model.explain(few),
        "one": model.explain({name: [values[0]] for name, values in rows.items()}),
        "group": model.explain({name: [values[0]] for name, values in rows.items()}, groups=[f"g={number}+{level}"]),
        "recourse": model.recourse(few, increase_only=[number]),
        "evaluation": model.evaluate(rows, y),
        "fresh": feamoe.Learner(),
        "waiting": feamoe.Learner.fit(few, y[:30], target="y", positive=EVIL[0]),
    }


def test_nothing_of_the_data_is_markup(made):
    texts = {name: " ".join(shown(of)) for name, of in made.items()}
    for name in ("model", "one", "explanation", "evaluation", "recourse", "learner"):
        assert any(evil in texts[name] for evil in EVIL), (name, texts[name])
    assert all(level in texts["model"] for level in EVIL[:4])
    assert EVIL[0] in texts["evaluation"] and EVIL[4] in texts["evaluation"]
    for of in made.values():
        assert "<script" not in of._repr_html_() and "<img" not in of._repr_html_()


def test_figures_are_those_of_the_object(made):
    model, evaluation = made["model"], made["evaluation"]
    assert f"{len(model.to_bytes()):,}" in shown(model)
    assert f"{evaluation.overall()['accuracy']:.4g}" in shown(evaluation)
    gap = evaluation.differences()["demographic_parity_difference"].iloc[0]
    assert f"{gap:.4g}" in shown(evaluation)
    assert made["learner"].report()["targets"][0]["verdict"] in shown(made["learner"])
    one = made["one"]
    assert f"{one.values[0][0]:+.4f} " in shown(one)
    cost = made["export"].costs["costs"]["calls"][0]["instructions"]
    assert f"{cost:,}" in shown(made["export"])


def test_what_is_left_out_is_said():
    names = [f"x{place}" for place in range(30)]
    draw = np.random.default_rng(2)
    rows = {name: draw.normal(size=800) for name in names} | {"town": [f"t{i % 20}" for i in range(800)]}
    model = feamoe.Learner.fit(rows, rows["x3"] > 0).export()
    text = " ".join(shown(model))
    assert "(the first 12 of 31)" in text and "x12" not in text
    text = " ".join(shown(feamoe.Learner.fit({"town": rows["town"], "x3": rows["x3"]}, rows["x3"] > 0).export()))
    assert "t5 and 14 more" in text


def test_hidden_and_equal_values_have_bars_of_their_length(made):
    html = made["one"]._repr_html_()
    widths = [float(part.partition("em")[0]) for part in html.split("width:")[1:]]
    values = sorted(np.abs(made["one"].values[0]), reverse=True)
    assert widths == pytest.approx([6 * value / values[0] for value in values], abs=0.006)
    # Without values there are no bars, and nothing is divided by zero.
    rows = {"x": [float(i % 2) for i in range(400)]}
    same = feamoe.Learner.fit(rows, [i % 4 < 2 for i in range(400)]).export()
    shown(same.explain({"x": [1.0]}, background={"x": [1.0]}))


@pytest.mark.parametrize("method", ["path", "frozen", "exact"])
def test_an_explanation_of_no_rows_has_its_shape(method):
    rows = {"a": list(range(300)), "b": ["x", "y", "z"] * 100}
    model = feamoe.Learner.fit(rows, [0, 1] * 150).export()
    none = model.explain({"a": [], "b": []}, method=method)
    assert none.values.shape == none.gate_values.shape == none.data.shape == (0, 2)
    assert list(none.to_frame().columns) == ["a", "b"] and none.importance() == {"a": 0.0, "b": 0.0}
    assert repr(none) and none._repr_html_()
