"""The portal in a real browser, on the real system."""

import gettext
import io
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from pydicom.data import get_testdata_file

from people import PASSWORD, Person, make_people
from system import SECTION, System, database, instance, needs, until

PEOPLE = {"ana": ["submitters", "ward"], "olga": ["operators"], "rui": ["administrators"]}
FRAMES = "US1_J2KR.dcm", "emri_small_RLE.dcm"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with database(f"portal_{os.getpid()}") as url, System(tmp_path_factory.mktemp("portal"), url) as running:
        make_people(running, PEOPLE)
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("google-chrome") or needs("chromium", "chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-quic"])
        yield running
        running.close()


class Visit:
    """A browser's window in which somebody is logged in; what the page complains of is remembered."""

    def __init__(self, system: System, browser: Browser, name: str, **options: Any) -> None:
        self.base = f"http://127.0.0.1:{system.http}"
        self.context: BrowserContext = browser.new_context(base_url=self.base, **options)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self.complaints.extend([said.text] if said.type == "error" else []))
        self.page.goto("/login/")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page.get_by_role("heading", name="Studies")).to_be_visible()

    def close(self) -> None:
        self.context.close()
        assert self.complaints == []


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
    """A CT image that is ready."""
    return arrived(system, instance()[1])


def arrived(system: System, content: bytes) -> int:
    """The id of an image that ana sent, when its result is there."""
    answer = Person(system, "ana").send(content)
    upload = int(answer.headers["Location"].split("/")[2])
    rows = system.query(
        "SELECT instance_id, sop_instance_uid FROM uploads_uploadfile JOIN archive_instance AS i"
        " ON i.id = instance_id WHERE upload_id = %s",
        upload,
    )
    ((id_, uid),) = rows
    system.wait_for(uid)
    return int(id_)


def test_files_are_chosen_sent_and_each_has_its_reason(ana: Visit, tmp_path: Path) -> None:
    (tmp_path / "one.dcm").write_bytes(instance()[1])
    (tmp_path / "two.txt").write_text("no image")
    ana.page.goto("/uploads/")
    ana.page.get_by_label("Files").set_input_files([tmp_path / "one.dcm", tmp_path / "two.txt"])
    ana.page.get_by_role("button", name="Send").click()
    ana.page.wait_for_url(re.compile("/uploads/[0-9]+/"))
    expect(ana.page.get_by_text("not a DICOM file")).to_be_visible()
    expect(ana.page.get_by_role("link", name="Ready")).to_be_visible(timeout=20_000)


def test_a_folder_is_dropped(ana: Visit, tmp_path: Path) -> None:
    folder = tmp_path / "patient" / "series"
    folder.mkdir(parents=True)
    for number in range(5):
        (folder / f"{number}.dcm").write_bytes(instance()[1])
    ana.page.goto("/uploads/")
    ana.page.get_by_label("A folder").set_input_files(tmp_path / "patient")
    ana.page.wait_for_url(re.compile("/uploads/[0-9]+/"))
    expect(ana.page.get_by_text("patient/series/4.dcm")).to_be_visible()


DROP = """([text, name]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
    document.querySelector("form.drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
}"""


def test_a_file_is_dropped(ana: Visit) -> None:
    from base64 import b64encode

    ana.page.goto("/uploads/")
    ana.page.evaluate(DROP, [b64encode(instance()[1]).decode(), "dropped.dcm"])
    ana.page.wait_for_url(re.compile("/uploads/[0-9]+/"))
    expect(ana.page.get_by_text("dropped.dcm")).to_be_visible()


def large(path: Path) -> Path:
    """A file that goes in several parts."""
    path.write_bytes(instance(Rows=2048, Columns=4096, PixelData=os.urandom(2048 * 4096 * 2))[1])
    return path


