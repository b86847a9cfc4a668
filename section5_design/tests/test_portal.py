"""The portal in a real browser, on the real system."""

import gettext
import html
import io
import os
import re
import shutil
import zipfile
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import highdicom as hd
import numpy as np
import pydicom
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright
from pydicom.data import get_testdata_file
from pydicom.sr.coding import Code

from analysis.dicom_results import Findings, build_results
from people import PASSWORD, Person, make_people
from system import OVER_HTTP, SECTION, System, database, instance, needs, until

PEOPLE = {
    "ana": ["submitters", "ward"],
    "olga": ["operators"],
    "rui": ["administrators", "clinic"],
    "nobody": [],
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with (
        database(f"portal_{os.getpid()}") as url,
        System(tmp_path_factory.mktemp("portal"), url, OVER_HTTP) as running,
    ):
        make_people(running, PEOPLE)
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("google-chrome") or needs("chromium", "chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-quic", "--disable-gpu"]
        )
        yield running
        running.close()


expect.set_options(timeout=20_000)  # other tests run on the same machine
SESSIONS: dict[str, Any] = {}  # cookies by person, so that each logs in once


class Visit:
    """A browser window in which somebody is logged in; it collects the errors of its pages."""

    def __init__(self, system: System, browser: Browser, name: str, **options: Any) -> None:
        self.base = f"http://127.0.0.1:{system.http}"
        self.context: BrowserContext = browser.new_context(
            base_url=self.base, storage_state=SESSIONS.get(name), **options
        )
        self.context.set_default_timeout(90_000)  # other tests run on the same machine
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda entry: self.errors.extend([entry.text] if entry.type == "error" else []))
        if name not in SESSIONS:
            self.page.goto("/login/")
            log_in(self.page, name)
            expect(self.page.locator("main h1")).to_be_visible()
            SESSIONS[name] = self.context.storage_state()

    def close(self) -> None:
        self.context.close()
        assert self.errors == []


def log_in(page: Page, name: str) -> None:
    page.locator("#id_username").fill(name)
    page.locator("#id_password").fill(PASSWORD)
    page.locator("main form button").click()


@cache
def known(system: System, name: str) -> Person:
    """Return a person who is logged in; the same one for all tests, so do not change its session."""
    return Person(system, name)


@pytest.fixture
def ana(system: System, browser: Browser) -> Iterator[Visit]:
    visit = Visit(system, browser, "ana")
    yield visit
    visit.close()


@pytest.fixture
def olga(system: System, browser: Browser) -> Iterator[Visit]:
    visit = Visit(system, browser, "olga")
    yield visit
    visit.close()


@pytest.fixture(scope="module")
def image(system: System) -> int:
    """A processed CT image that ana sent, with a date of ACR-NEMA 2.0."""
    names = {"PatientName": "Old^Date", "PatientID": "OLD1", "StudyInstanceUID": "1.2.97"}
    return send(system, instance(StudyDate="1997.04.24", **names)[1])[0]


def send(system: System, *contents: bytes) -> list[int]:
    """Send images as ana, wait for their results, and return their IDs."""
    answer = known(system, "ana").send(*contents)
    rows = system.query(
        "SELECT instance_id, sop_instance_uid FROM uploads_uploadfile AS file JOIN archive_instance AS i"
        " ON i.id = instance_id WHERE upload_id = %s ORDER BY file.created_at",
        int(answer.headers["Location"].split("/")[2]),
    )
    for _, uid in rows:
        system.wait_for(uid)
    return [id_ for id_, _ in rows]


def stack(system: System, series: str, count: int, step: float = 0, **changes: Any) -> tuple[int, list[int]]:
    """Send a series in reverse order, `step` mm apart; return its ID and its images in InstanceNumber order."""
    names = {"SeriesInstanceUID": series, "StudyInstanceUID": "1.2.77", **changes}
    files = [
        instance(**names, InstanceNumber=number, ImagePositionPatient=[0, 0, step * number])[1]
        for number in range(count, 0, -1)
    ]
    ids = send(system, *files)[::-1]
    ((id_,),) = system.query("SELECT series_id FROM archive_instance WHERE id = %s", ids[0])
    return id_, ids


@pytest.fixture(scope="module")
def series(system: System) -> tuple[int, list[int]]:
    return stack(system, "1.2.77.1", 12, SeriesNumber=1)


@pytest.fixture(scope="module")
def other_series(system: System) -> tuple[int, list[int]]:
    return stack(system, "1.2.77.2", 12, SeriesNumber=2)


# Uploads


def test_files_are_chosen_sent_and_summarized_with_reasons(ana: Visit, tmp_path: Path) -> None:
    (tmp_path / "one.dcm").write_bytes(instance()[1])
    (tmp_path / "two.txt").write_text("not an image" * 20)
    ana.page.goto("/uploads/")
    ana.page.get_by_label("Files").first.set_input_files([tmp_path / "one.dcm", tmp_path / "two.txt"])
    expect(ana.page.locator(".found")).to_contain_text("1 DICOM · 1 not DICOM")
    ana.page.get_by_label("Team").select_option("ward")
    ana.page.get_by_role("button", name="Send").click()
    ana.page.wait_for_url(re.compile("/uploads/[0-9]+/"))
    expect(ana.page.get_by_role("region", name="Summary")).to_contain_text("not a DICOM file (no DICM prefix")
    expect(ana.page.get_by_role("link", name="Ready")).to_be_visible(timeout=20_000)


def test_sending_without_files_says_so(ana: Visit) -> None:
    ana.page.goto("/uploads/")
    ana.page.get_by_role("button", name="Send").click()
    expect(ana.page.get_by_text("Choose files or a folder first.")).to_be_visible()


def test_a_folder_is_sent_for_the_team_chosen_after_it(system: System, ana: Visit, tmp_path: Path) -> None:
    folder = tmp_path / "patient" / "series"
    folder.mkdir(parents=True)
    for number in range(5):
        (folder / f"{number}.dcm").write_bytes(instance()[1])
    ana.page.goto("/uploads/")
    ana.page.get_by_label("Folder").set_input_files(tmp_path / "patient")
    ana.page.get_by_label("Team").select_option("ward")
    ana.page.get_by_role("button", name="Send").click()
    ana.page.wait_for_url(re.compile("/uploads/[0-9]+/"))
    expect(ana.page.get_by_text("patient/series/4.dcm")).to_be_visible()
    assert system.query(
        "SELECT name FROM uploads_upload JOIN auth_group AS g ON g.id = group_id"
        " ORDER BY uploads_upload.id DESC LIMIT 1"
    ) == [("ward",)]


DROP = """([text, name]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
    document.querySelector("form.drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
}"""


def test_a_dropped_file_is_sent(ana: Visit) -> None:
    ana.page.goto("/uploads/")
    ana.page.evaluate(DROP, [b64encode(instance()[1]).decode(), "dropped.dcm"])
    expect(ana.page.locator(".found")).to_contain_text("1 DICOM")
    ana.page.get_by_role("button", name="Send").click()
    ana.page.wait_for_url(re.compile("/uploads/[0-9]+/"))
    expect(ana.page.get_by_text("dropped.dcm")).to_be_visible()


