"""Whatever comes in, the answer is a result or a FeamoeError; work can be stopped; threads share."""

import collections
import datetime
import decimal
import fractions
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
import uuid

import numpy as np
import pytest

import feamoe
from feamoe._feamoe import Table

pytestmark = pytest.mark.filterwarnings("ignore")


class Unreadable:
    def __float__(self):
        raise ZeroDivisionError

    def __str__(self):
        raise ZeroDivisionError


class OddDate:
    def isoformat(self):
        return 5


#: Values that a column may contain.
VALUES = [
    None,
    1,
    0,
    -1,
    2.5,
    float("nan"),
    float("inf"),
    -float("inf"),
    1e308,
    5e-324,
    10**400,
    -(10**30),
    2**63,
    2**64,
    2**53 + 1,
    "",
    "a",
    "1",
    "?",
    "\ud800",
    "x" * 3000,
    "\x00",
    "\u00e9",
    "0x1",
    "1e999",
    "\u0661",
    True,
    False,
    1j,
    b"abc",
    bytearray(b"x"),
    [1, 2],
    [],
    {1},
    {},
    (1, 2),
    (),
    object(),
    range(3),
    len,
    type,
    ...,
    uuid.UUID(int=1),
    Unreadable(),
    OddDate(),
    datetime.date(2020, 1, 1),
    datetime.datetime(1, 1, 1),
    datetime.timedelta(1),
    datetime.time(1),
    decimal.Decimal("1.5"),
    decimal.Decimal("NaN"),
    decimal.Decimal("sNaN"),
    fractions.Fraction(1, 3),
    np.float32(1),
    np.float16(2),
    np.int8(3),
    np.uint64(2**64 - 1),
    np.bool_(True),
    np.str_("q"),
    np.datetime64("2020-01-01"),
    np.datetime64("NaT"),
    np.timedelta64(1, "D"),
    np.complex64(1),
    np.longdouble(1),
    np.zeros(()),
    np.zeros((1,)),
    np.zeros((2, 2)),
    np.ma.masked,
    np.array("x"),
    np.void(b"ab"),
]
#: Values that may be given instead of a table.
TABLES = [
    None,
    5,
    1.5,
    "rows",
    b"rows",
    object(),
    {1, 2},
    {},
    [],
    [[]],
    [{}],
    [[1, 2], [3]],
    [[1, "a"]],
    [1, 2],
    (i for i in range(3)),
    np.zeros(3),
    np.zeros((2, 2, 2)),
    np.zeros((2, 3)),
    np.zeros((0, 3)),
    np.zeros((3, 0)),
    np.array(7),
    np.zeros((2, 3), ">f8"),
    np.zeros((2, 3), "c16"),
    np.zeros((2, 3), "S4"),
    np.zeros((2, 3), object),
    np.zeros(2, [("a", "f8"), ("b", "U1")]),
    np.ma.masked_array(np.zeros((2, 3)), np.eye(2, 3)),
    np.zeros((4, 6))[::2, ::2],
    np.asfortranarray(np.zeros((2, 3))),
]
DTYPES = [">f8", ">i4", ">f4", "<u8", "f2", "i1", "u2", "g", ">u2", "?", "c8", "S3", "U3", "m8[D]", "M8[s]", "V4"]


def column(draw: random.Random, rows: int):
    """Draws a column."""
    kind = draw.randrange(16)
    few = draw.sample(VALUES, 2)
    mixed = [draw.choice(VALUES if kind < 4 else few) for _ in range(rows)]
    if kind < 8:
        return mixed
    array = np.empty(rows, object)
    for place, value in enumerate(mixed):
        array[place] = value
    return [
        array,
        np.arange(rows * 2)[::2],
        np.arange(rows).astype(draw.choice(DTYPES)),
        np.ma.masked_array(np.arange(rows, dtype=float), mask=np.arange(rows) % 2 == 0),
        draw.choice([np.zeros((rows, 2)), np.array(3), np.zeros((rows, 1, 1))]),
        (value for value in mixed),
        draw.choice([5, None, "abc", b"abc", {1, 2}, {1: 2}, object()]),
        np.full(rows, draw.choice([np.inf, np.nan, 1e300, -0.0])),
    ][kind - 8]


NAMES = [
    ["a", "b", "c"],
    ["a", "b", "c", "d"],
    ["a", "b"],
    [],
    [1, 2, 3],
    ["a", "b", None],
    ["", "b", "c"],
    [("a", 1), "b", "c"],
    ["a", "b", "c", "y"],
    ["a", "b", "c", "\ud800"],
    ["a", " a", "b", "c"],
    ["a.2", "a", "b"],
]


