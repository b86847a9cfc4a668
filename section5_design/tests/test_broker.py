"""Messages in files, and work without messages."""

import os
import subprocess
import sys
from pathlib import Path
from queue import Empty
from typing import Any

from config.celery import app
from jobs.fallback import Fallback
from system import SECTION, until

COUNT = 300
WRITE = """
from config.celery import app
channel = app.connection().default_channel
for _ in range({count}): channel._put("messages", {{"body": "x" * 300_000}})
"""
DECLARE = """
from config.celery import app
from kombu import Exchange, Queue
channel = app.connection().default_channel
for number in range(500): Queue(f"q{number}", Exchange(f"e{number}"), f"q{number}").bind(channel).declare()
"""


def test_processes_may_declare_a_queue_at_the_same_time() -> None:
    processes = [subprocess.Popen([sys.executable, "-c", DECLARE], cwd=SECTION) for _ in range(4)]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]


def test_a_message_that_is_being_written_is_not_read() -> None:
    reader = app.connection().default_channel
    with subprocess.Popen([sys.executable, "-c", WRITE.format(count=COUNT)], cwd=SECTION) as writer:
        found = 0
        while True:
            over = writer.poll() is not None
            try:
                assert len(reader._get("messages")["body"]) == 300_000
                found += 1
            except Empty:
                if over:
                    break
    assert found == COUNT


def test_a_fallback_may_take_longer_to_start_than_a_job_may_run(settings: Any, tmp_path: Path) -> None:
    settings.TASK_SECONDS = 0.5
    heartbeat = tmp_path / "heartbeat"
    fallback = Fallback("small", dict(os.environ), heartbeat)
    created = heartbeat.stat().st_mtime
    until(lambda: fallback.is_over() or heartbeat.stat().st_mtime != created)
    assert heartbeat.stat().st_mtime != created
    fallback.stop()