def test_a_large_file_goes_on_after_the_browser_was_closed(system: System, browser: Browser, tmp_path: Path) -> None:
    path = large(tmp_path / "large.dcm")
    first = Visit(system, browser, "ana")
    parts: list[int] = []

    def only_one_part(route: Any) -> None:
        if route.request.method == "PATCH":
            parts.append(1)
        route.continue_() if len(parts) < 2 else route.abort()

    first.page.route(
        "**/files/*", lambda route: only_one_part(route) if route.request.method == "PATCH" else route.continue_()
    )
    first.page.goto("/uploads/")
    first.page.get_by_label("Files").set_input_files(path)
    first.page.get_by_role("button", name="Send").click()
    expect(first.page.get_by_text("goes on by itself")).to_be_visible()
    kept = first.context.storage_state()
    first.context.close()
    context = browser.new_context(base_url=first.base, storage_state=kept)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.extend([request.method] if "/files/" in request.url else []))
    page.goto("/uploads/")
    page.get_by_label("Files").set_input_files(path)
    page.get_by_role("button", name="Send").click()
    page.wait_for_url(re.compile("/uploads/[0-9]+/"))
    context.close()
    assert asked == ["HEAD", "PATCH", "PATCH"]  # what is missing of three parts
    assert system.query("SELECT state FROM uploads_uploadfile WHERE name = 'large.dcm'") == [("new",)]


def test_what_is_sent_can_be_cancelled(system: System, ana: Visit, tmp_path: Path) -> None:
    path = large(tmp_path / "unwanted.dcm")
    ana.page.route("**/files/*", lambda route: None if route.request.method == "PATCH" else route.continue_())
    ana.page.goto("/uploads/")
    ana.page.get_by_label("Files").set_input_files(path)
    with ana.page.expect_request(lambda request: request.method == "PATCH"):
        ana.page.get_by_role("button", name="Send").click()
    ana.page.unroute("**/files/*")
    ana.page.get_by_role("button", name="Cancel").click()
    expect(ana.page.get_by_text("unwanted.dcm: cancelled")).to_be_visible()
    until(lambda: system.query("SELECT state FROM uploads_uploadfile WHERE name = 'unwanted.dcm'") == [("cancelled",)])
    ana.complaints.clear()  # of the request that was cut off


def test_cancelling_is_repeated_while_the_file_is_locked(system: System, ana: Visit, tmp_path: Path) -> None:
    path = large(tmp_path / "locked.dcm")
    locked = [True]

    def handle(route: Any) -> None:
        if route.request.method == "DELETE" and locked:
            locked.clear()
            route.fulfill(status=423)
        elif route.request.method != "PATCH":
            route.continue_()

    ana.page.route("**/files/*", handle)
    ana.page.goto("/uploads/")
    ana.page.get_by_label("Files").set_input_files(path)
    with ana.page.expect_request(lambda request: request.method == "PATCH"):
        ana.page.get_by_role("button", name="Send").click()
    ana.page.get_by_role("button", name="Cancel").click()
    expect(ana.page.get_by_text("locked.dcm: cancelled")).to_be_visible()
    assert system.query("SELECT state FROM uploads_uploadfile WHERE name = 'locked.dcm'") == [("cancelled",)]
    ana.complaints.clear()  # of the locked file, and of the request that was cut off


@pytest.mark.parametrize("stream", [True, False], ids=["by events", "by polling"])
def test_a_page_moves_by_itself(system: System, olga: Visit, *, stream: bool) -> None:
    if not stream:
        olga.page.route("**/events", lambda route: route.abort())
    name = "Moves^By" + ("Events" if stream else "Polling")
    olga.page.goto("/")
    system.post(instance(PatientName=name, StudyInstanceUID=f"1.2.{int(stream)}")[1])
    row = olga.page.get_by_role("row").filter(has_text=name.replace("^", ", "))
    expect(row.get_by_text("1 ready")).to_be_visible(timeout=20_000)
    olga.complaints.clear()  # of the stream that was cut off