@pytest.fixture(scope="module")
def learner():
    random = np.random.default_rng(0)
    rows = {"a": random.normal(size=3000), "b": random.choice(["u", "v", "w"], 3000), "c": random.integers(0, 9, 3000)}
    return feamoe.Learner.fit(rows, rows["a"] + (rows["b"] == "u") > 0, warmup=500, background=50)


@pytest.fixture(scope="module")
def model(learner):
    return learner.export()


def answers(what):
    """Runs it; anything but an answer or a FeamoeError is a fault of ours. Returns whether it is an answer."""
    try:
        what()
    except feamoe.FeamoeError as error:
        assert str(error)
        assert (error.column, error.row, error.found, error.expected) is not None
        return False
    return True


@pytest.mark.parametrize("seed", range(12))
def test_hostile_tables_give_an_answer_or_an_error(learner, model, seed):
    draw = random.Random(seed)
    counts = collections.Counter()
    copy = pickle.loads(pickle.dumps(learner))
    for _ in range(25):
        rows = draw.choice([0, 1, 5, 5, 40])
        names = draw.choice(NAMES)

        def drawn(rows=rows, names=names):
            return {name: column(draw, rows if draw.random() < 0.9 else rows + 1) for name in names}

        def records(rows=rows, names=names):
            return [{name: draw.choice(VALUES) for name in names} for _ in range(rows)]

        def sane(rows=rows, draw=draw):
            # A valid table except for one column.
            sound = {"a": [0.5] * rows, "b": ["u"] * rows, "c": [3] * rows}
            return sound | {draw.choice("abc"): [draw.choice(VALUES)] * rows}

        row = {name: draw.choice(VALUES) for name in names}
        for what in [
            lambda: model.score(drawn()),
            lambda: model.score(sane()),
            lambda: model.notes(sane()),
            lambda: model.explain(sane()),
            lambda: model.recourse(sane()),
            lambda: model.evaluate(sane(), column(draw, 5)),
            lambda: model.score(records()),
            lambda: model.score(draw.choice(TABLES)),
            lambda row=row: model.score_one(row),
            lambda: model.score_one({"a": draw.choice(VALUES), "b": draw.choice(VALUES), "c": draw.choice(VALUES)}),
            lambda: feamoe.infer_schema(drawn(), draw.choice([None, "y", "a"])),
            lambda: feamoe.infer_schema(sane(), "b"),
            lambda row=row: feamoe.Learner().learn_one(row, draw.choice(VALUES)),
            lambda rows=rows: feamoe.Learner().learn_many(drawn(), column(draw, rows)),
            lambda rows=rows: feamoe.Learner.fit(sane(), column(draw, rows)),
            lambda row=row: copy.predict_proba_one(row),
            lambda: copy.predict_proba_many(sane()),
            lambda rows=rows: copy.learn_many(sane(), column(draw, rows)),
            lambda row=row: copy.learn_one(row, draw.choice(VALUES)),
            lambda: feamoe.Learner(
                **{
                    draw.choice(
                        [
                            "target",
                            "positive",
                            "negative",
                            "protected",
                            "features",
                            "schema",
                            "fair",
                            "experts",
                            "threshold",
                            "seed",
                            "lr",
                            "what",
                        ]
                    ): draw.choice(VALUES)
                }
            ),
        ]:
            counts[answers(what)] += 1
    # Both cases must occur for the test to mean something.
    assert counts[True] > 40
    assert counts[False] > 100


def test_frames_of_any_column_give_an_answer_or_an_error(model):
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    arrow = pytest.importorskip("pyarrow")
    rows = 5
    columns = [
        pandas.array([1, None, 3, 4, 5], dtype="Int64"),
        pandas.array(["a", None, "b", "c", "d"], dtype="string"),
        pandas.Categorical(["a", "b", None, "a", "b"]),
        pandas.Categorical([1, 2, None, 1, 2]),
        pandas.date_range("2020", periods=rows, tz="UTC"),
        pandas.period_range("2020", periods=rows),
        pandas.interval_range(0, rows),
        pandas.timedelta_range(0, periods=rows),
        pandas.array([True, None, False, True, True], dtype="boolean"),
        [pandas.NA, pandas.NaT, None, 1, "x"],
        [1j] * rows,
        [b"x"] * rows,
        [[1]] * rows,
        [object()] * rows,
    ]
    for values in columns:
        frame = pandas.DataFrame({"a": [0.5] * rows, "b": values, "c": values})
        for change in (
            lambda f: f,
            lambda f: f.set_index("c", drop=False),
            lambda f: f.rename(columns={"c": 7}),
            lambda f: f[:0],
        ):
            answers(lambda frame=frame, change=change: model.score(change(frame)))
    for values in (
        [1] * rows,
        ["a"] * rows,
        [None] * rows,
        [[1]] * rows,
        [{"q": 1}] * rows,
        [b"x"] * rows,
        [datetime.date(2020, 1, 1)] * rows,
        [decimal.Decimal("1.1")] * rows,
        [datetime.timedelta(1)] * rows,
    ):
        answers(lambda values=values: model.score(polars.DataFrame({"a": [0.5] * rows, "b": values, "c": values})))
        answers(lambda values=values: model.score(arrow.table({"a": [0.5] * rows, "b": values, "c": values})))
    for empty in (pandas.DataFrame(), polars.DataFrame(), arrow.table({}), pandas.DataFrame(index=range(3))):
        assert not answers(lambda empty=empty: model.score(empty))
    doubled = pandas.DataFrame([[0.5, "u", 3, 9.0]], columns=["a", "b", "c", "a"])
    assert model.score(doubled) == model.score(doubled.iloc[:, :3])


