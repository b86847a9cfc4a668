"""Compare each cost at 10,000 and at 1,000,000 stored instances: `python benchmarks/scale.py`.

Rows of instances, jobs, results, submissions and audit events are generated in PostgreSQL: 200 images a study, a tenth
of the jobs still queued. PostgreSQL is a separate embedded one. For lists, the pages that PostgreSQL reads follow; they
do not depend on what else the machine does. The exit status is 1 where something takes more than 1.2 times as long.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"

FEW, MANY = 10_000, 1_000_000
MAX_RATIO = 1.2
RUNS = 15
Measured = tuple[dict[str, float], dict[str, int]]  # times in milliseconds; pages
QUEUED = 10  # one of so many jobs
PREFIX = 0x5A  # of the objects that garbage collection looks at
# Instances %(first)s + 1 to %(last)s, multiples of 200.
FILL = """
    SET session_replication_role = replica; -- neither foreign keys nor triggers, which would take most of the time
    INSERT INTO archive_study (uid, patient_id, patient_name, study_date, accession_number, study_description)
    SELECT '1.2.9.' || n, 'P' || n %% 40000, 'Name' || n %% 9973 || '^Given', to_char(date '2015-01-01'
        + n %% 4000, 'YYYYMMDD'), 'A' || n, 'Description ' || n %% 300
        FROM generate_series(%(first)s / 200, %(last)s / 200 - 1) AS n;
    INSERT INTO archive_series (study_id, uid, modality, series_number)
    SELECT id, uid || '.' || n, (ARRAY['CT', 'MR', 'US', 'CR'])[1 + id %% 4], n
        FROM archive_study, generate_series(0, 1) AS n
        WHERE uid IN (SELECT '1.2.9.' || n FROM generate_series(%(first)s / 200, %(last)s / 200 - 1) AS n);
    INSERT INTO archive_instance (sop_instance_uid, sha256, series_id, sop_class_uid, transfer_syntax_uid, size,
        decoded_size, source, conflict, instance_number, rows, columns)
    SELECT '1.2.9.9.' || n, encode(sha256(n::text::bytea), 'hex'), series.id, '1.2.840.10008.5.1.4.1.1.2',
        '1.2.840.10008.1.2.1', 500000, 500000, 'user:ana', false, n %% 100, 512, 512
        FROM generate_series(%(first)s, %(last)s - 1) AS n
        JOIN archive_series AS series ON series.uid = '1.2.9.' || n / 200 || '.' || n / 100 %% 2;
    INSERT INTO jobs_job (kind, subject, queue, priority, state, attempts, fencing_token, worker, reason,
        correlation_id, audit_subject)
    SELECT 'analysis', id, 'small', 0, CASE WHEN id %% %(queued)s = 0 THEN 'queued' ELSE 'done' END,
        CASE WHEN id %% %(queued)s = 0 THEN 0 ELSE 1 END, 1, '', '', '', '{}'
        FROM archive_instance WHERE id > %(known)s;
    INSERT INTO analysis_result (instance_id, fencing_token, analysis, version, figures, preview, superseded)
    SELECT id, 1, 'default', '1', '{"mean": 1.5, "maximum": 9}', '', false
        FROM archive_instance WHERE id > %(known)s AND id %% %(queued)s <> 0;
    INSERT INTO accounts_submission (instance_id, source, user_id)
    SELECT instance.id, 'user:ana', auth_user.id FROM archive_instance AS instance, auth_user
        WHERE username = 'ana' AND instance.id > %(known)s;
    INSERT INTO accounts_studyaccess (study_id, user_id)
    SELECT study.id, auth_user.id FROM archive_study AS study, auth_user WHERE username = 'ana'
        ON CONFLICT DO NOTHING; -- as the trigger of submissions does
    INSERT INTO audit_event (kind, actor, detail, instance_id, sop_instance_uid)
    SELECT 'received', 'user:ana', 'new', id, sop_instance_uid FROM archive_instance WHERE id > %(known)s;
    SET session_replication_role = origin
"""


def fill(first: int, last: int) -> None:
    """Add instances, and link their audit events."""
    from django.db import connection

    from audit.chain import extend_chain

    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM archive_instance")
        (known,) = cursor.fetchone()
        cursor.execute(FILL, {"first": first, "last": last, "known": known, "queued": QUEUED})
        cursor.execute("ANALYZE")
        while extend_chain():
            pass
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")  # otherwise it is written while the first costs are measured


def measure(
    run: Callable[[], Any], parts: int = 1, runs: int = RUNS, undo: Callable[[Any], None] | None = None
) -> float:
    """Return the median time of a part, in milliseconds; `undo` gets what a run returned, and is not measured."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - started)
        if undo:
            undo(result)
    return statistics.median(times) * 1000 / parts


def count_pages(run: Callable[[], Any]) -> int:
    """Return how many pages of tables and indexes PostgreSQL reads for the queries of `run`, from memory or disk."""
    from django.db import connection

    pages = 0

    def explain(execute: Any, statement: str, values: Any, many: bool, context: Any) -> Any:
        nonlocal pages
        if statement.lstrip().startswith("SELECT"):
            execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values, many, context)
            plan = context["cursor"].fetchone()[0][0]["Plan"]
            pages += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        return execute(statement, values, many, context)

    with connection.execute_wrapper(explain):
        run()
    return pages