def test_what_a_person_types_is_left_alone_when_the_page_moves(system: System, olga: Visit) -> None:
    olga.page.goto("/")
    olga.page.get_by_label("Patient ID").fill("half a wo")
    system.post(instance(PatientName="Arrives^Now", StudyInstanceUID="1.2.7")[1])
    expect(olga.page.get_by_text("Arrives, Now")).to_be_visible(timeout=20_000)
    expect(olga.page.get_by_label("Patient ID")).to_have_value("half a wo")
    expect(olga.page.get_by_label("Patient ID")).to_be_focused()


def test_the_window_is_moved_by_slider_and_by_preset(ana: Visit, image: int) -> None:
    ana.page.goto(f"/images/{image}/")
    picture = ana.page.get_by_role("img", name="The image")
    before = picture.get_attribute("src")
    with ana.page.expect_response(re.compile("picture.png.*center=-600&width=1500")) as answer:
        ana.page.get_by_role("button", name="Lung").click()
    assert answer.value.status == 200
    assert picture.get_attribute("src") != before
    slider = ana.page.get_by_label("Window width")
    with ana.page.expect_response(re.compile("picture.png")):
        slider.focus()
        slider.press("ArrowLeft")


def test_frames_are_turned_by_a_slider(system: System, ana: Visit) -> None:
    path = get_testdata_file("emri_small_RLE.dcm", download=False) or get_testdata_file("rtdose.dcm", download=False)
    id_ = arrived(system, instance(Path(str(path)).name)[1])
    ana.page.goto(f"/images/{id_}/")
    with ana.page.expect_response(re.compile(r"picture.png.*frame=1")) as answer:
        ana.page.get_by_label("Frame").press("ArrowRight")
    assert answer.value.status == 200


def test_an_image_is_looked_at_without_a_script(system: System, browser: Browser, image: int) -> None:
    visit = Visit(system, browser, "ana", java_script_enabled=False)
    visit.page.goto(f"/images/{image}/?center=40&width=400")
    picture = visit.page.get_by_role("img", name="The image")
    assert "center=40.0&width=400.0" in str(picture.get_attribute("src"))
    assert picture.evaluate("image => image.naturalWidth") == 128
    expect(visit.page.get_by_text("904.93")).to_be_visible()
    visit.close()


def test_two_images_side_by_side(system: System, ana: Visit, image: int) -> None:
    other = arrived(system, instance("MR_small.dcm")[1])
    ana.page.goto(f"/compare/?a={image}&b={other}")
    expect(ana.page.get_by_role("img", name="The image")).to_have_count(2)


def test_everything_is_taken_away(system: System, image: int) -> None:
    person = Person(system, "ana")
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


