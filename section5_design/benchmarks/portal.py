"""Time the list of studies with 100,000 studies: for an operator, for the person who sent them all, for a newcomer.

python benchmarks/portal.py            needs no server; PostgreSQL is that of DATABASE_URL, or an embedded one
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SECTION = Path(__file__).parent.parent
sys.path.insert(0, str(SECTION))
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"

STUDIES = 100_000
IMAGES = 2  # of each study
RUNS = 9
ADDRESSES = ("/", "/?sort=patient", "/?sort=-date", "/?modality=MR", "/?patient=Name77&from=2020-01-01")
FILL = f"""
    INSERT INTO archive_study (uid, patient_id, patient_name, study_date, accession_number, study_description)
    SELECT '1.2.9.' || n, 'P' || n % 40000, 'Name' || n % 9973 || '^Given', to_char(date '2015-01-01' + n % 4000,
        'YYYYMMDD'), 'A' || n, 'Description ' || n % 300 FROM generate_series(1, {STUDIES}) AS n;
    INSERT INTO archive_series (study_id, uid, modality, series_number)
    SELECT id, '1.2.9.1.' || id, (ARRAY['CT', 'MR', 'US', 'CR'])[1 + id % 4], 1 FROM archive_study;
    INSERT INTO archive_instance (sop_instance_uid, sha256, series_id, sop_class_uid, transfer_syntax_uid, size,
        decoded_size, source, conflict, instance_number, rows, columns)
    SELECT '1.2.9.2.' || series.id || '.' || n, md5(series.id || '.' || n), series.id, '1.2', '1.2', 1, 1, 'user:ana',
        false, n, 512, 512 FROM archive_series AS series, generate_series(1, {IMAGES}) AS n;
    INSERT INTO jobs_job (kind, subject, queue, priority, state, attempts, fencing_token, worker, reason,
        correlation_id, audit_subject)
    SELECT 'analysis', id, 'small', 0, 'done', 1, 1, '', '', '', '{{}}' FROM archive_instance;
    INSERT INTO accounts_submission (instance_id, source, user_id)
    SELECT instance.id, 'user:ana', auth_user.id FROM archive_instance AS instance, auth_user WHERE username = 'ana';
    ANALYZE;
"""


def measure(client: Any, address: str) -> tuple[float, int]:
    """Return the median time of a page in seconds, and the number of its studies."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        content = client.get(address).content
        times.append(time.perf_counter() - started)
    return statistics.median(times), content.count(b'class="select"')


def main() -> int:
    """Fill a database and print a table of times."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        os.environ["DATA_FOLDER"] = folder
        if "DATABASE_URL" not in os.environ:
            from local.embedded_postgres import EmbeddedPostgres

            server = EmbeddedPostgres(Path(folder) / "database")
            server.start()
            os.environ["DATABASE_URL"] = server.url
        import django

        django.setup()
        from django.contrib.auth.models import Group, User
        from django.core.management import call_command
        from django.db import connection
        from django.test import Client

        call_command("migrate", verbosity=0)
        people = {"ana": "submitters", "olga": "operators", "new": "readers"}
        for name, role in people.items():
            User.objects.create_user(name).groups.set([Group.objects.get(name=role)])
        with connection.cursor() as cursor:
            cursor.execute(FILL)
        print(f"{'address':40}" + "".join(f"{role:>12}" for role in people.values()))
        for address in ADDRESSES:
            cells = []
            for name in people:
                client = Client(headers={"host": "localhost"})
                client.force_login(User.objects.get(username=name))
                seconds, rows = measure(client, address)
                cells.append(f"{seconds * 1000:5.0f} ms {rows:2}")
            print(f"{address:40}" + "".join(f"{cell:>12}" for cell in cells))
        connection.close()
        if "server" in locals():
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
