"""Time the portal: the list of 100,000 studies by role, and the viewer of a series of 500 images in Chromium.

python benchmarks/portal.py                                    needs no server; PostgreSQL is that of DATABASE_URL, or
                                                               an embedded one
python benchmarks/portal.py --studies 2000 --images 40         a short run; 0 leaves a part out
python benchmarks/portal.py --explain                          also print the plan of every slow query
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"

IMAGES = 1  # of each study
RUNS = 5
SLOW_QUERY = 10  # ms
FIRST = """new MutationObserver(() => {
    if (document.querySelector("[data-shown]")) window.first ??= performance.now();
}).observe(document, { subtree: true, attributes: true, childList: true })"""
SCROLL = """async (count) => {
    const pane = document.querySelector("[data-pane]"), first = Number(pane.dataset.shown), started = performance.now();
    for (let number = 1; number <= count; number++) {
        pane.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
        while (Number(pane.dataset.shown) < first + number) await new Promise(requestAnimationFrame);
    }
    return (count * 1000) / (performance.now() - started);
}"""
ADDRESSES = (
    *("/", "/?sort=patient", "/?sort=-date", "/?modality=MR", "/?patient=Name77&from=2020-01-01"),
    *("/?patient=nobody", "/?state=quarantined", "/?sender=nobody"),  # nothing matches: every study is examined
)
FILL = """
    INSERT INTO archive_study (uid, patient_id, patient_name, study_date, accession_number, study_description)
    SELECT '1.2.9.' || n, 'P' || n %% 40000, 'Name' || n %% 9973 || '^Given', to_char(date '2015-01-01' + n %% 4000,
        'YYYYMMDD'), 'A' || n, 'Description ' || n %% 300 FROM generate_series(1, %(studies)s) AS n;
    INSERT INTO archive_series (study_id, uid, modality, series_number)
    SELECT id, '1.2.9.1.' || id, (ARRAY['CT', 'MR', 'US', 'CR'])[1 + id %% 4], 1 FROM archive_study;
    INSERT INTO archive_instance (sop_instance_uid, sha256, series_id, sop_class_uid, transfer_syntax_uid, size,
        decoded_size, source, conflict, instance_number, rows, columns)
    SELECT '1.2.9.2.' || series.id || '.' || n, md5(series.id || '.' || n), series.id, '1.2', '1.2', 1, 1, 'user:ana',
        false, n, 512, 512 FROM archive_series AS series, generate_series(1, %(images)s) AS n;
    INSERT INTO jobs_job (kind, subject, queue, priority, state, attempts, fencing_token, worker, reason,
        correlation_id, audit_subject)
    SELECT 'analysis', id, 'small', 0, 'done', 1, 1, '', '', '', '{}' FROM archive_instance;
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


def explain(client: Any, address: str) -> None:
    """Print the plan of every slow query of a page."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        client.get(address)
    for query in captured:
        if not query["sql"].lstrip("(").startswith("SELECT"):
            continue
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) " + query["sql"].replace("%", "%%"), ())
            plan = [line for (line,) in cursor.fetchall()]
        if float(plan[-1].split()[-2]) > SLOW_QUERY:
            print("\n    ".join([f"\n{address}: {query['sql'][:600]}", *plan]))


def measure_lists(studies: int, *, plans: bool) -> None:
    """Fill the database, and print a table of times by address and role."""
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
        cursor.execute(FILL, {"studies": studies, "images": IMAGES})
    print(f"{studies:,} studies" + " " * 25 + "".join(f"{role:>12}" for role in people.values()))
    clients = []
    for name in people:
        clients.append(Client(headers={"host": "localhost"}))
        clients[-1].force_login(User.objects.get(username=name))
    for address in ADDRESSES:
        cells = [f"{seconds * 1000:5.0f} ms {rows:2}" for seconds, rows in (measure(one, address) for one in clients)]
        print(f"{address:40}" + "".join(f"{cell:>12}" for cell in cells), flush=True)
    for client in clients if plans else []:
        for address in ADDRESSES:
            explain(client, address)
    connection.close()


def measure_viewer(folder: Path, images: int) -> None:
    """Print how long the first image of a series takes, and how many images a second scrolling shows."""
    from playwright.sync_api import sync_playwright

    from people import PASSWORD, make_people
    from system import System, database, instance

    (folder / "system").mkdir()
    path = shutil.which("google-chrome") or shutil.which("chromium")
    with database("portal_viewer") as url, System(folder / "system", url) as system, sync_playwright() as playwright:
        make_people(system, {"olga": ["operators"]})
        pixels = os.urandom(512 * 512 * 2)
        for number in range(images):
            uids = {"StudyInstanceUID": "1.2.9", "SeriesInstanceUID": "1.2.9.1"}
            system.post(instance(**uids, Rows=512, Columns=512, PixelData=pixels, InstanceNumber=number)[1])
        system.settle()
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(base_url=f"http://127.0.0.1:{system.http}")
        page.goto("/login/")
        page.locator("#id_username").fill("olga")
        page.locator("#id_password").fill(PASSWORD)
        page.locator("main form button").click()
        page.add_init_script(FIRST)
        times = []
        for _ in range(RUNS):
            page.goto("/studies/1/")
            page.wait_for_timeout(1000)  # the reader looks at the study; frames fetched ahead before have arrived
            page.goto("/series/1/?image=1")
            page.locator("[data-shown]").wait_for()
            times.append(float(page.evaluate("window.first")))
        rate = page.evaluate(SCROLL, min(100, images - 1))
        print(f"\nseries of {images} images of 512 x 512: first image after {statistics.median(times):.0f} ms")
        print(f"scrolling: {rate:.0f} images/s")
        browser.close()


def main() -> int:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--explain", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        os.environ["DATA_FOLDER"] = name
        server = None
        if "DATABASE_URL" not in os.environ:
            from local.embedded_postgres import EmbeddedPostgres

            server = EmbeddedPostgres(folder / "database")
            server.start()
            os.environ["DATABASE_URL"] = server.url
        try:
            if arguments.studies:
                measure_lists(arguments.studies, plans=arguments.explain)
            if arguments.images:
                measure_viewer(folder, arguments.images)
        finally:
            if server:
                server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