@pytest.mark.parametrize(
    ("query", "found"),
    [
        *(
            ("patient_id=1CT1", 1),
            ("patient_id=nobody", 0),
            ("name=compressed", 1),
            ("date=2004-01", 1),
            ("date=1999", 0),
        ),
        *(("modality=ct", 1), ("modality=XA", 0), ("state=done", 1), ("state=quarantined", 0), ("sender=user:ana", 1)),
    ],
)
def test_studies_are_found_by_an_address(system: System, image: int, query: str, found: int) -> None:
    page = Person(system, "ana").get(f"/?{query}").text
    assert bool(found) == ("CompressedSamples, CT1" in page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(system: System, browser: Browser, image: int, scheme: str) -> None:
    system.post(instance(Rows=0)[1])
    visit = Visit(system, browser, "rui", color_scheme=scheme)
    ((study,),) = system.query("SELECT min(id) FROM archive_study")
    paths = [
        "/",
        "/uploads/",
        "/uploads/1/",
        f"/studies/{study}/",
        f"/images/{image}/",
        "/operations/",
        "/audit/",
        "/nowhere",
    ]
    for path in [*paths, f"/compare/?a={image}&b={image}", "/?name=nobody"]:
        visit.page.goto(path)
        found = Axe().run(visit.page).response["violations"]
        assert [(path, one["id"], one["nodes"][0]["html"]) for one in found] == []
    visit.complaints.clear()  # of the address that is none
    visit.close()


@pytest.mark.parametrize("path", ["/", "/uploads/", "/images/{image}/", "/operations/", "/audit/"])
def test_a_phone_shows_a_page_without_moving_it_sideways(
    system: System, browser: Browser, image: int, path: str
) -> None:
    visit = Visit(system, browser, "rui", viewport={"width": 375, "height": 740})
    visit.page.goto(path.format(image=image))
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 375
    visit.close()


def test_no_page_weighs_more_than_200_kb_before_its_images(ana: Visit, image: int) -> None:
    for path in ("/", "/uploads/", f"/images/{image}/"):
        ana.page.goto("about:blank")
        answers: list[Any] = []

        def note(answer: Any, answers: list[Any] = answers) -> None:
            answers.append(answer)

        ana.page.on("response", note)
        ana.page.goto(path)
        ana.page.wait_for_load_state("load")
        ana.page.remove_listener("response", note)
        sizes = [len(answer.body()) for answer in answers if not re.search("picture|events", answer.url)]
        assert 0 < sum(sizes) < 200_000


def test_keys_lead_to_the_content_and_to_the_next_image(system: System, ana: Visit) -> None:
    person_images = [arrived(system, instance(SeriesInstanceUID="1.2.99")[1]) for _ in range(2)]
    ana.page.goto(f"/images/{person_images[0]}/")
    ana.page.keyboard.press("Tab")
    expect(ana.page.get_by_text("Skip to content")).to_be_focused()
    ana.page.keyboard.press("j")
    ana.page.wait_for_url(f"**/images/{person_images[1]}/")
    ana.page.keyboard.press("k")
    ana.page.wait_for_url(f"**/images/{person_images[0]}/")


def test_somebody_who_reads_spanish_reads_spanish(system: System, browser: Browser, image: int) -> None:
    context = browser.new_context(base_url=f"http://127.0.0.1:{system.http}", locale="es-ES")
    page = context.new_page()
    page.goto("/login/")
    expect(page.get_by_role("button", name="Entrar")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "es"
    context.close()


TEXTS = (
    r"""{% translate (["'])(?P<text>.*?)\1 %}""",
    r"""{% blocktranslate.*?%}(?P<text>.*?){% endblocktranslate %}""",
    r"""(?:\b_|gettext)\(\s*"(?P<text>[^"]+)"\s*\)""",
)


def test_every_text_has_its_spanish() -> None:
    with (SECTION / "portal/locale/es/LC_MESSAGES/django.mo").open("rb") as file:
        spanish = gettext.GNUTranslations(file)
    texts = set()
    for path in (SECTION / "portal").rglob("*"):
        if path.suffix in (".html", ".py"):
            found = (re.finditer(pattern, path.read_text(encoding="utf-8")) for pattern in TEXTS)
            texts |= {re.sub(r"{{ (\w+) }}", r"%(\1)s", match["text"]) for matches in found for match in matches}
    assert len(texts) > 100
    assert {text for text in texts if spanish.gettext(text) == text} <= {"CPU", "Series", "no"}


def test_times_are_those_of_the_readers_zone(system: System, browser: Browser, image: int) -> None:
    visit = Visit(system, browser, "ana", timezone_id="Asia/Tokyo", locale="en-GB")
    visit.page.goto("/")
    moment = visit.page.locator("time").first
    shown = visit.page.evaluate(
        "time => new Intl.DateTimeFormat('en', {dateStyle: 'medium', timeStyle: 'medium', timeZone: 'Asia/Tokyo'})"
        ".format(new Date(time))",
        moment.get_attribute("datetime"),
    )
    expect(moment).to_have_text(shown)
    visit.close()
