"""Run the model, draw the charts of the design, print the table of its conclusions.

`make bench` installs what it needs (matplotlib); then: `python section5_design/simulation/run.py`, some five minutes.
Service times are those that measure.py found on the running system; 3 of 100 images are large.
"""

import json
import random
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

SECTION = Path(__file__).parent.parent
sys.path.insert(0, str(SECTION))

import matplotlib as mpl  # noqa: E402

mpl.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from simulation.model import STRATEGIES, Job, Model, Site, percentile, poisson  # noqa: E402

MEASURED = json.loads((SECTION / "simulation" / "measured.json").read_text())
OVERHEAD = max(one["overhead"] for one in MEASURED["checks"])  # small jobs are claimed 16 at a time: no turnaround
PICTURES = SECTION / "design"
LARGE = 0.03
SITES = {"clinic": 20_000, "hospital group": 400_000, "national archive": 20_000_000}  # images a day
# The percentage of a day's images in each hour: a morning peak of 15 %, a second one, hardly any at night.
HOURS = [0.4, 0.3, 0.2, 0.2, 0.3, 0.7, 2, 5, 10, 15, 13, 9, 6, 8, 9, 7, 5, 3, 2, 1.4, 1, 0.7, 0.5, 0.3]
GOAL = 30.0  # seconds, for 95 % of the images
PRICE = 0.04  # US dollars for a core and an hour: an assumption, about the price of a cloud
SLOWER = 1.0 / median(MEASURED["service"]["small"])
ANALYSES = {"the analysis that ships": 1.0, "one that takes 1 s a small image": SLOWER}


def service(factor: float = 1.0, seed: int = 3) -> Callable[[float], Job]:
    """Return a factory of jobs with the measured durations, times a factor."""
    chance = random.Random(seed)

    def make(now: float) -> Job:
        large = chance.random() < LARGE
        return Job(now, factor * chance.choice(MEASURED["service"]["large" if large else "small"]), large)

    return make


def mean_service(factor: float = 1.0) -> float:
    """Return the mean work per image in seconds."""
    small, large = (sum(MEASURED["service"][name]) / 20 for name in ("small", "large"))
    return float(factor * ((1 - LARGE) * small + LARGE * large))


def waits(strategy: str, load: float, workers: int = 8, count: int = 60_000, **how: Any) -> dict[str, float]:
    """Return the mean wait, and the 99th percentile for small images, in mean service times."""
    rate = load * workers / mean_service()
    done = Model(Site(workers, strategy, OVERHEAD, **how)).run(poisson(rate, rate, count / rate, service()))
    mean = mean_service()
    return {
        "mean": sum(job.waited for job in done) / len(done) / mean,
        "small99": percentile((job.waited for job in done if not job.large), 0.99) / mean,
        "p95": percentile((job.waited for job in done), 0.95) / mean,
    }


def strategies(pool: ProcessPoolExecutor) -> None:
    """Plot waiting against load for each assignment."""
    loads = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95]
    found = {name: list(pool.map(waits, [name] * len(loads), loads)) for name in STRATEGIES}
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2))
    for axis, key, title in ((axes[0], "mean", "mean wait"), (axes[1], "small99", "wait of 99 of 100 small images")):
        for name, values in found.items():
            axis.plot(loads, [value[key] for value in values], marker="o", markersize=3, label=name)
        axis.set(yscale="log", xlabel="load of 8 workers", title=f"{title}\n(in mean service times)")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8, loc="upper left")
    save(figure, "waiting.png")
    for name, values in found.items():
        at = values[loads.index(0.9)]
        print(f"load 0.9, {name}: mean {at['mean']:.1f}, small 99 of 100 {at['small99']:.1f} mean service times")


