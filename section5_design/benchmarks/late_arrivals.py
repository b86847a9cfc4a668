"""Analyse series whose images come shuffled, late and doubled: `python benchmarks/late_arrivals.py 10000`.

The complete system runs on a separate PostgreSQL, with a quiet period that is far too short, so that most series are
analysed again and again. In the end each has one current result, over exactly its images.
"""

import os
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]

from pydicom.uid import generate_uid  # noqa: E402
from tqdm import tqdm  # noqa: E402

from local.embedded_postgres import EmbeddedPostgres  # noqa: E402
from system import System, database, instance, until  # noqa: E402

CLIENTS = 4
IMAGES = 20  # of a series
DOUBLED = 0.1  # part that is sent twice
SETTLING = 1800.0  # seconds
COUNT = """
[count]
version = "1"
scope = "series"
quiet_seconds = 0.5
command = ["sh", "-c", 'echo "{\\"images\\": $(ls $1 | wc -l)}" > $2/figures.json', "sh"]
"""
WRONG = """
    SELECT count(*) FROM archive_series AS series WHERE (
        SELECT count(*) FROM analysis_run AS run JOIN analysis_target AS target ON target.id = target_id
        WHERE scope_id = series.id AND NOT superseded AND (figures ->> 'images')::int = cardinality(inputs)
            AND (SELECT array_agg(id ORDER BY id) FROM archive_instance WHERE series_id = series.id)
                = (SELECT array_agg(id ORDER BY id) FROM unnest(inputs) AS id)
    ) <> 1
"""


def main(images: int, seed: int) -> int:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "system").mkdir()
        (folder / "analyses.toml").write_text(COUNT)
        postgres = EmbeddedPostgres(folder / "postgres")
        postgres.start()
        os.environ["DATABASE_URL"] = postgres.url
        try:
            settings = {"ANALYSES": str(folder / "analyses.toml")}
            with database("late_arrivals") as url, System(folder / "system", url, **settings) as system:
                return run(system, images, chance)
        finally:
            postgres.stop()


def run(system: System, images: int, chance: random.Random) -> int:
    """Send, settle and count; 1 where a series has another number of current results than one."""
    series = [generate_uid()[:60] for _ in range(max(1, images // IMAGES))]
    arrivals = [(series[number % len(series)], generate_uid(), number) for number in range(images)]
    arrivals += chance.sample(arrivals, int(images * DOUBLED))
    chance.shuffle(arrivals)

    def send(arrival: tuple[str, str, int]) -> int:
        uid, image, number = arrival
        content = instance(
            SOPInstanceUID=image, SeriesInstanceUID=uid, StudyInstanceUID=f"{uid}.1", InstanceNumber=number
        )
        return system.post(content[1]).status

    started = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        progress = tqdm(pool.map(send, arrivals), total=len(arrivals), unit=" images", disable=None)
        refused = sum(status != 200 for status in progress)
    sent = time.monotonic()
    until(lambda: count(system, "SELECT count(*) FROM archive_arrival") == 0, SETTLING)
    until(lambda: count(system, "SELECT count(*) FROM jobs_job WHERE state IN ('queued', 'running')") == 0, SETTLING)
    wrong = count(system, WRONG)
    rows = {
        "arrivals": len(arrivals),
        "refused": refused,
        "images": count(system, "SELECT count(*) FROM archive_instance"),
        "series": len(series),
        "runs": count(system, "SELECT count(*) FROM analysis_run"),
        "series without exactly one current result over exactly their images": wrong,
        "seconds to send": round(sent - started),
        "seconds until all was settled": round(time.monotonic() - sent),
    }
    print("| | |\n| --- | ---: |")
    for label, value in rows.items():
        print(f"| {label} | {value:,} |")
    return 1 if wrong or refused else 0


def count(system: System, statement: str) -> int:
    return int(system.query(statement)[0][0])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, int(sys.argv[2]) if len(sys.argv) > 2 else 1))