def test_a_large_file_continues_after_the_browser_closed(system: System, browser: Browser, tmp_path: Path) -> None:
    path = write_large(tmp_path / "large.dcm")
    first = Visit(system, browser, "ana")
    parts: list[int] = []

    def pass_one_part(route: Any) -> None:
        if route.request.method == "PATCH":
            parts.append(1)
        route.continue_() if len(parts) < 2 else route.abort()

    first.page.route("**/files/*", pass_one_part)
    choose_and_send(first.page, path)
    expect(first.page.get_by_text("continues automatically").first).to_be_visible()
    stored = first.context.storage_state()
    first.context.close()
    context = browser.new_context(base_url=first.base, storage_state=stored)
    page = context.new_page()
    methods: list[str] = []
    page.on("request", lambda request: methods.extend([request.method] if "/files/" in request.url else []))
    choose_and_send(page, path)
    page.wait_for_url(re.compile("/uploads/[0-9]+/"))
    context.close()
    assert methods == ["HEAD", "PATCH", "PATCH"]  # the missing two of three parts
    assert system.query("SELECT state FROM uploads_uploadfile WHERE name = 'large.dcm'") == [("new",)]


def test_an_upload_continues_when_the_server_was_killed(system: System, ana: Visit, tmp_path: Path) -> None:
    path = write_large(tmp_path / "killed.dcm")
    killed: list[int] = []

    def kill_once(route: Any) -> None:
        if not killed:
            killed.append(1)
            system.kill("web")
            system.start("web")
        route.continue_()

    ana.page.route("**/files/*", kill_once)
    choose_and_send(ana.page, path)
    ana.page.wait_for_url(re.compile("/uploads/[0-9]+/"), timeout=60_000)
    assert system.query("SELECT state FROM uploads_uploadfile WHERE name = 'killed.dcm'") == [("new",)]
    ana.errors.clear()  # of the requests that the server did not answer


def test_an_expired_session_asks_for_a_login_and_continues(system: System, ana: Visit, tmp_path: Path) -> None:
    path = tmp_path / "late.dcm"
    path.write_bytes(instance()[1])
    ana.page.goto("/uploads/")
    ana.page.get_by_label("Files").first.set_input_files(path)
    expect(ana.page.locator(".found")).to_contain_text("1 DICOM")
    keys = [cookie["value"] for cookie in ana.context.cookies() if cookie["name"] == "sessionid"]
    system.query("DELETE FROM django_session WHERE session_key = ANY(%s)", keys)
    SESSIONS.clear()
    with ana.page.expect_response(lambda response: "/login/" in response.url):  # an update of the list of uploads
        ana.page.evaluate("htmx.trigger(document.body, 'changed')")
    ana.page.get_by_role("button", name="Send").click()
    expect(ana.page.get_by_role("dialog", name="Your session has expired")).to_be_visible()
    with ana.context.expect_page() as tab:
        ana.page.get_by_role("dialog").get_by_role("link", name="Log in").click()
    log_in(tab.value, "ana")
    expect(tab.value.get_by_text("You are logged in again")).to_be_visible()
    ana.page.wait_for_url(re.compile("/uploads/[0-9]+/"))
    expect(ana.page.get_by_text("late.dcm")).to_be_visible()
    ana.errors.clear()  # of the requests without a session


def test_a_cancelled_upload_is_removed(system: System, ana: Visit, tmp_path: Path) -> None:
    path = write_large(tmp_path / "unwanted.dcm")
    ana.page.route("**/files/*", lambda route: None if route.request.method == "PATCH" else route.continue_())
    with ana.page.expect_request(lambda request: request.method == "PATCH"):
        choose_and_send(ana.page, path)
    ana.page.unroute("**/files/*")
    ana.page.get_by_role("button", name="Cancel").click()
    expect(ana.page.locator(".list")).to_contain_text("unwanted.dcm Cancelled")
    until(lambda: system.query("SELECT state FROM uploads_uploadfile WHERE name = 'unwanted.dcm'") == [("cancelled",)])
    ana.errors.clear()  # of the aborted request


def test_cancelling_is_repeated_while_the_file_is_locked(system: System, ana: Visit, tmp_path: Path) -> None:
    path = write_large(tmp_path / "locked.dcm")
    locked = [True]

    def handle(route: Any) -> None:
        if route.request.method == "DELETE" and locked:
            locked.clear()
            route.fulfill(status=423)
        elif route.request.method != "PATCH":
            route.continue_()

    ana.page.route("**/files/*", handle)
    with ana.page.expect_request(lambda request: request.method == "PATCH"):
        choose_and_send(ana.page, path)
    ana.page.get_by_role("button", name="Cancel").click()
    expect(ana.page.locator(".list")).to_contain_text("locked.dcm Cancelled")
    assert system.query("SELECT state FROM uploads_uploadfile WHERE name = 'locked.dcm'") == [("cancelled",)]
    ana.errors.clear()  # of the locked file, and of the aborted request


def write_large(path: Path) -> Path:
    """Write a file that is sent in three parts."""
    path.write_bytes(instance(Rows=2048, Columns=4096, PixelData=os.urandom(2048 * 4096 * 2))[1])
    return path


def choose_and_send(page: Page, path: Path) -> None:
    page.goto("/uploads/")
    page.get_by_label("Files").first.set_input_files(path)
    expect(page.locator(".found")).to_contain_text("1 DICOM")
    page.get_by_role("button", name="Send").click()


# Studies


@pytest.mark.parametrize("stream", [True, False], ids=["by events", "by polling"])
def test_the_list_of_studies_updates_live(system: System, olga: Visit, *, stream: bool) -> None:
    if not stream:
        olga.page.route("**/events", lambda route: route.abort())
    name = "Moves^By" + ("Events" if stream else "Polling")
    olga.page.goto("/")
    system.post(instance(PatientName=name, StudyInstanceUID=f"1.2.{int(stream)}")[1])
    row = olga.page.get_by_role("row").filter(has_text=name.replace("^", ", "))
    expect(row.get_by_text("1 ready")).to_be_visible(timeout=20_000)
    olga.errors.clear()  # of the aborted stream


def test_typing_and_selections_survive_a_live_update(system: System, olga: Visit, image: int) -> None:
    olga.page.goto("/")
    box = olga.page.get_by_role("checkbox", name="Select Old, Date")
    box.check()
    olga.page.route("**/?patient=*", lambda route: route.abort())
    olga.page.get_by_label("Patient name or ID").fill("half a wo")
    system.post(instance(PatientName="Arrives^Now", StudyInstanceUID="1.2.7")[1])
    expect(olga.page.get_by_text("Arrives, Now")).to_be_visible(timeout=20_000)
    expect(olga.page.get_by_label("Patient name or ID")).to_have_value("half a wo")
    expect(box).to_be_checked()
    olga.errors.clear()  # of the aborted search


