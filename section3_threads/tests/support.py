"""What the tests share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    status: int
    output: str
    errors: list[str]


Run = Callable[..., Outcome]
Write = Callable[[str | bytes], Path]


def element(number: int, *rows: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"e{number}", "data": list(rows or ("1 2 3",)), "deviceName": "RX 1"} | fields


def keyed(*elements: dict[str, Any]) -> str:
    """The file that the test describes."""
    return json.dumps({str(number): one for number, one in enumerate(elements, 1)}, indent=1)
