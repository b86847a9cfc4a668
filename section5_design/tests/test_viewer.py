"""The OHIF viewer, fetched by npm, in Chromium."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from archive.models import Study
from people import Person, make_people
from query.viewer import viewer_url
from system import OVER_HTTP, SECTION, System, database, instance, needs

STUDY = "1.8.1"
FETCHED = Path(os.environ.get("VIEWER_CACHE") or Path.home() / ".cache" / "section5-viewer")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with the viewer, and a CT of 12 slices, each shifted against the one before."""
    needs("npm", "npm")
    folder = tmp_path_factory.mktemp("system")
    environment = os.environ | {"DATA_FOLDER": str(FETCHED)}
    if not (FETCHED / "viewer" / "index.html").is_file():
        command = [sys.executable, str(SECTION / "main.py"), "viewer"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            if os.environ.get("CI"):
                pytest.fail(done.stderr)
            pytest.skip(f"needs npm's registry: {done.stderr.strip()}")
    (folder / "viewer").symlink_to(FETCHED / "viewer")
    with database(f"viewer_{os.getpid()}") as url, System(folder, url, OVER_HTTP) as running:
        place = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": f"{STUDY}.1", "FrameOfReferenceUID": generate_uid()}
        pixels = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False))).pixel_array
        for number in range(12):
            position: dict[str, Any] = {"InstanceNumber": number + 1, "ImagePositionPatient": [0, 0, 5 * number]}
            shifted = np.roll(pixels, 8 * number, axis=1).tobytes()
            content = instance(**place, **position, PixelData=shifted)[1]
            assert running.post(content).status == 200
        make_people(running, {"olga": ["operators"]})
        yield running


@pytest.fixture
def page(archive: System) -> Iterator[Page]:
    """A browser in which an operator has logged in."""
    person = Person(archive, "olga")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        path = needs("chromium", "chromium")
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        for name, value in person.session.cookies.items():
            context.add_cookies([{"name": name, "value": value or "", "url": person.base}])
        yield context.new_page()
        browser.close()


def picture(page: Page) -> np.ndarray:
    """The pixels of the viewport, in grey."""
    shot = page.locator(".cornerstone-canvas").first.screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("L"), float)


def test_a_ct_series_is_shown_and_scrolled(archive: System, page: Page, tmp_path: Path) -> None:
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text) if message.type == "error" else None)
    page.goto(f"http://127.0.0.1:{archive.http}/viewer/viewer?StudyInstanceUIDs={STUDY}", timeout=120_000)
    canvas = page.locator(".cornerstone-canvas").first
    canvas.wait_for(timeout=120_000)
    page.wait_for_function("() => document.body.innerText.includes('(1/12)')", timeout=120_000)
    page.get_by_text("Skip all").click()  # of the viewer's tour
    page.wait_for_load_state("networkidle", timeout=120_000)
    first = picture(page)
    canvas.hover()
    for _ in range(6):
        page.mouse.wheel(0, 100)
    page.wait_for_function("() => !document.body.innerText.includes('(1/12)')", timeout=60_000)
    page.wait_for_load_state("networkidle", timeout=120_000)
    if target := os.environ.get("SCREENSHOT"):
        page.screenshot(path=target)
    assert first.std() > 20
    assert np.abs(picture(page) - first).mean() > 1
    assert not [text for text in messages if "Content Security Policy" in text]


def test_the_viewer_has_its_own_policy_and_the_portal_keeps_its(archive: System) -> None:
    person = Person(archive, "olga")
    policies = [person.get(path).headers["Content-Security-Policy"] for path in ("/viewer/", "/")]
    assert "wasm-unsafe-eval" in policies[0]
    assert "wasm-unsafe-eval" not in policies[1]
    for directive in ("default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'"):
        assert directive in policies[0]


def test_the_page_needs_a_login_and_files_outside_are_not_served(archive: System) -> None:
    assert Person(archive).get("/viewer/viewer?StudyInstanceUIDs=1").headers["Location"].startswith("/login/")
    for name in ("../keys/master", "..%2fkeys%2fmaster", "%2e%2e/keys/master", "no.js", "/etc/passwd", "%00"):
        answer = archive.ask("GET", f"/viewer/{name}")
        assert answer.status in (302, 400, 404)
    assert archive.ask("POST", "/viewer/").status in (403, 405)


def test_a_study_is_linked_only_where_the_viewer_is_installed(tmp_path: Path, settings: Any) -> None:
    settings.DATA_FOLDER = tmp_path
    assert viewer_url(Study(uid="1.2.3")) == ""
    (tmp_path / "viewer").mkdir()
    (tmp_path / "viewer" / "index.html").touch()
    assert viewer_url(Study(uid="1.2.3")) == "/viewer/viewer?StudyInstanceUIDs=1.2.3"


def test_without_the_viewer_there_is_one_line_and_no_link(tmp_path: Path) -> None:
    environment = os.environ | {"DATA_FOLDER": str(tmp_path), "PATH": str(tmp_path)}
    command = [sys.executable, str(SECTION / "main.py"), "viewer"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "npm" in done.stderr