@pytest.mark.parametrize(
    ("query", "found"),
    [
        *(("patient=OLD1", 1), ("patient=old", 1), ("patient=nobody", 0), ("from=1997-04-24&to=1997-04-24", 1)),
        *(("from=1998-01-01&modality=CT", 0), ("modality=ct", 1), ("modality=XA", 0), ("state=done", 1)),
        *(("state=quarantined", 0), ("sender=user:ana", 1), ("description=e%2B1", 1), ("label=none", 0)),
        *(("received=2020-01-01", 1), ("received=2099-01-01", 0), ("sort=-date", 1), ("sort=patient", 1)),
    ],
)
def test_studies_are_found_by_the_address(system: System, image: int, query: str, found: int) -> None:
    page = known(system, "ana").get(f"/?{query}").text
    assert bool(found) == ("Old, Date" in page)


@pytest.mark.parametrize("page", ["/", "/audit/"])
def test_a_range_of_dates_that_ends_before_it_begins_is_explained(system: System, page: str) -> None:
    person = known(system, "rui")
    assert "The first date is later than the last." in person.get(f"{page}?from=2020-01-02&to=2020-01-01").text
    assert "later than the last" not in person.get(f"{page}?from=2020-01-01&to=2020-01-01").text
    assert person.get(f"{page}?from=yesterday").status_code == 400


def test_a_search_updates_the_list_and_the_address(ana: Visit, image: int) -> None:
    ana.page.goto("/")
    ana.page.get_by_label("Patient name or ID").press_sequentially("nobody")
    expect(ana.page.get_by_text("No matching studies")).to_be_visible()
    ana.page.wait_for_url("**/?patient=nobody")
    ana.page.reload()
    expect(ana.page.get_by_label("Patient name or ID")).to_have_value("nobody")


def test_sorting_pages_through_every_study_once(system: System) -> None:
    for number in range(3):
        system.post(instance(PatientName=f"Same^Name{number % 2}", StudyInstanceUID=f"1.2.55.{number}")[1])
    operator = known(system, "olga")
    link = 'href="/studies/([0-9]+)/"'
    for sort in ("patient", "-patient", "date", "-received", "accession"):
        first = re.findall(link, operator.get(f"/?sort={sort}").text)
        assert len(first) == len(set(first)) > 3
        rest = re.findall(link, operator.get(f"/?sort={sort}&after={first[1]}").text)
        assert rest == first[2:]


def test_selected_studies_are_labelled_shared_and_downloaded(system: System, olga: Visit) -> None:
    uid, content = instance(PatientName="Bulk^Action", StudyInstanceUID="1.2.66")
    system.post(content)
    system.wait_for(uid)
    olga.page.goto("/?patient=Bulk")
    olga.page.get_by_role("checkbox", name="Select Bulk, Action").check()
    olga.page.get_by_label("Label").last.fill("trial 7")
    olga.page.get_by_role("button", name="Add label").click()
    expect(olga.page.get_by_text("1 study labelled.")).to_be_visible()
    olga.page.goto("/?label=trial+7")
    olga.page.get_by_role("checkbox", name="Select Bulk, Action").check()
    olga.page.get_by_label("Team").select_option("ward")
    olga.page.get_by_role("button", name="Share").click()
    expect(olga.page.get_by_text("1 study shared with ward.")).to_be_visible()
    olga.page.get_by_role("button", name="Dismiss").click()
    olga.page.get_by_role("checkbox", name="Select Bulk, Action").check()
    with olga.page.expect_download() as download:
        olga.page.get_by_role("button", name="Download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert any(uid in name for name in archive.namelist())
    olga.page.get_by_role("link", name="Bulk, Action").click()
    assert "ward" not in olga.page.get_by_label("Share with").all_inner_texts()[0]


def test_a_selected_team_survives_a_live_update(system: System, olga: Visit) -> None:
    uid, content = instance(PatientName="Live^Update", StudyInstanceUID="1.2.67")
    system.post(content)
    system.wait_for(uid)
    olga.page.goto("/?patient=Live")
    olga.page.get_by_role("checkbox", name="Select Live, Update").check()
    team = olga.page.get_by_label("Team")
    team.select_option("ward")
    olga.page.get_by_label("Label").last.fill("typed")
    team.blur()
    olga.page.get_by_role("heading", name="Studies").click()
    settled = "new Promise(done => addEventListener('htmx:afterSettle', done))"
    olga.page.evaluate(f"() => {{ const end = {settled}; htmx.trigger(document.body, 'changed'); return end; }}")
    assert team.locator("option:checked").inner_text() == "ward"
    expect(olga.page.get_by_label("Label").last).to_have_value("typed")


# A study and its images


def test_images_are_listed_by_instance_number(system: System, series: tuple[int, list[int]]) -> None:
    ((study,),) = system.query("SELECT study_id FROM archive_series WHERE id = %s", series[0])
    page = known(system, "ana").get(f"/studies/{study}/?series={series[0]}").text
    assert [int(id_) for id_ in re.findall('href="/images/([0-9]+)/"', page)] == series[1]


def test_an_image_page_shows_the_picture_as_soon_as_it_is_processed(system: System, olga: Visit) -> None:
    system.kill("worker")
    uid, content = instance(StudyInstanceUID="1.2.33")
    system.post(content)
    ((id_,),) = system.query("SELECT id FROM archive_instance WHERE sop_instance_uid = %s", uid)
    olga.page.goto(f"/images/{id_}/")
    expect(olga.page.get_by_text("The image appears here")).to_be_visible()
    system.start("worker")
    expect(olga.page.get_by_role("img", name="The image")).to_be_visible(timeout=30_000)


def test_attributes_are_searched(ana: Visit, image: int) -> None:
    ana.page.goto(f"/images/{image}/attributes/")
    expect(ana.page.get_by_text("StudyDate")).to_be_visible()
    ana.page.get_by_label("Tag, keyword or value").press_sequentially("0008,0060")
    expect(ana.page.get_by_text("StudyDate")).to_be_hidden()
    expect(ana.page.get_by_text("Modality")).to_be_visible()


def test_a_structured_report_is_a_table(system: System, ana: Visit) -> None:
    (id_,) = send(system, instance("reportsi.dcm")[1])
    ana.page.goto(f"/images/{id_}/")
    expect(ana.page.get_by_role("region", name="Report").get_by_role("row").first).to_be_visible()


def test_results_and_files_are_downloaded(system: System, image: int) -> None:
    person = known(system, "ana")
    figures = person.get(f"/images/{image}/result.json").json()
    assert figures["data_size"] == 16384
    assert person.get(f"/images/{image}/result.csv").text.startswith("sop_instance_uid,")
    assert person.get(f"/images/{image}/result.png").content.startswith(b"\x89PNG")
    assert person.get(f"/images/{image}/result.dcm").content[128:132] == b"DICM"
    ((study,),) = system.query(
        "SELECT study_id FROM archive_series AS s JOIN archive_instance AS i ON s.id = series_id WHERE i.id = %s", image
    )
    with zipfile.ZipFile(io.BytesIO(person.get(f"/studies/{study}/results.zip").content)) as archive:
        assert archive.testzip() is None
        kinds = {name.rpartition(".")[2] for name in archive.namelist()}
    assert kinds == {"dcm", "json", "png"}
    assert figures in person.get(f"/studies/{study}/results.json").json()


# The viewer


def shown(page: Page, position: int, pane: int = 0) -> None:
    expect(page.locator("[data-pane]").nth(pane)).to_have_attribute("data-shown", str(position), timeout=15_000)


def test_wheel_and_keys_scroll_and_the_address_keeps_the_image(ana: Visit, series: tuple[int, list[int]]) -> None:
    ana.page.goto(f"/series/{series[0]}/")
    shown(ana.page, 7)  # the middle
    ana.page.keyboard.press("ArrowDown")
    shown(ana.page, 8)
    ana.page.keyboard.press("End")
    shown(ana.page, 12)
    ana.page.locator("canvas").hover()
    ana.page.mouse.wheel(0, -100)
    shown(ana.page, 11)
    ana.page.wait_for_url("**/?image=11")
    ana.page.reload()
    shown(ana.page, 11)
    expect(ana.page.get_by_text("Image 11 of 12")).to_be_visible()


def test_the_first_image_is_requested_once(ana: Visit, series: tuple[int, list[int]]) -> None:
    asked: list[str] = []
    ana.page.on("request", lambda request: asked.append(request.url))
    ana.page.goto(f"/series/{series[0]}/?image=2&center=40&width=400")
    shown(ana.page, 2)
    assert len([url for url in asked if f"/images/{series[1][1]}/picture.png" in url]) == 1


def test_a_frame_whose_connection_is_interrupted_is_requested_again(ana: Visit, series: tuple[int, list[int]]) -> None:
    interrupted: list[str] = []

    def interrupt(route: Route) -> None:
        if route.request.url in interrupted:
            route.continue_()
        else:
            interrupted.append(route.request.url)
            route.abort("connectionreset")

    ana.page.goto(f"/series/{series[0]}/?image=2")
    shown(ana.page, 2)
    ana.page.route("**/picture.png?*center=77*", interrupt)
    ana.page.goto(f"/series/{series[0]}/?image=2&center=77&width=400")
    shown(ana.page, 2)
    assert interrupted
    ana.errors.clear()  # the browser's own lines


def test_dragging_and_presets_change_the_window_in_the_address(ana: Visit, series: tuple[int, list[int]]) -> None:
    ana.page.goto(f"/series/{series[0]}/")
    shown(ana.page, 7)
    with ana.page.expect_response(re.compile("picture.png.*center=-600&width=1500")) as answer:
        ana.page.get_by_role("link", name="Lung").click()
    assert answer.value.status == 200
    ana.page.wait_for_url("**center=-600&width=1500*")
    drag(ana.page, (0, 0), (100, 0))
    ana.page.wait_for_url(re.compile(r"center=-600&width=(?!1500)[0-9.]+"))


def test_a_length_is_measured_in_millimetres_and_is_in_the_address(ana: Visit, series: tuple[int, list[int]]) -> None:
    ana.page.goto(f"/series/{series[0]}/?image=2&line=2_1_10_20_40_60&line=3_1_0_0_9_9")
    length = ana.page.locator(".shapes text")
    expect(length).to_have_text("33.1 mm")  # of 50 pixels of 0.661468 mm
    ana.page.keyboard.press("m")
    drag(ana.page, (0, 0), (40, 30))
    expect(length).to_have_count(2)
    ana.page.wait_for_url(re.compile("line=2_1_10_20_40_60&line=3_1_0_0_9_9&line=2_1_"))
    ana.page.keyboard.press("Delete")
    expect(length).to_have_count(1)
    ana.page.keyboard.press("r")
    ana.page.wait_for_url("**/?image=2")
    expect(length).to_have_count(0)


def test_a_region_is_measured_and_is_in_the_address(ana: Visit, series: tuple[int, list[int]]) -> None:
    ana.page.goto(f"/series/{series[0]}/?image=2&rectangle=2_1_10_20_40_60")
    texts = ana.page.locator(".shapes text")
    pixels = pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).pixel_array[20:60, 10:40] - 1024.0
    expect(texts.nth(0)).to_have_text(f"Mean {round(pixels.mean(), 1):g} HU, SD {round(pixels.std(), 1):g}")
    expect(texts.nth(1)).to_have_text(f"Range {pixels.min():g} – {pixels.max():g} HU")
    expect(texts.nth(2)).to_have_text("Area 525 mm²")  # of 30 x 40 pixels of 0.661468 mm
    ana.page.keyboard.press("e")
    drag(ana.page, (0, 0), (60, 40))
    expect(texts).to_have_count(6)
    ana.page.wait_for_url(re.compile(r"ellipse=2_1_[0-9._]+&rectangle=2_1_10_20_40_60|rectangle=.*&ellipse=2_1_"))


