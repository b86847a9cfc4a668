"""The CSV files of statsmodels and scikit-learn, compared with pandas."""

import importlib.util
import os
from pathlib import Path

import pytest

from csv_statistics import compute_statistics

PACKAGES = ("statsmodels", "sklearn")
# Files that pandas misreads: the reason, and the correct numbers of rows and columns.
EXCEPTIONS = {
    "unemp.csv": ("six title lines; the rows lack the last, empty cell of the header", 203, 5),
    "scotland_population.csv": ("twelve title lines, one of them over several lines, and footnotes", 40, 14),
    "dietox.csv": ("names of rows without a name in the header: pandas makes them its index", 861, 8),
    "breast_cancer.csv": ("four names above 31 columns: pandas makes an index of 27", 569, 31),
    "wine_data.csv": ("five names above 14 columns: pandas makes an index of 9", 178, 14),
}


def find_files() -> list[Path]:
    """Return the CSV files of the packages, without importing them."""
    specs = [importlib.util.find_spec(name) for name in PACKAGES]
    if not importlib.util.find_spec("pandas") or None in specs:
        return []
    folders = [Path(spec.origin).parent for spec in specs if spec and spec.origin]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.name.endswith((".csv", ".csv.gz")))


FILES = find_files()


def test_corpus_packages_are_installed() -> None:
    if not FILES and not os.environ.get("CI"):
        pytest.skip("missing: pip install -r requirements-test.txt")
    assert len(FILES) > 200


@pytest.mark.parametrize("path", [p for p in FILES if p.name not in EXCEPTIONS], ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")
def test_rows_and_statistics_match_pandas(path: Path) -> None:
    import pandas as pd

    statistics = compute_statistics(path)
    encoding = {"latin-1": "latin-1", "windows-1252": "cp1252"}.get(statistics.encoding, "utf-8-sig")
    frame = pd.read_csv(path, encoding=encoding, sep=statistics.dialect.delimiter, float_precision="round_trip")
    assert (statistics.rows, len(statistics.columns)) == frame.shape
    for column, name in zip(statistics.columns, frame.columns, strict=True):
        expected = frame[name]
        is_number = pd.api.types.is_numeric_dtype(expected) and expected.dtype != bool and expected.count() > 0
        assert column.is_numeric == is_number, name
        if is_number:
            largest = float(expected.abs().max())
            assert column.moments.count == expected.count(), name
            assert column.moments.mean == pytest.approx(float(expected.mean()), rel=1e-9, abs=1e-14 * largest)
        if is_number and expected.count() > 1:
            deviation = column.moments.standard_deviation()
            assert deviation == pytest.approx(float(expected.std()), rel=1e-9, abs=1e-14 * largest), name


@pytest.mark.parametrize("path", [p for p in FILES if p.name in EXCEPTIONS], ids=lambda path: path.name)
def test_files_that_pandas_misreads_have_the_listed_shape(path: Path) -> None:
    statistics = compute_statistics(path)
    assert (statistics.rows, len(statistics.columns)) == EXCEPTIONS[path.name][1:]


def test_column_below_title_lines_has_correct_statistics() -> None:
    for path in FILES:
        if path.name == "unemp.csv":
            value = next(column for column in compute_statistics(path).columns if column.name == "Value")
            assert (value.moments.count, value.moments.minimum, value.moments.maximum) == (203, 3.4, 10.7)
            break
    else:
        pytest.skip("statsmodels is not installed")
