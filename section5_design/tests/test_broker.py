"""The doorbell on files."""

import subprocess
import sys
from queue import Empty

from config.celery import app
from system import SECTION

COUNT = 300
WRITE = """
from config.celery import app
channel = app.connection().default_channel
for _ in range({count}): channel._put("bell", {{"body": "x" * 300_000}})
"""


def test_a_message_that_is_being_written_is_not_read() -> None:
    reader = app.connection().default_channel
    with subprocess.Popen([sys.executable, "-c", WRITE.format(count=COUNT)], cwd=SECTION) as writer:
        found = 0
        while True:
            over = writer.poll() is not None
            try:
                assert len(reader._get("bell")["body"]) == 300_000
                found += 1
            except Empty:
                if over:
                    break
    assert found == COUNT