def test_labels_of_overlapping_regions_stand_apart(ana: Visit, series: tuple[int, list[int]]) -> None:
    regions = ("2_1_10_20_40_60", "2_1_12_20_42_60", "2_1_14_22_44_62")
    ana.page.goto(f"/series/{series[0]}/?image=2&" + "&".join(f"rectangle={region}" for region in regions))
    texts = ana.page.locator(".shapes text")
    expect(texts).to_have_count(9)
    tops = sorted(text.bounding_box()["y"] for text in texts.all())  # type: ignore[index]
    assert min(after - before for before, after in pairwise(tops)) > 10


def test_statistics_are_of_the_rescaled_values_inside(system: System, series: tuple[int, list[int]]) -> None:
    pixels = pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).pixel_array - 1024.0
    y, x = np.mgrid[0:128, 0:128] + 0.5
    inside = pixels[((x - 40) / 30) ** 2 + ((y - 50) / 20) ** 2 <= 1]
    address = f"/images/{series[1][0]}/statistics"
    found = known(system, "ana").get(f"{address}?shape=ellipse&box=10_30_70_70").json()
    names = ("mean", "deviation", "minimum", "maximum", "count")
    values = (inside.mean(), inside.std(), inside.min(), inside.max(), inside.size)
    assert {name: found[name] for name in names} == pytest.approx(dict(zip(names, values, strict=True)))
    assert found["area"] == pytest.approx(np.pi * 30 * 20 * 0.661468**2)
    assert known(system, "ana").get(f"{address}?shape=ellipse&box=70_30_10_70").status_code == 400
    assert Person(system, "nobody").get(f"{address}?shape=ellipse&box=10_30_70_70").status_code == 404


def test_colours_have_an_area_and_no_statistics(system: System) -> None:
    (id_,) = send(system, instance("examples_palette.dcm")[1])
    found = known(system, "ana").get(f"/images/{id_}/statistics?shape=rectangle&box=0_0_10_20").json()
    assert found == {"unit": "", "area": 200, "millimetres": False, "detector": False}


def test_a_length_without_pixel_spacing_is_in_pixels(system: System, ana: Visit) -> None:
    (id_,) = send(system, instance(SeriesInstanceUID="1.2.79", PixelSpacing=None)[1])
    ((number,),) = system.query("SELECT series_id FROM archive_instance WHERE id = %s", id_)
    ana.page.goto(f"/series/{number}/?line=1_1_10_20_40_60")
    expect(ana.page.locator(".shapes text")).to_have_text("50 px (no pixel spacing)")


