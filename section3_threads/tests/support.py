"""Helpers that the tests share."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SECTION = Path(__file__).parent.parent


class Outcome(NamedTuple):
    status: int
    output: str
    errors: list[str]


Run = Callable[..., Outcome]
Write = Callable[[str | bytes], Path]


def element(number: int, *rows: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"e{number}", "data": list(rows or ("1 2 3",)), "deviceName": "RX 1"} | fields


def keyed(*elements: dict[str, Any]) -> str:
    """Build a file of elements by key."""
    return json.dumps({str(number): one for number, one in enumerate(elements, 1)}, indent=1)


def start(*command: object) -> subprocess.Popen[bytes]:
    """Start the command line as a shell does in the foreground: SIGINT ends it even where pytest ignores SIGINT."""

    def restore_sigint() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, str(SECTION / "main.py"), *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=restore_sigint,
    )
