"""The model: jobs that arrive, workers that process them, and strategies of assignment.

Times are in seconds. A worker here is one process; it is what the running system's worker is with `--processes 1`.
"""

import random
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import simpy

STRATEGIES = (
    *("round robin", "random", "power of two", "shortest queue", "pull, prefetch 4", "pull, prefetch 1"),
    "pull, size classes",
)


@dataclass
class Job:
    """A job: its arrival, its duration at speed 1, whether it is large; later its start and end."""

    arrived: float
    takes: float
    large: bool = False
    began: float = -1.0
    ended: float = -1.0
    tries: int = 0

    @property
    def waited(self) -> float:
        """Return the time from the arrival to the last start."""
        return self.began - self.arrived


@dataclass
class Site:
    """The workers of a site; `overhead` is the time to wake an idle one."""

    workers: int
    strategy: str = "pull, prefetch 1"
    overhead: float = 0.0
    turnaround: float = 0.0  # from the end of a job to the next start on a busy worker
    stragglers: float = 0.0  # the share of workers that are four times as slow
    mean_life: float = 0.0  # of a worker until it crashes; 0: never
    lease: float = 180.0  # until the job of a crashed worker is assigned to another
    restart: float = 30.0
    small_only: float = 0.5  # with size classes: the share of workers that take no large jobs
    seed: int = 1


@dataclass
class _Worker:
    number: int
    speed: float
    takes_large: bool
    queue: deque[Job] = field(default_factory=deque)
    reserved: int = 0
    wake: Any = None

    @property
    def load(self) -> int:
        return len(self.queue) + self.reserved


class Model:
    """One run; `run` returns the jobs with their times."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.env = simpy.Environment()
        self.random = random.Random(site.seed)
        self.shared: dict[bool, deque[Job]] = {False: deque(), True: deque()}
        small_only = round(site.workers * site.small_only) if site.strategy.endswith("classes") else 0
        slow = round(site.workers * site.stragglers)
        self.workers = [
            _Worker(number, 0.25 if number >= site.workers - slow else 1.0, number >= small_only)
            for number in range(site.workers)
        ]
        self.idle: deque[_Worker] = deque()
        self.next = 0
        self.done: list[Job] = []

    def run(self, jobs: Iterable[Job]) -> list[Job]:
        """Run until every job is finished."""
        for worker in self.workers:
            self.env.process(self._work(worker))
        self.env.process(self._arrive(iter(jobs)))
        self.env.run()
        return self.done

    def _arrive(self, jobs: Iterator[Job]) -> Generator[Any, Any, None]:
        for job in jobs:
            if job.arrived > self.env.now:
                yield self.env.timeout(job.arrived - self.env.now)
            self._assign(job)

    def _assign(self, job: Job) -> None:
        strategy = self.site.strategy
        if strategy.startswith("pull"):
            self.shared[job.large and strategy.endswith("classes")].append(job)
            self._wake_one(lambda worker: worker.takes_large or not job.large)
            return
        if strategy == "round robin":
            worker = self.workers[self.next % len(self.workers)]
            self.next += 1
        elif strategy == "random":
            worker = self.random.choice(self.workers)
        elif strategy == "power of two":
            worker = min(self.random.choices(self.workers, k=2), key=lambda one: one.load)
        else:
            worker = min(self.workers, key=lambda one: one.load)
        worker.queue.append(job)
        self._wake(worker)

    def _wake_one(self, fits: Callable[[_Worker], bool]) -> None:
        for _ in range(len(self.idle)):
            worker = self.idle.popleft()
            if fits(worker):
                self._wake(worker)
                return
            self.idle.append(worker)

    def _wake(self, worker: _Worker) -> None:
        if worker.wake is not None and not worker.wake.triggered:
            worker.wake.succeed()

    def _take(self, worker: _Worker) -> Job | None:
        if not self.site.strategy.startswith("pull"):
            return worker.queue.popleft() if worker.queue else None
        most = 4 if self.site.strategy.endswith("4") else 1
        while len(worker.queue) < most and (job := self._pull(worker)):
            worker.queue.append(job)
        return worker.queue.popleft() if worker.queue else None

    def _pull(self, worker: _Worker) -> Job | None:
        heads = [queue for large, queue in self.shared.items() if queue and (worker.takes_large or not large)]
        return min(heads, key=lambda queue: queue[0].arrived).popleft() if heads else None

    def _work(self, worker: _Worker) -> Generator[Any, Any, None]:
        site, env = self.site, self.env
        dies = self.random.expovariate(1 / site.mean_life) if site.mean_life else float("inf")
        was_idle = True
        while True:
            job = self._take(worker)
            if job is None:
                worker.wake = env.event()
                self.idle.append(worker)
                yield worker.wake
                was_idle = True
                continue
            worker.reserved = 1
            if pause := site.overhead if was_idle else site.turnaround:  # a busy worker has its next message already
                yield env.timeout(pause)
            was_idle = False
            job.began, job.tries = env.now, job.tries + 1
            takes = job.takes / worker.speed
            if env.now + takes > dies:  # during the job
                yield env.timeout(max(0.0, dies - env.now))
                for lost in (job, *worker.queue):
                    env.process(self._come_again(lost))
                worker.queue.clear()
                yield env.timeout(site.restart)
                dies = env.now + self.random.expovariate(1 / site.mean_life)
            else:
                yield env.timeout(takes)
                job.ended = env.now
                self.done.append(job)
            worker.reserved = 0

    def _come_again(self, job: Job) -> Generator[Any, Any, None]:
        yield self.env.timeout(self.site.lease)
        self._assign(job)


def poisson(
    rate: Callable[[float], float] | float, most: float, until: float, make: Callable[[float], Job], seed: int = 1
) -> Iterator[Job]:
    """Generate independent arrivals at a rate that may change, with maximum `most` (Lewis, Shedler 1979)."""
    chance = random.Random(seed)
    now = 0.0
    while (now := now + chance.expovariate(most)) < until:
        if not callable(rate) or chance.random() < rate(now) / most:
            yield make(now)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