def test_zoom_pan_and_inversion_survive_a_reload(ana: Visit, series: tuple[int, list[int]]) -> None:
    ana.page.goto(f"/series/{series[0]}/?image=2")
    shown(ana.page, 2)
    before = corner(ana.page)
    for key in "++pi":
        ana.page.keyboard.press(key)
    drag(ana.page, (0, 0), (50, 0))
    ana.page.wait_for_url(re.compile(r"zoom=1.56&x=0.\d+.*invert=1"))
    ana.page.reload()
    shown(ana.page, 2)
    expect(ana.page.get_by_role("button", name="Invert")).to_have_attribute("aria-pressed", "true")
    assert [value + after for value, after in zip(before, corner(ana.page), strict=True)] == pytest.approx(
        [255] * 3, abs=2
    )
    ana.page.keyboard.press("f")
    ana.page.wait_for_url("**/?image=2&invert=1")


def test_the_keys_are_listed(ana: Visit, series: tuple[int, list[int]]) -> None:
    ana.page.goto(f"/series/{series[0]}/")
    shown(ana.page, 7)
    ana.page.keyboard.press("?")
    expect(ana.page.get_by_role("dialog").get_by_role("row").filter(has_text="zoom;")).to_be_visible()
    ana.page.keyboard.press("Escape")
    expect(ana.page.get_by_role("dialog")).to_be_hidden()