def scale(pool: ProcessPoolExecutor) -> None:
    """Plot the wait from 1 to 1,000 workers at the same load."""
    counts = [1, 3, 10, 30, 100, 300, 1000]
    figure, axis = plt.subplots(figsize=(7, 4))
    for name in ("round robin", "power of two", "shortest queue", "pull, prefetch 1", "pull, size classes"):
        runs = [pool.submit(waits, name, 0.9, many, 60_000 + 200 * many) for many in counts]
        means = [run.result()["mean"] for run in runs]
        axis.plot(counts, means, marker="o", markersize=3, label=name)
        print(f"load 0.9, {name}: " + ", ".join(f"{m:.2f} with {n}" for n, m in zip(counts, means, strict=True)))
    axis.set(xscale="log", yscale="log", xlabel="workers", title="mean wait at load 0.9 (in mean service times)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save(figure, "scale.png")


def troubles(pool: ProcessPoolExecutor) -> None:
    """Plot the wait with slow workers and with workers that crash."""
    kinds: dict[str, dict[str, Any]] = {
        "none": {},
        "one of 8 is four times as slow": {"stragglers": 0.125},
        "each dies every 5 minutes": {"mean_life": 300.0},
    }
    names = ("round robin", "shortest queue", "pull, prefetch 4", "pull, prefetch 1", "pull, size classes")
    runs = {(name, kind): pool.submit(waits, name, 0.75, **how) for name in names for kind, how in kinds.items()}
    figure, axis = plt.subplots(figsize=(9, 4))
    for place, kind in enumerate(kinds):
        heights = [runs[name, kind].result()["p95"] for name in names]
        axis.bar([n + place * 0.27 - 0.27 for n in range(len(names))], heights, 0.25, label=kind)
        for name, height in zip(names, heights, strict=True):
            print(f"load 0.75, {name}, trouble {kind}: 95 of 100 wait at most {height:.1f} mean service times")
    axis.set(
        yscale="log", xticks=range(len(names)), title="wait of 95 of 100 images at load 0.75 (in mean service times)"
    )
    axis.set_xticklabels(names, fontsize=8)
    axis.legend(title="trouble", fontsize=8)
    axis.grid(axis="y", alpha=0.3)
    save(figure, "troubles.png")


def wait95(rate: float, workers: int, factor: float, seconds: float) -> float:
    """Return the 95th percentile of waiting at a steady rate."""
    site = Site(workers, "pull, size classes", OVERHEAD)
    done = Model(site).run(poisson(rate, rate, seconds, service(factor)))
    return percentile((job.waited for job in done), 0.95)


def needed(rate: float, factor: float) -> int:
    """Return the fewest workers whose 95th percentile is under GOAL, from ten minutes of arrivals or 2,000 images."""
    seconds = max(600.0, 2000 / rate)
    low = max(1, int(rate * mean_service(factor)))
    workers = low
    while wait95(rate, workers, factor, seconds) > GOAL:
        workers = max(workers + 1, int(workers * 1.02))
    return workers


def sizes(pool: ProcessPoolExecutor) -> None:
    """Plot workers and cost for each site, by the hour."""
    costs: dict[str, tuple[float, float]] = {}
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2))
    for axis, (analysis, factor) in zip(axes, ANALYSES.items(), strict=True):
        for site, a_day in SITES.items():
            rates = [a_day * share / 100 / 3600 for share in HOURS]
            by_hour = list(pool.map(needed, rates, [factor] * 24))
            axis.step(range(24), by_hour, where="mid", label=site)
            fixed, following = 24 * max(by_hour), sum(by_hour)
            costs[f"{site},\n{analysis}"] = (fixed * PRICE, following * PRICE)
            print(
                f"{analysis}, {site}: {max(by_hour)} workers at the peak ({max(rates):.1f} images a second);"
                f" a day costs {fixed * PRICE:.2f} with as many always, {following * PRICE:.2f} when they follow"
            )
        axis.set(yscale="log", xlabel="hour of the day", title=f"workers for 95 of 100 under {GOAL:.0f} s\n{analysis}")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    save(figure, "workers.png")
    figure, axis = plt.subplots(figsize=(9, 3.4))
    for place, name in enumerate(("as many as at the peak, always", "following the age of what waits")):
        axis.barh(
            [n + place * 0.4 - 0.2 for n in range(len(costs))], [one[place] for one in costs.values()], 0.38, label=name
        )
    axis.set(xscale="log", yticks=range(len(costs)), title=f"US dollars a day, at {PRICE} for a core and an hour")
    axis.set_yticklabels(list(costs), fontsize=8)
    axis.invert_yaxis()
    axis.legend(fontsize=8)
    save(figure, "cost.png")


def limits() -> None:
    """Plot the bottlenecks: the measured rate of each component against the peak of a national archive."""
    peak = SITES["national archive"] * max(HOURS) / 100 / 3600
    found, standby = MEASURED["limits"], MEASURED["standby"]
    replicated = standby["with a synchronous standby"] / standby["alone"]
    rows = {
        "database: jobs claimed and ended": found["database, jobs claimed and ended"],
        "storage: 0.5 MB encrypted and synced": found["storage, objects of 0.5 MB made safe"],
        "database: instances recorded": found["database, instances recorded"],
        "database: with a synchronous standby": found["database, instances recorded"] * replicated,
        "broker: jobs, 16 a wake-up": 16 * found["broker, messages through"],
        "audit log: images, 2 events each": found["log, lines linked"] / 2,
    }
    figure, axis = plt.subplots(figsize=(9, 3.2))
    axis.barh(list(rows), list(rows.values()), color="tab:blue")
    axis.axvline(peak, color="tab:red", label=f"national peak: {peak:.0f} a second")
    axis.legend(loc="lower right", fontsize=8)
    axis.set(xscale="log", xlim=(100, 20_000), title=f"images a second, each part by itself on {MEASURED['machine']}")
    axis.invert_yaxis()
    for name, value in rows.items():
        print(f"{name}: {value:.0f} images a second, {value / peak:.2f} of the national peak")
    save(figure, "limits.png")


def save(figure: Any, name: str) -> None:
    """Write a picture."""
    figure.tight_layout()
    figure.savefig(PICTURES / name, dpi=110, metadata={"Software": None})


def main() -> None:
    with ProcessPoolExecutor() as pool:
        limits()
        strategies(pool)
        scale(pool)
        troubles(pool)
        sizes(pool)


if __name__ == "__main__":
    main()
