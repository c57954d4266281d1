"""UCI Adult and a watch, for the benchmarks beside this file."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

COLUMNS = (
    "age workclass fnlwgt education education-num marital-status occupation relationship race sex capital-gain "
    "capital-loss hours-per-week native-country income"
).split()


def read(folder: Path, name: str, **how: Any) -> pd.DataFrame:
    """Reads adult.data or adult.test; missing cells are NaN, outcomes ``>50K`` and ``<=50K``."""
    if name == "adult.test":
        how = {"skiprows": 1, **how}
    frame = pd.read_csv(folder / name, names=COLUMNS, skipinitialspace=True, na_values="?", **how)
    return frame.assign(income=frame["income"].str.rstrip("."))


def seconds(work: Callable[[], Any], least: int = 3, enough: float = 2.0) -> float:
    """Returns the shortest of several runs: others were disturbed."""
    times: list[float] = []
    while len(times) < least or sum(times) < enough and len(times) < 50:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