def drag(page: Page, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Drag the mouse over the image; the places are offsets from its centre in pixels of the screen."""
    box = page.locator(".frame").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x + start[0], y + start[1])
    page.mouse.down()
    page.mouse.move(x + end[0], y + end[1])
    page.mouse.up()


def corner(page: Page) -> list[int]:
    """Return red, green and blue in the corner of the image."""
    script = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 1, 1).data.slice(0, 3)]"
    colour: list[int] = page.locator("canvas").evaluate(script)
    return colour


def test_cine_plays_every_frame(ana: Visit, series: tuple[int, list[int]]) -> None:
    ana.page.goto(f"/series/{series[0]}/?image=10")
    shown(ana.page, 10)
    ana.page.get_by_role("button", name="Play").click()
    for position in (12, 3):  # it begins again at the end
        shown(ana.page, position)
    ana.page.get_by_role("button", name="Pause").click()


def test_frames_are_counted_from_one(system: System, ana: Visit) -> None:
    (id_,) = send(system, instance("emri_small_RLE.dcm")[1])
    ((number,),) = system.query("SELECT series_id FROM archive_instance WHERE id = %s", id_)
    ana.page.goto(f"/series/{number}/?image=1&frame=4")
    expect(ana.page.get_by_text("frame 4 of 10")).to_be_visible()
    ana.page.keyboard.press("ArrowRight")
    expect(ana.page.get_by_text("frame 5 of 10")).to_be_visible()
    ana.page.wait_for_url("**/?image=1&frame=5")


def test_two_series_scroll_together(
    ana: Visit, series: tuple[int, list[int]], other_series: tuple[int, list[int]]
) -> None:
    ana.page.goto(f"/series/{series[0]}/?image=1")
    shown(ana.page, 1)
    ana.page.get_by_label("Compare with").select_option(str(other_series[0]))
    shown(ana.page, 1, pane=1)
    ana.page.keyboard.press("PageDown")
    shown(ana.page, 11, pane=0)
    shown(ana.page, 11, pane=1)
    ana.page.get_by_label("Scrolling").select_option("0")
    ana.page.locator("[data-pane]").nth(1).press("ArrowUp")
    shown(ana.page, 10, pane=1)
    shown(ana.page, 11, pane=0)


def test_parallel_series_scroll_together_by_position(system: System, ana: Visit) -> None:
    space: dict[str, Any] = {"FrameOfReferenceUID": "1.2.77.9", "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    thin, _ = stack(system, "1.2.77.3", 12, step=2.5, **space)
    thick, _ = stack(system, "1.2.77.4", 4, step=10, **space | {"ImageOrientationPatient": [1, 0, 0, 0, -1, 0]})
    elsewhere, _ = stack(system, "1.2.77.5", 4, step=10, **space | {"FrameOfReferenceUID": "1.2.77.8"})
    for other, mode, last in ((thick, "together, by position", 3), (elsewhere, "together, by number", 4)):
        ana.page.goto(f"/series/{thin}/?image=1&b={other}")
        expect(ana.page.get_by_label("Scrolling").locator("option:checked")).to_have_text(mode)
        shown(ana.page, 1, pane=1)
        ana.page.keyboard.press("End")
        shown(ana.page, 12)
        shown(ana.page, last, pane=1)
    expect(ana.page.get_by_text("Image 4 of 4")).to_have_text("Image 4 of 4")  # without a position


LONG = 500  # images


@pytest.fixture(scope="module")
def long_series(system: System) -> int:
    """A CT series whose images show their number: as two grey values in their first rows."""
    pixels = pydicom.dcmread(str(get_testdata_file("CT_small.dcm"))).pixel_array
    names: dict[str, Any] = {"StudyInstanceUID": "1.2.82", "SeriesInstanceUID": "1.2.82.1"}
    files = []
    for number in range(1, LONG + 1):
        for column, value in enumerate(divmod(number, 25)):
            pixels[:16, 16 * column : 16 * column + 16] = 1024 + 5 * value + 2
        names |= {"InstanceNumber": number, "ImagePositionPatient": [0, 0, number]}
        files.append(instance(**names, PixelData=pixels.tobytes())[1])
    for start in range(0, LONG, 100):
        known(system, "ana").send(*files[start : start + 100])
    done = (
        "SELECT s.id, count(*) FROM archive_series AS s JOIN archive_instance AS i ON s.id = series_id"
        " JOIN analysis_job AS job ON instance_id = i.id WHERE s.uid = '1.2.82.1' AND state = 'done' GROUP BY s.id"
    )
    until(lambda: [count for _, count in system.query(done)] == [LONG])
    return int(system.query(done)[0][0])


def test_a_series_of_500_images_is_scrolled_by_wheel_keys_and_dragging(ana: Visit, long_series: int) -> None:
    page = ana.page
    page.goto(f"/series/{long_series}/?image=1&center=128&width=256")

    def shows(number: int) -> None:
        shown(page, number)
        assert read_number(page) == number

    shows(1)
    page.locator("canvas").hover()
    for _ in range(20):
        page.mouse.wheel(0, 100)
    shows(21)
    for key, number in (("End", 500), ("PageUp", 490), ("Home", 1)):
        page.keyboard.press(key)
        shows(number)
    page.keyboard.press("c")
    drag(page, (0, -100), (0, 100))  # an image for every two pixels of the screen
    shows(101)
    page.get_by_label("Position in the series").fill("250")
    shows(250)
    if target := os.environ.get("SCREENSHOT"):
        page.screenshot(path=target)


def read_number(page: Page) -> int:
    """Return the number that an image of the long series shows; its other pixels must not be blank."""
    script = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 128, 128).data]"
    pixels = np.array(page.locator("canvas").evaluate(script)).reshape(128, 128, 4)[..., 0]
    assert pixels[32:].std() > 20
    return int(pixels[8, 8] // 5 * 25 + pixels[8, 24] // 5)


def test_the_viewer_works_without_a_script(system: System, browser: Browser, series: tuple[int, list[int]]) -> None:
    visit = Visit(system, browser, "ana", java_script_enabled=False)
    visit.page.goto(f"/series/{series[0]}/?image=2")
    picture = visit.page.get_by_role("img", name="The image")
    assert picture.evaluate("image => image.naturalWidth") == 128
    visit.page.get_by_role("link", name="Lung").click()
    assert "center=-600.0&width=1500.0" in str(picture.get_attribute("src"))
    visit.page.get_by_role("link", name="Next", exact=True).click()
    expect(visit.page.get_by_text("Image 3 of 12")).to_be_visible()
    visit.close()


def test_overlays_and_palettes_are_drawn(system: System) -> None:
    overlay, palette = send(system, instance("examples_overlay.dcm")[1], instance("examples_palette.dcm")[1])
    person = known(system, "ana")

    def picture(id_: int, query: str = "") -> Any:
        return np.asarray(Image.open(io.BytesIO(person.get(f"/images/{id_}/picture.png{query}").content)))

    drawn, plain = picture(overlay), picture(overlay, "?overlays=0")
    assert (drawn[drawn != plain] == 255).all()
    assert 100 < (drawn != plain).sum() < 20_000
    colour = picture(palette)
    assert colour.shape == (350, 800, 3)
    assert colour.max() == 255
    assert (colour.max(2) != colour.min(2)).any()


@pytest.fixture(scope="module")
def segmented(system: System) -> tuple[int, list[int]]:
    """A CT series of three images, and a segmentation whose one segment covers a square of the first two."""
    names = {"StudyInstanceUID": "1.2.78", "SeriesInstanceUID": "1.2.78.1", "FrameOfReferenceUID": "1.2.78.9"}
    images = [
        instance(**names, InstanceNumber=number, ImagePositionPatient=[0, 0, 5 * number])[1] for number in (1, 2, 3)
    ]
    sources = [pydicom.dcmread(io.BytesIO(content)) for content in images]
    mask = np.zeros((3, 128, 128), np.uint8)
    mask[:2, 20:40, 30:60] = 1
    found = Findings("lungs", "1", uuid4(), datetime.now(UTC), masks={"nodule": mask})
    (segmentation,) = build_results(found, sources)
    target = io.BytesIO()
    segmentation.save_as(target)
    ids = send(system, *images, target.getvalue())
    ((series,),) = system.query("SELECT series_id FROM archive_instance WHERE id = %s", ids[0])
    return series, ids


def test_segments_are_drawn_in_their_colour_where_they_are(system: System, segmented: tuple[int, list[int]]) -> None:
    person, (series, ids) = known(system, "ana"), segmented
    assert "nodule" in person.get(f"/series/{series}/segments").text
    answers = [person.get(f"/images/{id_}/segments.png?segments={ids[3]}.1.ff8000") for id_ in ids[:3]]
    layers = [np.asarray(Image.open(io.BytesIO(answer.content))) for answer in answers]
    assert [int((layer[..., 3] == 255).sum()) for layer in layers] == [600, 600, 0]
    assert (layers[0][20:40, 30:60] == [255, 128, 0, 255]).all()
    assert person.get(f"/images/{ids[0]}/segments.png?segments=1.2").status_code == 400
    assert Person(system, "nobody").get(f"/images/{ids[0]}/segments.png").status_code == 404


def test_segments_of_another_plane_are_not_drawn(system: System, segmented: tuple[int, list[int]]) -> None:
    ((uid,),) = system.query("SELECT sop_instance_uid FROM archive_instance WHERE id = %s", segmented[1][0])
    names = {"StudyInstanceUID": "1.2.78", "SeriesInstanceUID": "1.2.78.3", "SOPInstanceUID": uid}
    (moved,) = send(system, instance(**names, ImagePositionPatient=[0, 0, 6])[1])
    answer = known(system, "ana").get(f"/images/{moved}/segments.png?segments={segmented[1][3]}.1.ff8000")
    assert answer.status_code == 404


def build_label_map(sources: Sequence[pydicom.Dataset], labels: np.ndarray) -> bytes:
    """Build a label map of two segments."""
    kind, method = Code("91723000", "SCT", "Anatomical structure"), hd.seg.SegmentAlgorithmTypeValues.MANUAL
    label_map = hd.seg.Segmentation(
        sources,
        labels,
        hd.seg.SegmentationTypeValues.LABELMAP,
        [hd.seg.SegmentDescription(at, name, kind, kind, method) for at, name in ((1, "upper"), (2, "lower"))],
        series_instance_uid="1.2.83.5",
        series_number=9,
        sop_instance_uid=pydicom.uid.generate_uid(),
        instance_number=1,
        manufacturer="m",
        manufacturer_model_name="n",
        software_versions="1",
        device_serial_number="1",
    )
    target = io.BytesIO()
    label_map.save_as(target)
    return target.getvalue()


def test_a_label_map_is_drawn_as_segments(system: System) -> None:
    person = known(system, "ana")
    series, ids = stack(system, "1.2.83.1", 3, step=5, StudyInstanceUID="1.2.83", FrameOfReferenceUID="1.2.83.9")
    sources = [pydicom.dcmread(io.BytesIO(person.get(f"/images/{id_}/result.dcm").content)) for id_ in ids]
    labels = np.zeros((3, 128, 128), np.uint8)
    labels[:2, :10], labels[1:, 10:30] = 1, 2
    (map_id,) = send(system, build_label_map(sources, labels))
    legend = person.get(f"/series/{series}/segments").text
    ranges = re.findall(rf'data-segment="{map_id}\.([0-9])" data-colour="\w+" data-ranges="(.*?)"', legend)
    assert ranges == [("1", "[[0, 1]]"), ("2", "[[1, 2]]")]
    address = f"/images/{ids[1]}/segments.png?segments={map_id}.1.ff8000,{map_id}.2.0080ff"
    layer = np.asarray(Image.open(io.BytesIO(person.get(address).content)))
    assert (layer[:10] == [255, 128, 0, 255]).all()
    assert (layer[10:30] == [0, 128, 255, 255]).all()
    assert (layer[30:, :, 3] == 0).all()


def test_viewing_a_segmentation_shows_its_segments_over_the_images(
    system: System, segmented: tuple[int, list[int]]
) -> None:
    person, (series, ids) = known(system, "ana"), segmented
    ((made,),) = system.query("SELECT series_id FROM archive_instance WHERE id = %s", ids[3])
    assert person.get(f"/series/{made}/").headers["Location"].split("&")[0] == f"/series/{series}/?image=1"
    dataset = pydicom.dcmread(io.BytesIO(person.get(f"/images/{ids[3]}/result.dcm").content))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.81", "1.2.81.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    target = io.BytesIO()
    dataset.save_as(target)
    (lonely,) = send(system, target.getvalue())
    ((alone,),) = system.query("SELECT series_id FROM archive_instance WHERE id = %s", lonely)
    assert "so it is shown alone" in person.get(f"/series/{alone}/").text


def test_a_malformed_segmentation_is_left_out(system: System, segmented: tuple[int, list[int]]) -> None:
    person, (series, ids) = known(system, "ana"), segmented
    dataset = pydicom.dcmread(io.BytesIO(person.get(f"/images/{ids[3]}/result.dcm").content))
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    del dataset.SegmentSequence
    target = io.BytesIO()
    dataset.save_as(target)
    (malformed,) = send(system, target.getvalue())
    assert person.get(f"/series/{series}/segments").text.count("nodule") == 1
    assert person.get(f"/images/{ids[0]}/segments.png?segments={malformed}.1.ff8000").status_code == 200


def test_segments_are_hidden_and_faded_and_the_address_says_so(ana: Visit, segmented: tuple[int, list[int]]) -> None:
    pixel = "document.querySelector('canvas').getContext('2d').getImageData(35, 25, 1, 1).data.slice(0, 3).join()"
    ana.page.goto(f"/series/{segmented[0]}/")
    box = ana.page.get_by_role("checkbox", name="nodule")
    expect(box).to_be_checked()
    ana.page.get_by_label("Opacity").fill("100")
    ana.page.wait_for_url("**opacity=100*")
    until(lambda: ana.page.evaluate(pixel) == "230,159,0")
    box.uncheck()
    ana.page.wait_for_url(re.compile(rf"hide={segmented[1][3]}\.1"))
    ana.page.reload()
    expect(box).not_to_be_checked()
    until(lambda: ana.page.evaluate(pixel) == "27,27,27")


# Every page

LOOKS: tuple[tuple[Any, int], ...] = (("light", 1280), ("dark", 375))
ALL_RULES: dict[str, Any] = {"resultTypes": ["violations"]}
RULES_OF_LOOKS = {"runOnly": ["color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size"]}


def paths_of(system: System, image: int, series: tuple[int, list[int]]) -> list[str]:
    ((study,),) = system.query("SELECT study_id FROM archive_series WHERE id = %s", series[0])
    paths = ["/", f"/studies/{study}/", f"/series/{series[0]}/", f"/images/{image}/", f"/images/{image}/attributes/"]
    paths += [
        "/uploads/",
        "/uploads/1/",
        "/operations/",
        "/deliveries/",
        "/audit/",
        "/people/",
        "/people/1/",
        "/account/",
        "/password/",
    ]
    return [*paths, "/?patient=nobody", "/nowhere"]


def is_wide(page: Page) -> bool:
    """Whether a page scrolls sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def test_axe_finds_no_violation_and_no_page_scrolls_sideways(
    system: System, browser: Browser, image: int, segmented: tuple[int, list[int]]
) -> None:
    system.post(instance(Rows=0)[1])
    visit = Visit(system, browser, "rui")
    violations, wide = [], []
    for path in paths_of(system, image, segmented):
        visit.page.goto(path)
        for scheme, width in LOOKS:
            visit.page.emulate_media(color_scheme=scheme)
            visit.page.set_viewport_size({"width": width, "height": 800})
            rules = ALL_RULES | ({} if width == LOOKS[0][1] else RULES_OF_LOOKS)
            found = Axe().run(visit.page, options=rules).response["violations"]
            violations += [(path, scheme, width, one["id"], one["nodes"][0]["html"]) for one in found]
            wide += [(path, width)] * is_wide(visit.page)
        visit.page.set_viewport_size({"width": 1920, "height": 1080})
        wide += [(path, 1920)] * is_wide(visit.page)
    assert (violations, wide) == ([], [])
    visit.errors.clear()  # of the unknown address
    visit.close()


def test_the_state_of_a_study_is_on_the_screen_of_a_phone(system: System, browser: Browser, image: int) -> None:
    visit = Visit(system, browser, "ana", viewport={"width": 375, "height": 740})
    visit.page.goto("/")
    box = visit.page.locator("tbody .badge.done").first.bounding_box()
    assert box
    assert 0 <= box["x"] <= box["x"] + box["width"] <= 375
    visit.close()


def test_a_long_name_takes_no_second_line_in_the_header_of_a_phone(system: System, browser: Browser) -> None:
    name = "maria.del.carmen rodriguez-fernandez@hospital.example"
    make_people(system, {name: []})
    visit = Visit(system, browser, name, viewport={"width": 375, "height": 740}, locale="es")
    visit.page.goto("/")
    brand, end = (visit.page.locator(part).bounding_box() for part in (".top .brand", ".top .end"))
    assert brand
    assert end
    assert end["y"] < brand["y"] + brand["height"]
    visit.close()


def test_the_viewer_fits_a_phone_and_two_fingers_zoom(
    system: System, browser: Browser, series: tuple[int, list[int]]
) -> None:
    size = {"width": 375, "height": 740}
    visit = Visit(system, browser, "ana", viewport=size, has_touch=True, is_mobile=True)
    page = visit.page
    page.goto(f"/series/{series[0]}/?image=2")
    shown(page, 2)
    expect(page.get_by_role("button", name="Scroll")).to_have_attribute("aria-pressed", "true")
    frame, tool = (page.locator(name).bounding_box() for name in (".frame", "[data-tool=line]"))
    assert frame
    assert tool
    for box in (frame, tool):
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 375
        assert 0 <= box["y"] <= box["y"] + box["height"] <= 740
    assert min(frame["width"], frame["height"]) > 330
    touch = visit.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 20), ("touchMove", 40)):
        points = [{"x": 180 - apart, "y": 300, "id": 0}, {"x": 180 + apart, "y": 300, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_url("**/?image=2&zoom=2.00*")
    visit.close()


def test_no_page_weighs_more_than_200_kb_before_its_images(
    ana: Visit, image: int, series: tuple[int, list[int]]
) -> None:
    for path in ("/", "/uploads/", f"/images/{image}/", f"/series/{series[0]}/"):
        ana.page.goto("about:blank")
        answers: list[Any] = []

        def collect(answer: Any, answers: list[Any] = answers) -> None:
            answers.append(answer)

        ana.page.on("response", collect)
        ana.page.goto(path)
        ana.page.wait_for_load_state("load")
        ana.page.remove_listener("response", collect)
        sizes = [len(answer.body()) for answer in answers if not re.search("png|events", answer.url)]
        assert 0 < sum(sizes) < 200_000


def test_keys_lead_to_the_content_and_to_the_next_image(ana: Visit, series: tuple[int, list[int]]) -> None:
    ana.page.goto(f"/images/{series[1][0]}/")
    ana.page.keyboard.press("Tab")
    expect(ana.page.get_by_text("Skip to content")).to_be_focused()
    ana.page.keyboard.press("j")
    ana.page.wait_for_url(f"**/images/{series[1][1]}/")
    ana.page.keyboard.press("k")
    ana.page.wait_for_url(f"**/images/{series[1][0]}/")


def test_somebody_without_a_role_reads_what_to_ask_for(system: System, browser: Browser) -> None:
    visit = Visit(system, browser, "nobody")
    visit.page.goto("/")
    expect(visit.page.get_by_text("You have no role yet. Ask an administrator")).to_be_visible()
    visit.page.goto("/operations/")
    expect(visit.page.get_by_text("This needs the role “Operator”.")).to_be_visible()
    visit.page.get_by_role("link", name="Studies").first.click()
    visit.page.wait_for_url("**/")
    visit.errors.clear()  # of the refused page
    visit.close()


# Operations, people, account


def test_operations_stay_live_and_draining_asks_first(system: System, olga: Visit) -> None:
    olga.page.goto("/operations/")
    row = olga.page.get_by_role("region", name="Workers").get_by_role("row").last  # the latest
    heartbeat = row.locator("time").last
    before = heartbeat.inner_text()
    expect(heartbeat).not_to_have_text(before, timeout=15_000)
    row.get_by_role("link", name="Drain").click()
    expect(olga.page.get_by_role("heading", name="Drain this worker?")).to_be_visible()
    olga.page.locator("main button").click()
    expect(olga.page.get_by_text("takes no new jobs and stops")).to_be_visible()
    expect(olga.page.get_by_text("Stopped").first).to_be_visible(timeout=30_000)
    expect(olga.page.get_by_text("takes no new jobs and stops")).to_be_visible()  # until it is dismissed
    system.parts["worker"].wait(30)
    system.start("worker")


def test_a_token_of_a_person_reads_and_sends_until_it_is_revoked(system: System, ana: Visit, image: int) -> None:
    ana.page.goto("/account/")
    ana.page.get_by_label("Name").fill("notebook")
    ana.page.get_by_role("button", name="Create a token").click()
    token = ana.page.locator(".card pre").inner_text()
    header = {"Authorization": f"Bearer {token}"}
    assert str(image) in str(system.ask("GET", "/api/instances/?page_size=1000", **header).json())
    uid, content = instance(StudyInstanceUID="1.2.88")
    answer = system.ask("POST", "/dicom-web/studies", content, Content_Type="application/dicom", **header)
    assert answer.status == 200
    assert system.query("SELECT source FROM archive_instance WHERE sop_instance_uid = %s", uid) == [("user:ana",)]
    ana.page.get_by_role("button", name="Revoke").click()
    expect(ana.page.get_by_text("The token is revoked.")).to_be_visible()
    assert system.ask("GET", "/api/instances/", **header).status == 401


def test_an_administrator_adds_a_person_who_logs_in(system: System, browser: Browser) -> None:
    visit = Visit(system, browser, "rui")
    visit.page.goto("/people/")
    visit.page.get_by_label("User name").fill("eva")
    visit.page.locator("form").get_by_label("Reader", exact=True).check()
    visit.page.get_by_role("button", name="Add", exact=True).first.click()
    password = visit.page.locator("pre").inner_text()
    visit.close()
    assert Person(system, "eva", password).get("/").status_code == 200


# Language


def test_a_person_chooses_spanish(system: System, browser: Browser, image: int) -> None:
    visit = Visit(system, browser, "ana")
    visit.page.goto("/account/")
    visit.page.get_by_label("Language").select_option("es")
    visit.page.get_by_role("button", name="Save").click()
    expect(visit.page.get_by_role("link", name="Estudios")).to_be_visible()
    visit.page.goto(f"/images/{image}/")
    assert visit.page.locator("html").get_attribute("lang") == "es"
    expect(visit.page.get_by_text("904,93")).to_be_visible()
    expect(visit.page.get_by_role("cell", name="16\xa0384")).to_be_visible()
    expect(visit.page.get_by_role("row").filter(has_text="Procesado")).to_be_visible()
    visit.close()


def test_reasons_are_translated(system: System) -> None:
    answer = known(system, "ana").send(b"no image" * 30)
    person = Person(system, "ana")
    person.session.headers["Accept-Language"] = "es"
    assert "no es un archivo DICOM" in person.get(answer.headers["Location"]).text


def test_the_login_page_names_the_product_in_both_languages(system: System) -> None:
    person = Person(system)
    assert "Log in to Imaging Portal" in person.get("/login/").text
    person.session.headers["Accept-Language"] = "es"
    assert "Entrar en el portal de imágenes" in person.get("/login/").text


SAME_IN_SPANISH = {
    "{0}, {1}",
    "UID",
    "CPU",
    "Series",
    "no",
    "Auditor",
    "Roles",
    "TLS (C-STORE)",
    "URL (STOW-RS, webhook)",
}
TEXTS = (
    r"""{% translate (["'])(?P<text>.*?)\1 %}""",
    r"""{% blocktranslate(?! count).*?%}(?P<text>.*?){% endblocktranslate %}""",
    r"""{% blocktranslate count.*?%}(?P<text>.*?){% plural %}""",
    r"""(?:\b_|gettext\w*)\(\s*"(?P<text>[^"]+)"\s*[,)]""",
)


def test_every_text_is_translated_to_spanish() -> None:
    spanish = read_catalogue()
    texts = set()
    for path in (SECTION / "portal").rglob("*"):
        if path.suffix in (".html", ".py"):
            found = (re.finditer(pattern, path.read_text(encoding="utf-8")) for pattern in TEXTS)
            texts |= {re.sub(r"{{ (\w+) }}", r"%(\1)s", match["text"]) for matches in found for match in matches}
    assert len(texts) > 200
    assert {text for text in texts if spanish.gettext(text) == spanish.ngettext(text, "", 1) == text} <= SAME_IN_SPANISH


def test_no_page_has_english_text_for_spanish_readers(
    system: System, image: int, segmented: tuple[int, list[int]]
) -> None:
    person = Person(system, "rui")
    person.session.headers["Accept-Language"] = "es"
    legend, own_names = f"/series/{segmented[0]}/segments", {"English"}
    pages = {path: person.get(path).text for path in [*paths_of(system, image, segmented), legend]}
    english = {message for message, text in read_catalogue()._catalog.items() if text != message} - own_names
    left = {(path, text) for path, page in pages.items() for text in read_texts(page) & english}
    assert left == set()


def read_catalogue() -> Any:
    with (SECTION / "portal/locale/es/LC_MESSAGES/django.mo").open("rb") as file:
        return gettext.GNUTranslations(file)


def read_texts(page: str) -> set[str]:
    """Return the texts of a page, between tags and in the labels of its elements."""
    found = re.findall(r">([^<>]+)<|(?:aria-label|data-name|alt|title)=\"([^\"]+)\"", page)
    return {html.unescape(text).strip() for pair in found for text in pair if text.strip()}


def test_times_are_shown_in_the_zone_of_the_reader(system: System, browser: Browser, image: int) -> None:
    visit = Visit(system, browser, "ana", timezone_id="Asia/Tokyo", locale="en-GB")
    visit.page.goto("/")
    moment = visit.page.locator("time").first
    expected = visit.page.evaluate(
        "time => new Intl.DateTimeFormat('en', {dateStyle: 'medium', timeStyle: 'short', timeZone: 'Asia/Tokyo'})"
        ".format(new Date(time))",
        moment.get_attribute("datetime"),
    )
    expect(moment).to_have_text(expected)
    visit.close()
