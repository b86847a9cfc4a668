"""The model agrees with queueing theory where there is a formula."""

import json
import math
import random
import re
from itertools import pairwise
from pathlib import Path

import pytest

from simulation.model import STRATEGIES, Job, Model, Site, percentile, poisson

SECTION = Path(__file__).parent.parent
SIMULATION = SECTION / "simulation"
PEAK = 20_000_000 * 0.15 / 3600  # images a second of a national archive


def jobs(load: float, workers: int, count: float = 40_000, large: float = 0.0, factor: float = 10) -> list[Job]:
    """Exponential service of mean 1; of large ones so many times as long."""
    chance = random.Random(2)

    def make(now: float) -> Job:
        is_large = chance.random() < large
        return Job(now, chance.expovariate(1) * (factor if is_large else 1), is_large)

    mean = 1 + (factor - 1) * large
    rate = load * workers / mean
    return list(poisson(rate, rate, count / rate, make))


def mean_wait(done: list[Job]) -> float:
    settled = done[len(done) // 10 :]
    return sum(job.waited for job in settled) / len(settled)


def erlang_c(load: float, workers: int) -> float:
    """The mean wait of M/M/c with service of mean 1."""
    offered = load * workers
    last = offered**workers / math.factorial(workers) / (1 - load)
    waits = last / (sum(offered**n / math.factorial(n) for n in range(workers)) + last)
    return waits / (workers - offered)


@pytest.mark.parametrize(("load", "workers"), [(0.5, 1), (0.7, 2), (0.8, 8)])
def test_pull_matches_the_erlang_formula(load: float, workers: int) -> None:
    done = Model(Site(workers)).run(jobs(load, workers))
    assert mean_wait(done) == pytest.approx(erlang_c(load, workers), rel=0.1)


def test_random_assignment_matches_independent_queues() -> None:
    done = Model(Site(4, "random")).run(jobs(0.7, 4, 80_000))
    assert mean_wait(done) == pytest.approx(0.7 / 0.3, rel=0.15)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_job_runs_once_after_its_arrival(strategy: str) -> None:
    coming = jobs(0.8, 6, 3_000, 0.05)
    done = Model(Site(6, strategy)).run(coming)
    assert sorted(map(id, done)) == sorted(map(id, coming))
    assert all(job.arrived <= job.began <= job.ended for job in done)


def test_the_strategies_have_their_known_order() -> None:
    waits = [mean_wait(Model(Site(8, name)).run(jobs(0.9, 8, 30_000, 0.03))) for name in STRATEGIES[1:6]]
    assert all(worse > better for worse, better in pairwise(waits[:3]))
    assert waits[-1] == min(waits)


def test_small_work_waits_less_with_size_classes() -> None:
    def small(strategy: str) -> float:
        done = Model(Site(8, strategy)).run(jobs(0.8, 8, 30_000, 0.03, 40))
        return percentile((job.waited for job in done if not job.large), 0.99)

    assert small("pull, size classes") < small("pull, prefetch 1") / 2


def test_a_dead_worker_delays_its_jobs_by_one_lease() -> None:
    coming = jobs(0.5, 8, 5_000)
    done = Model(Site(8, mean_life=200.0)).run(coming)
    assert len(done) == len(coming)
    again = [job for job in done if job.tries > 1]
    assert again
    assert all(job.waited >= 179.9 for job in again)


def test_the_daily_load_has_a_peak() -> None:
    coming = list(poisson(lambda now: 10.0 if 100 <= now < 200 else 1.0, 10.0, 300.0, lambda now: Job(now, 1)))
    peak = sum(100 <= job.arrived < 200 for job in coming)
    assert peak == pytest.approx(1000, rel=0.15)
    assert len(coming) - peak == pytest.approx(200, rel=0.3)


def test_the_model_was_checked_against_the_running_system() -> None:
    """What `simulation/measure.py` found: within 15 % of the system, or 30 ms where most images wait for a wake-up."""
    checks = json.loads((SIMULATION / "measured.json").read_text())["checks"]
    assert [(one["workers"], one["load"]) for one in checks] == [(1, 0.7), (1, 0.85), (2, 0.7), (2, 0.85)]
    for one in checks:
        for what in ("throughput", "median_wait"):
            assert one[what]["model"] == pytest.approx(one[what]["system"], rel=0.15, abs=0.03)


def test_the_machines_of_the_design_follow_from_the_speeds_of_the_readme() -> None:
    readme, design = ((SECTION / name).read_text(encoding="utf-8") for name in ("README.md", "design/README.md"))
    received = re.search(r"\| 0\.5 MB, C-STORE, 4 at once \| (\d+) ", readme)
    worker = re.search(r"one worker (\d+) jobs a second, two ([\d.]+) times that", readme)
    assert received
    assert worker
    jobs = int(float(worker[1]) * float(worker[2]))
    machines = [math.ceil(PEAK / rate) for rate in (int(received[1]), jobs)]
    assert f"| 1 together | 1 together | {machines[0]} / {machines[1]} |" in design
    assert f"{received[1]} images of 0.5 MB a\nsecond received and durable, {jobs} jobs a second" in design


def test_the_cost_of_a_standby_in_the_design_is_the_measured_one() -> None:
    standby = json.loads((SIMULATION / "measured.json").read_text())["standby"]
    alone, replicated = standby["alone"], standby["with a synchronous standby"]
    design = " ".join((SECTION / "design" / "simulation.md").read_text(encoding="utf-8").split())
    assert (
        f"records {replicated / alone:.2f} of that ({replicated:.0f} instances a second instead of {alone:.0f}"
        in design
    )
