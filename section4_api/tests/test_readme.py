"""The README and the program say the same."""

import re
import subprocess
from pathlib import Path

import main
from live import SECTION, Service
from support import needs

README = (SECTION / "README.md").read_text(encoding="utf-8")


def session() -> list[tuple[str, str]]:
    """The commands of the session, each with what it prints."""
    block = README.partition("## A session")[2].partition("```console\n")[2].partition("```")[0]
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def test_the_session_prints_what_the_readme_shows(live: Service) -> None:
    needs("curl")
    assert len(session()) == 7
    for command, output in session():
        here = command.replace("http://127.0.0.1:8000", live.url)
        done = subprocess.run(["sh", "-c", here], capture_output=True, text=True, check=True)
        assert done.stdout.rstrip("\n") == output.rstrip("\n"), command


def test_the_docs_page_needs_no_other_server(live: Service, tmp_path: Path) -> None:
    chromium = needs("chromium", "google-chrome")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=10000", f"{live.url}/api/docs/"], capture_output=True, text=True, check=True
    )
    assert done.stdout.count('class="opblock opblock-') == 6
    assert "Store one element, or every element of a map" in done.stdout
    assert "Content Security Policy" not in done.stderr
    policy = live.ask("GET", "/api/docs/").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")


def test_every_option_is_in_the_readme() -> None:
    for action in main.build_parser()._actions:
        for option in action.option_strings:
            assert f"`{option}`" in README or option in ("-h", "--help"), option


def test_every_dependency_has_its_reason_in_the_readme() -> None:
    for line in (SECTION / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            assert re.split(r"[>=<; ]", line)[0] in README
