"""Who may send over HTTP."""

import os
import subprocess
import sys
from pathlib import Path

from system import SECTION, System, database, instance


def test_once_there_is_a_token_every_upload_needs_one(tmp_path: Path) -> None:
    with database(f"tokens_{os.getpid()}") as url, System(tmp_path, url, ("web",)) as system:

        def token_command(*words: str) -> str:
            command = [sys.executable, str(SECTION / "manage.py"), "token", *words]
            done = subprocess.run(command, env=system.environment, capture_output=True, text=True, check=True)
            return done.stdout.strip()

        def send(token: str) -> int:
            headers = {"Content_Type": "application/dicom", "Authorization": f"Bearer {token}"}
            uid, content = instance()
            answer = system.ask("POST", "/dicom-web/studies", content, **headers)
            found = system.query("SELECT source FROM archive_instance WHERE sop_instance_uid = %s", uid)
            assert found == ([("http:the ward",)] if answer.status == 200 else [])
            return answer.status

        assert system.post(instance()[1]).status == 200
        token = token_command("create", "the ward")
        assert system.post(instance()[1]).status == 401
        assert send(token) == 200
        assert send("guessed") == 401
        assert "the ward" in token_command("list")
        assert system.query("SELECT digest FROM accounts_apitoken") != [(token,)]
        assert second_sender_reads(system, token_command("create", "the laboratory"))
        token_command("revoke", "the ward")
        assert send(token) == 401


def second_sender_reads(system: System, token: str) -> bool:
    """Whether a sender of content that another sent first finds it by the address of the response."""
    authorization = {"Authorization": f"Bearer {token}"}
    content = instance(SOPInstanceUID="1.2.3.4.5.6")[1]
    for headers in ({"Authorization": f"Bearer {first_token(system)}"}, authorization):
        answer = system.ask("POST", "/dicom-web/studies", content, Content_Type="application/dicom", **headers)
        assert answer.status == 200
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    assert url.startswith(f"http://127.0.0.1:{system.http}/")
    found = system.ask("GET", url, Accept="application/dicom; transfer-syntax=*", **authorization)
    return (found.status, found.body) == (200, content)


def first_token(system: System) -> str:
    command = [sys.executable, str(SECTION / "manage.py"), "token", "create", "the first"]
    return subprocess.run(command, env=system.environment, capture_output=True, text=True, check=True).stdout.strip()