def test_errors_say_where_and_what(model):
    with pytest.raises(feamoe.FeamoeError) as raised:
        model.score({"a": [1.0, 2.0], "b": ["u", "v"], "c": [1, "many"]})
    error = raised.value
    assert (error.column, error.row, error.found, error.expected) == ("c", 2, "many", "a number")
    with pytest.raises(feamoe.FeamoeError) as raised:
        model.score({"a": [1.0], "c": [1]})
    assert (raised.value.column, raised.value.found) == ("b", '"a", "c"')
    with pytest.raises(feamoe.FeamoeError) as raised:
        model.score({"a": [1.0, 1j], "b": ["u", "v"], "c": [1, 2]})
    error = raised.value
    assert (error.column, error.row, error.found) == ("a", 2, "a value of type complex")
    assert 'column "a", row 2: found a value of type complex, expected a number, text' in str(error)
    with pytest.raises(feamoe.FeamoeError) as raised:
        model.score_one({"a": 1.0, "b": [1], "c": 2})
    assert raised.value.column == "b"
    with pytest.raises(feamoe.FeamoeError) as raised:
        model.score({"a": 5, "b": ["u"], "c": [1]})
    assert (raised.value.column, raised.value.found) == ("a", "a value of type int")
    for plain in (
        lambda: feamoe.Model(b"junk"),
        lambda: model.recourse({}, margin=-1),
        lambda: feamoe.Learner(bins=-5),
    ):
        with pytest.raises(feamoe.FeamoeError) as raised:
            plain()
        assert raised.value.column is None
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.column, again.row) == (str(error), "a", 2)


@pytest.mark.parametrize("kind", ["model", "device", "integer", "checkpoint", "start"])
def test_damaged_bytes_are_refused(learner, model, kind):
    start = feamoe.Learner()
    start.learn_many({"a": list(range(300)), "b": list("uv" * 150)}, [0, 1] * 150)
    sound = {
        "model": model.to_bytes,
        "device": model.export().to_bytes,
        "integer": model.export(quantize="i8").to_bytes,
        "checkpoint": learner.checkpoint,
        "start": start.checkpoint,
    }[kind]()
    load = feamoe.Learner.from_checkpoint if kind in ("checkpoint", "start") else feamoe.Model
    load(sound)
    draw = random.Random(kind)
    for place in [*range(64), *(draw.randrange(len(sound)) for _ in range(150))]:
        assert not answers(lambda place=place: load(sound[:place]))
        flipped = bytearray(sound)
        flipped[place] ^= 1 << draw.randrange(8)
        assert not answers(lambda flipped=flipped: load(bytes(flipped)))
    assert not answers(lambda: load(sound + b"\0"))


def test_missing_files_and_folders_are_said(tmp_path):
    for load in (feamoe.Model, feamoe.Learner.from_checkpoint):
        for path in (tmp_path / "none", tmp_path, "\0"):
            with pytest.raises(feamoe.FeamoeError):
                load(path)
    with pytest.raises(feamoe.FeamoeError, match="schema"):
        feamoe.Learner(schema=tmp_path / "none.toml")


