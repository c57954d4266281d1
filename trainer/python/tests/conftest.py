"""Data that several test files share."""

import os
from pathlib import Path

import pandas as pd
import pytest

COLUMNS = (
    "age workclass fnlwgt education education-num marital-status occupation relationship race sex capital-gain "
    "capital-loss hours-per-week native-country income"
).split()


def adult(name: str, skiprows: int) -> pd.DataFrame:
    """Reads UCI Adult from the folder that FEAMOE_DATA names."""
    folder = os.environ.get("FEAMOE_DATA")
    if folder is None:
        pytest.skip("FEAMOE_DATA is not set: it names a folder with adult.data and adult.test")
    frame = pd.read_csv(
        Path(folder) / name, names=COLUMNS, skipinitialspace=True, na_values="?", skiprows=skiprows
    )
    frame["income"] = frame["income"].str.rstrip(".")
    return frame


@pytest.fixture(scope="session")
def adult_train() -> pd.DataFrame:
    return adult("adult.data", 0)


@pytest.fixture(scope="session")
def adult_test() -> pd.DataFrame:
    return adult("adult.test", 1)
