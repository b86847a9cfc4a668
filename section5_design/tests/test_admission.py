"""Admission control reads the limits of the container, not those of the machine."""

from pathlib import Path

import pytest

from jobs.admission import load_percent, memory_percent


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def test_memory_without_cached_files_is_read_in_percent_of_the_container_s_limit(tmp_path: Path) -> None:
    statistics = "anon 5\nactive_file 300\ninactive_file 100\n"
    cgroup = write(tmp_path, memory_max="1000\n", memory_current="900\n", memory_stat=statistics)
    assert memory_percent(cgroup) == 50.0


def test_without_a_limit_memory_is_the_machine_s(tmp_path: Path) -> None:
    cgroup = write(tmp_path, memory_max="max\n", memory_current="900\n")
    assert 0 < memory_percent(cgroup) <= 100


@pytest.mark.parametrize(("waiting", "load"), [("0.00", 0.0), ("50.00", 100.0), ("80.00", 400.0)])
def test_the_load_of_a_container_with_a_quota_is_its_own(tmp_path: Path, waiting: str, load: float) -> None:
    pressure = f"some avg10=0.00 avg60={waiting} avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"
    cgroup = write(tmp_path, cpu_max="200000 100000\n", cpu_pressure=pressure)
    assert load_percent(cgroup) == pytest.approx(load)


def test_without_a_quota_the_load_is_the_machine_s(tmp_path: Path) -> None:
    cgroup = write(tmp_path, cpu_max="max 100000\n")
    assert load_percent(cgroup) >= 0
