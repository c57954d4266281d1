"""What objects show of themselves in a notebook: plain tables, every text escaped.

Colours are those of the page, in light and in dark; only bars of values have their own, which
colour-blind readers can distinguish and which no figure depends on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

#: Most rows, and most levels of a category, that are shown.
MOST_ROWS = 12
MOST_LEVELS = 6

RAISES, LOWERS = "#0072b2", "#d55e00"


class Bar(NamedTuple):
    """A value with a bar as long as its share of the largest one."""

    value: float
    most: float


def table(caption: str, head: Sequence[str], body: Iterable[Sequence[Any]]) -> str:
    """Returns a table whose first column names the rows. Of more than ``MOST_ROWS`` rows the first
    are shown, and the caption says how many there are."""
    rows = [list(row) for row in body]
    if len(rows) > MOST_ROWS:
        caption += f" (the first {MOST_ROWS} of {len(rows):,})"
    columns = "".join(f'<th scope="col">{_cell(name)}</th>' for name in head)
    lines = (
        f'<tr><th scope="row">{_cell(first)}</th>{"".join(f"<td>{_cell(value)}</td>" for value in rest)}</tr>'
        for first, *rest in rows[:MOST_ROWS]
    )
    return (
        f'<table><caption style="text-align:left">{escape(caption)}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _cell(value: Any) -> str:
    if isinstance(value, Bar):
        width = 6 * abs(value.value) / value.most if value.most > 0 else 0
        colour = RAISES if value.value >= 0 else LOWERS
        style = f"display:inline-block;height:.7em;width:{width:.2f}em;background:{colour}"
        return f'{value.value:+.4f} <span aria-hidden="true" style="{style}"></span>'
    return escape(_text(value))


def _text(value: Any) -> str:
    if value is None or value != value:
        return "\N{EN DASH}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(one) for one in value)
    return str(value)


def model(about: dict[str, Any]) -> str:
    card = about["card"] or {}
    facts = [
        ("favourable outcome", about["favourable_outcome"] or None),
        ("threshold", about["threshold"]),
        ("fairness targets", card.get("options", {}).get("fair")),
        ("experts", about["experts"]),
        ("training rows, of all passes", about["training_rows"]),
        ("background rows", about["background_rows"]),
        ("calibrated", about["calibrated"]),
        ("weights", about["weights"]),
        ("bytes", about["bytes"]),
    ]
    features = [
        (feature["name"] or f"feature {place}", feature["kind"], _values(feature))
        for place, feature in enumerate(about["features"], 1)
    ]
    return table(f"feamoe.Model {about['crc32']}", ["", "value"], facts) + table(
        "Features", ["feature", "kind", "values"], features
    )


def _values(feature: dict[str, Any]) -> str:
    if feature["kind"] == "number":
        low, high = feature["range"]
        return f"{_text(low)} to {_text(high)}"
    levels = feature["levels"]
    more = f" and {len(levels) - MOST_LEVELS} more" if len(levels) > MOST_LEVELS else ""
    return ", ".join(levels[:MOST_LEVELS]) + more


def export(about: dict[str, Any], costs: dict[str, Any] | None) -> str:
    facts: list[tuple[str, Any]] = [
        ("bytes", about["bytes"]),
        ("weights", about["weights"]),
        ("experts", about["experts"]),
        ("features", len(about["features"])),
        ("background rows", about["background_rows"]),
    ]
    shown = table(f"feamoe.Export {about['crc32']}", ["", "value"], facts)
    if costs is None:
        return shown
    of = costs["costs"]
    calls = [
        (call["name"], call["instructions"], call["most_instructions"], call["stack_bytes"]) for call in of["calls"]
    ]
    memory = [("flash", part["name"], part["bytes"]) for part in of["flash"]]
    memory += [("RAM", part["name"], part["bytes"]) for part in of["ram"]]
    return (
        shown
        + table(f"Calls on {costs['device']}", ["call", "instructions", "at most", "bytes of stack"], calls)
        + table(f"Memory on {costs['device']}", ["memory", "of", "bytes"], memory)
    )


def explanation(of: Any) -> str:
    if len(of) == 1:
        caption = f"{_outcome(of)}: {of.output[0]:.4f} = {of.base_values[0]:.4f} + the values ({of.method}, {of.space})"
        values, shown = of.values[0], list(of.display_data[0])
        most = max(abs(values), default=0.0)
        order = sorted(range(len(values)), key=lambda player: -abs(values[player]))
        rows = [(of.feature_names[player], shown[player], Bar(values[player], most)) for player in order]
        return table(caption, ["feature", "value", "attribution"], rows)
    importance = of.importance()
    most = max(importance.values(), default=0.0)
    caption = f"{_outcome(of)}: mean magnitude of {of.method} values over {len(of):,} rows, in {of.space}"
    return table(caption, ["feature", "mean magnitude"], [(name, Bar(x, most)) for name, x in importance.items()])


def _outcome(of: Any) -> str:
    return of.output_names or "score"


def recourse(of: Any) -> str:
    summary = of.summary
    facts = [
        ("rows", summary["rows"]),
        ("declined", summary["declined"]),
        ("with recourse", summary["with_recourse"]),
        ("without recourse", summary["without_recourse"]),
        ("mean distance", summary["mean_distance"]),
    ]
    answers = [
        (answer["row"], answer["rank"], answer["distance"], answer["probability"], _changes(answer["changes"]))
        for answer in of.answers()
    ]
    head = ["row", "rank", "distance", "probability then", "changes"]
    return table("feamoe.Recourse", ["", "value"], facts) + table("Ways to a favourable decision", head, answers)


def _changes(changes: dict[str, tuple[Any, Any]]) -> str:
    arrow = "\N{RIGHTWARDS ARROW}"
    return "; ".join(f"{name}: {_text(before)} {arrow} {_text(after)}" for name, (before, after) in changes.items())


def evaluation(of: Any) -> str:
    rates = ["count", "selection_rate", "base_rate", "accuracy"]
    rates += ["true_positive_rate", "false_positive_rate", "precision"]
    by_group = [(_group(row), *(row[name] for name in rates)) for row in groups(of.document)]
    gaps = []
    for row in differences(of.document):
        pair = f"{_group(row)} against {row['reference']}"
        gaps += [
            (pair, name, row[name], _interval(row[f"{name}_low"], row[f"{name}_high"])) for name in MEASURES.values()
        ]
    shown = table("feamoe.Evaluation", ["", "value"], of.overall().items())
    if by_group:
        shown += table("Groups", ["group", *(name.replace("_", " ") for name in rates)], by_group)
    if gaps:
        shown += table("Differences", ["groups", "measure", "value", "95 % interval"], gaps)
    warned = of.document["warnings"]
    return shown + (table("Warnings", ["warning"], [(text,) for text in warned]) if warned else "")


def _interval(low: float, high: float) -> str:
    # NaN: there is none.
    return f"{_text(low)} to {_text(high)}" if low == low else _text(None)


def _group(row: dict[str, Any]) -> str:
    return f"{row['attribute']}: {row['group']}"


def learner(report: dict[str, Any] | None) -> str:
    if report is None:
        return table("feamoe.Learner", ["", "value"], [("rows", 0)])
    measured = report["prequential"]
    names = ["accuracy", "balanced_accuracy", "log_loss"]
    # The first rows wait until there are enough to fit the encoding on.
    rows = ("rows", report["rows"]) if report["rows"] else ("rows that wait for the encoding", measured["rows"])
    facts = [rows, ("experts", report["experts"]), ("threshold", report["threshold"])]
    facts += [(f"{name.replace('_', ' ')}, before learning", measured[name]) for name in names]
    facts += [("events", len(report["events"]) + report["events_dropped"])]
    shown = table("feamoe.Learner", ["", "value"], facts)
    targets = [
        (f"{_group(of)} against {of['reference']}", MEASURES[of["measure"]], of["target"], of["gap"], of["verdict"])
        for of in report["targets"]
    ]
    head = ["groups", "measure", "target", "now", "verdict"]
    return shown + (table("Fairness targets", head, targets) if targets else "")


#: The measures, by the names that fairlearn has for them; ``average_odds_difference`` is
#: AIF360's, and the burdens are this library's own.
MEASURES = {
    "spd": "demographic_parity_difference",
    "impact": "demographic_parity_ratio",
    "eodds": "equalized_odds_difference",
    "eopp": "equal_opportunity_difference",
    "aod": "average_odds_difference",
    "burden": "burden",
    "recourse_burden": "recourse_burden",
}


def groups(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the rates of every group of an evaluation."""
    return [
        {
            "attribute": group["attribute"],
            "group": group["group"],
            "count": group["rows"],
            "selection_rate": _number(group["selection_rate"]),
            "base_rate": _number(group["base_rate"]),
            "accuracy": _number(group["accuracy"]),
            "true_positive_rate": _number(group["tpr"]),
            "true_negative_rate": 1.0 - _number(group["fpr"]),
            "false_positive_rate": _number(group["fpr"]),
            "false_negative_rate": _number(group["fnr"]),
            "precision": _number(group["precision"]),
            "calibration_error": _number(group["calibration_error"]),
            "recourse_burden": _number(group["recourse_burden"]),
            "without_recourse": group["without_recourse"],
            "true_positives": group["tp"],
            "false_positives": group["fp"],
            "true_negatives": group["tn"],
            "false_negatives": group["fn"],
        }
        for group in document["groups"]
    ]


def differences(document: dict[str, Any], corrected: bool = False) -> list[dict[str, Any]]:
    """Returns every group against its reference, with intervals that are corrected for the number of
    comparisons or not."""
    rows = []
    for gaps in document["fairness"]:
        row = {
            "attribute": gaps["attribute"],
            "group": gaps["group"],
            "reference": gaps["reference"],
            "count": gaps["rows"],
            "reference_count": gaps["reference_rows"],
        }
        for key, name in MEASURES.items():
            low, high = gaps[f"{key}_{'corrected' if corrected else 'interval'}"] or (None, None)
            row |= {name: _number(gaps[key]), f"{name}_low": _number(low), f"{name}_high": _number(high)}
        row["too_few"] = ", ".join(MEASURES[one["measure"]] for one in gaps["too_few"])
        rows.append(row)
    return rows


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
