"""Who may send over HTTP."""

import os
import subprocess
import sys
from pathlib import Path

from system import SECTION, System, database, instance


def test_once_there_is_a_token_every_upload_needs_one(tmp_path: Path) -> None:
    with database(f"tokens_{os.getpid()}") as url, System(tmp_path, url) as system:

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
        token_command("revoke", "the ward")
        assert send(token) == 401