def measure_all() -> Measured:
    """Measure everything, by its name: times in milliseconds, and the pages of lists."""
    from jobs.queue import release

    costs = {
        "receive an image": measure(receive),
        "claim 16 jobs": measure(claim_jobs, undo=release),
        "garbage collection, an object": measure_garbage_collection(),
        "link an audit event": measure(link_event),
        "verify the audit log, an event": measure_verification(),
    }
    pages = {}
    for name in ("ana", "olga"):
        client = log_in(name)
        who = {"ana": "who sent everything", "olga": "operator"}[name]
        addresses = {
            "list of studies": "/",
            "list of studies by patient": "/?sort=patient",
            "list of studies, one patient": "/?patient=Name7^Given",
            "list of studies, one sender": "/?sender=ana",
            "a study": "/studies/7/",
            "QIDO-RS, a patient": "/dicom-web/studies?PatientID=P7",
            "QIDO-RS, 50 studies": "/dicom-web/studies?limit=50",
            "QIDO-RS, images of a study": "/dicom-web/studies/1.2.9.7/instances",
            "QIDO-RS, a study": "/dicom-web/studies?StudyInstanceUID=1.2.9.7",
            "QIDO-RS, 50 series": "/dicom-web/series?limit=50",
            "QIDO-RS, 50 images": "/dicom-web/instances?limit=50",
            "/api/instances/": "/api/instances/",
        }
        for what, address in addresses.items():
            costs[f"{what}: {who}"] = measure(partial(read, client, address))
            pages[f"{what}: {who}"] = count_pages(partial(read, client, address))
    return costs, pages


def receive() -> None:
    from ingest.incoming import incoming_file
    from ingest.store import Sender, store_instance
    from system import instance

    with incoming_file() as file:
        file.write(instance()[1])
        store_instance(file, Sender("http:scale"))


def claim_jobs() -> Any:
    from jobs.queue import claim

    leases = claim("small", 16, "scale")
    if len(leases) != 16:
        sys.exit("no jobs are due")
    return leases


def link_event() -> None:
    from audit.chain import extend_chain
    from audit.events import record_event

    record_event("viewed", "scale")
    if not extend_chain():
        sys.exit("the event was not linked")


def measure_garbage_collection() -> float:
    """Look for orphans among the objects of a prefix, none of which is one."""
    from django.db import connection

    from archive.garbage import collect_orphans
    from archive.object_store import object_key

    with connection.cursor() as cursor:
        cursor.execute("SELECT sha256 FROM archive_instance WHERE sha256 LIKE %s", (f"{PREFIX:02x}%",))
        hashes = [sha256 for (sha256,) in cursor.fetchall()]
    for sha256 in hashes:
        path = Path(os.environ["DATA_FOLDER"]) / "store" / object_key(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (0, 0))
    return measure(lambda: collect_orphans([PREFIX]), len(hashes))


def measure_verification() -> float:
    from django.db import connection

    from audit.chain import extend_chain, verify_chain

    while extend_chain():
        pass
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM audit_link")
        (links,) = cursor.fetchone()

    def verify() -> None:
        if faults := list(verify_chain(complete=True)):
            sys.exit(faults[0])

    return measure(verify, links, runs=3)


def log_in(name: str) -> Any:
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.get(username=name))
    return client


def read(client: Any, address: str) -> None:
    status = client.get(address).status_code
    if status not in (200, 204):
        sys.exit(f"{address}: {status}")


def print_table(few: Measured, many: Measured, sizes: tuple[int, int]) -> int:
    """Print the costs at both sizes; 1 if one grew by more than MAX_RATIO."""
    print(f"| | {sizes[0]:,} | {sizes[1]:,} | ratio | pages | |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, cost in few[0].items():
        later = many[0][name]
        pages = f"{few[1][name]:,} | {many[1][name]:,}" if name in few[1] else " | "
        print(f"| {name} | {cost:.3f} ms | {later:.3f} ms | {later / cost:.2f} | {pages} |")
    return 1 if any(many[0][name] > MAX_RATIO * cost for name, cost in few[0].items()) else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--many", type=int, default=MANY, help=f"default: {MANY:,}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        os.environ["DATA_FOLDER"] = folder
        from local.embedded_postgres import EmbeddedPostgres

        with EmbeddedPostgres(Path(folder) / "database") as server:
            os.environ["DATABASE_URL"] = server.url
            import django

            django.setup()
            from django.contrib.auth.models import Group, User
            from django.core.management import call_command
            from django.db import connection

            call_command("migrate", verbosity=0)
            for name, role in {"ana": "submitters", "olga": "operators"}.items():
                User.objects.create_user(name).groups.set([Group.objects.get(name=role)])
            fill(0, FEW)
            few = measure_all()
            started = time.monotonic()
            fill(FEW, options.many)
            print(f"{options.many:,} instances after {time.monotonic() - started:.0f} s", flush=True)
            many = measure_all()
            connection.close()
    return print_table(few, many, (FEW, options.many))


if __name__ == "__main__":
    sys.exit(main())