#: Code that runs first in each of the programs that are interrupted.
PRELUDE = """
import signal, sys, threading, time
import numpy as np, feamoe
def data(rows):
    random = np.random.default_rng(0)
    x = {f"x{n}": random.normal(size=rows) for n in range(12)}
    return x, x["x0"] + x["x1"] > 0
few, outcome = data(6000)
learner = feamoe.Learner.fit(few, outcome)
model = learner.export()
x, y = data(1_000_000)
table = feamoe._learner.table(x)
def stop():
    print("started", flush=True)
def stopped(work):
    stop()
    try:
        work()
        print("ended by itself", flush=True)
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), flush=True)
    # All is usable afterwards.
    assert len(model.score(few)) == 6000
    learner.learn_one({name: 0.5 for name in few}, True)
    assert feamoe.Learner.fit(few, outcome).rows == 6000
    print("usable", flush=True)
"""
LONG = {
    "fit": "stopped(lambda: feamoe.Learner.fit(x, y, epochs=50))",
    "fit, shuffled": "stopped(lambda: feamoe.Learner.fit(x, y, epochs=50, shuffle=True))",
    "fit, watched": "stopped(lambda: feamoe.Learner.fit(x, y, epochs=50, verbose=lambda *_: None))",
    "learn_many": "stopped(lambda: [learner.learn_many(table, None) for _ in range(100)] or learner.learn_many(x, y))",
    "predict_proba_many": "stopped(lambda: [learner.predict_proba_many(x) for _ in range(100)])",
    "explain": "stopped(lambda: model.explain(x, method='exact'))",
    "recourse": "stopped(lambda: model.recourse(x))",
    "evaluate": "stopped(lambda: [model.evaluate(x, y) for _ in range(100)])",
    "score": "stopped(lambda: [model.score(table) for _ in range(1000)])",
}
LONG["learn_many"] = "stopped(lambda: [learner.learn_many(x, y) for _ in range(100)])"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("what", LONG)
def test_control_c_stops_long_work(what):
    with subprocess.Popen([sys.executable, "-c", PRELUDE + LONG[what]], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "started\n"
        time.sleep(0.4)
        sent = time.monotonic()
        running.send_signal(signal.SIGINT)
        said, _, at = running.stdout.readline().partition(" ")
        assert said == "interrupted"
        # On an idle machine it takes up to a second; tests share theirs.
        assert float(at) - sent < 3
        assert running.stdout.readline() == "usable\n"
        assert running.wait(60) == 0


def test_others_run_while_values_are_exact(model):
    count, done = 0, threading.Event()

    def work():
        rows = {"a": np.linspace(-2, 2, 4000), "b": ["u", "v"] * 2000, "c": np.arange(4000) % 9}
        model.explain(rows, method="exact")
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    while not done.is_set():
        count += 1
    worker.join()
    # If the thread had to wait for the GIL, it would count only a few times.
    assert count > 20_000


def test_threads_share_a_model_and_a_learner(model, learner):
    copy = pickle.loads(pickle.dumps(learner))
    before = copy.rows
    rows = {"a": np.linspace(-2, 2, 2000), "b": ["u", "v"] * 1000, "c": np.arange(2000) % 9}
    labels = rows["a"] > 0
    row = {"a": 0.5, "b": "u", "c": 3}
    expected, failed = model.score(rows), []

    def work(number):
        try:
            for _ in range(5):
                assert np.array_equal(model.score(rows), expected)
                assert model.score_one(row) == model.score([row])[0]
                copy.learn_many(rows, labels)
                copy.predict_proba_many(rows)
                for _ in range(50):
                    copy.learn_one(row, True)
                    copy.predict_proba_one(row)
                copy.checkpoint()
                copy.export()
                copy.report()
        except BaseException as error:  # noqa: BLE001 - said below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failed
    assert not any(thread.is_alive() for thread in threads)
    assert copy.rows == before + 6 * 5 * (2000 + 50)


def test_threads_start_one_learner_together(monkeypatch):
    kept = feamoe._feamoe.Learner

    def slow(*arguments):
        # Lets another thread reach the same place.
        time.sleep(0.01)
        return kept(*arguments)

    monkeypatch.setattr(feamoe._feamoe, "Learner", slow)
    for _ in range(5):
        started = feamoe.Learner()
        barrier = threading.Barrier(8)

        def work(started=started, barrier=barrier):
            barrier.wait()
            started.learn_one({"a": 1.0}, True)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert started.rows == 8


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="timers")
def test_a_handler_of_a_signal_may_use_the_learner(learner):
    copy = pickle.loads(pickle.dumps(learner))
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(copy.rows))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        rows = {"a": np.linspace(-2, 2, 100_000), "b": ["u", "v"] * 50_000, "c": np.arange(100_000) % 9}
        copy.learn_many(rows, rows["a"] > 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen


def test_a_table_keeps_nothing_of_what_changes_later():
    values = np.arange(4.0)
    kept = Table.from_columns(["a"], [values], "t")
    values[:] = 7
    assert len(kept) == 4
