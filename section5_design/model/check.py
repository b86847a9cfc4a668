"""Check the protocol with SPIN: `python model/check.py`.

The complete protocol must have no fault. Each variant lacks one part, and the checker must find the fault that the part
prevents; it is printed with the shortest sequence of steps that leads to it.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).with_name("protocol.pml")
LIVE = "an acknowledged job never ends"


@dataclass(frozen=True)
class Variant:
    """A protocol: the switches that remove its parts, and the fault that is expected; empty if there is none."""

    name: str
    switches: tuple[str, ...]
    fault: str = ""


@dataclass(frozen=True)
class Outcome:
    """What the checker found: a fault (empty if none) with the steps that lead to it."""

    fault: str
    steps: tuple[str, ...]
    states: int
    seconds: float


VARIANTS = (
    Variant("receiving and garbage collection", ("RECEIVING",)),
    Variant("jobs and results", ("WORKING",)),
    Variant("jobs that are run again", ("WORKING", "RERUN")),
    Variant("every acknowledged job ends", ("WORKING", "LIVENESS")),
    Variant(
        "garbage collection without its lock",
        ("RECEIVING", "NO_LOCK"),
        "the object of an acknowledged instance was deleted",
    ),
    Variant(
        "each sender syncs only its own file",
        ("RECEIVING", "SYNC_OWN_FILE"),
        "an instance was acknowledged before its object was durable",
    ),
    Variant("no fencing token", ("WORKING", "NO_TOKEN"), "the result is not of the latest claim"),
    Variant("no compare-and-set", ("WORKING", "NO_COMPARE"), "two results"),
    Variant("the lease instead of the token, clocks that agree", ("WORKING", "CLOCK_FOR_TOKEN", "SKEW=0")),
    Variant(
        "the same, clocks that differ by more than the lease",
        ("WORKING", "CLOCK_FOR_TOKEN", "SKEW=2"),
        "the result is not of the latest claim",
    ),
    Variant("previews collected by age alone", ("WORKING", "PREVIEWS_BY_AGE"), "the preview of a result was deleted"),
    Variant("no reaper", ("WORKING", "LIVENESS", "NO_REAPER"), LIVE),
    Variant("no dispatcher", ("WORKING", "LIVENESS", "NO_DISPATCHER"), LIVE),
)


def check(variant: Variant) -> Outcome:
    """Search all states of a variant for a fault.

    Raises:
        CalledProcessError: SPIN or the C compiler failed.

    """
    started = time.monotonic()
    live = "LIVENESS" in variant.switches
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        defines = [f"-D{switch}" for switch in variant.switches]
        run(folder, "spin", *defines, "-a", str(MODEL))
        shortest = ("-DBFS",) if variant.fault else ()  # breadth first finds the shortest steps, depth first is faster
        options = ("-DNFAIR=3",) if live else ("-DSAFETY", *shortest)
        run(folder, "gcc", "-O1", "-w", *options, "-o", "pan", "pan.c")
        # -a -f: acceptance cycles under weak fairness; a process that can always go on does so in the end.
        output = run(folder, "./pan", "-w22", "-m1000000", *(("-a", "-f") if live else ()))
        states = int(float(find_word(output, "states, stored")))
        fault = ""
        steps: tuple[str, ...] = ()
        if "errors: 0" not in output:
            fault, steps = replay(folder, defines)
    return Outcome(fault, steps, states, time.monotonic() - started)


def replay(folder: Path, defines: list[str]) -> tuple[str, tuple[str, ...]]:
    """Replay the steps that lead to a fault; return the fault and the steps."""
    output = run(folder, "spin", *defines, "-t", "-T", "-k", f"{MODEL.name}.trail", str(MODEL))
    lines = [line.strip() for line in output.splitlines()]
    steps = tuple(line for line in lines if line.startswith(("sender", "worker", "a person", "the ")))
    faults = [line.removeprefix("FAULT: ") for line in lines if line.startswith("FAULT: ")]
    return (faults[0] if faults else LIVE), steps


def run(folder: Path, *command: str) -> str:
    """Run a program and return what it prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return done.stdout


def find_word(output: str, after: str) -> str:
    """Return the word before a phrase."""
    return output.partition(after)[0].split()[-1]


def main() -> int:
    """Check every variant and print a table; 1 if one is not as expected."""
    wrong = 0
    print("| protocol | states | seconds | fault |\n| --- | ---: | ---: | --- |")
    for variant in VARIANTS:
        outcome = check(variant)
        wrong += outcome.fault != variant.fault
        print(f"| {variant.name} | {outcome.states:,} | {outcome.seconds:.1f} | {outcome.fault or 'none'} |")
        for step in outcome.steps if "--steps" in sys.argv else ():
            print(f"  - {step}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
