"""A line for every request, with what became of it; never a token."""

import json
import logging
from collections.abc import Callable
from logging.config import DictConfigurator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from support import ELEMENTS, element, path, post, problem

FORMATTER = DictConfigurator(settings.LOGGING).configure_formatter(settings.LOGGING["formatters"]["json"])
Lines = Callable[[], list[logging.LogRecord]]


def last(lines: Lines) -> dict[str, Any]:
    (record,) = lines()[-1:]
    text = FORMATTER.format(record)
    assert text.splitlines() == [text]  # which also splits at U+0085 and U+2028
    line: dict[str, Any] = json.loads(text)
    return line


def test_a_request_is_one_line(api: Client, lines: Lines) -> None:
    answer = post(api, element("a"), X_Request_ID="mine-1")
    assert answer["X-Request-ID"] == "mine-1"
    assert len(lines()) == 1
    line = last(lines)
    assert line.pop("milliseconds") > 0
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "section4.requests",
        "message": "request",
        "request_id": "mine-1",
        "method": "POST",
        "path": ELEMENTS,
        "status": 201,
        "bytes": len(answer.content),
        "client": "127.0.0.1",
        "user": None,
    }


@pytest.mark.parametrize("given", ["", "a b", "a" * 65, 'x"y', "{}", "é"])
def test_an_invalid_request_id_is_replaced(api: Client, given: str) -> None:
    made = api.get(ELEMENTS, headers={"X-Request-ID": given})["X-Request-ID"]
    assert len(made) == 32
    assert made != api.get(ELEMENTS)["X-Request-ID"]


@pytest.mark.parametrize(("where", "status"), [(path("a"), 404), ("/nowhere", 404), (f"{ELEMENTS}?x=1", 400)])
def test_an_error_is_a_line_with_the_id_that_the_client_sees(
    api: Client, lines: Lines, where: str, status: int
) -> None:
    document = problem(api.get(where), status)
    line = last(lines)
    assert (line["request_id"], line["status"]) == (document["request_id"], status)


@pytest.mark.parametrize(
    "where", ["/a%C2%85b", "/a%E2%80%A8b", f"{ELEMENTS}?a%0Ab%C2%85=1", f"{ELEMENTS}?{'x' * 999}=1"]
)
def test_a_request_cannot_break_or_flood_its_line(api: Client, lines: Lines, where: str) -> None:
    api.get(where)
    assert len(json.dumps(last(lines))) < 600


def test_an_unknown_host_is_one_line_without_a_traceback(
    api: Client, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    problem(api.get(ELEMENTS, headers={"Host": "evil.example"}), 400)
    assert last(lines)["reason"] == "the request is not valid (DisallowedHost)"
    assert len(caplog.records) == 1


def test_the_line_of_a_400_has_the_reason_and_no_value(api: Client, lines: Lines) -> None:
    problem(post(api, element("secret/id")), 400)
    assert last(lines)["reason"] == "#/id invalid"


def test_a_bug_is_500_and_its_traceback_is_logged(
    api: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(api, element("a"))
    monkeypatch.setattr("elements.views.build_etag", lambda _: 1 // 0)
    api.raise_request_exception = False
    document = problem(api.get(path("a")), 500)
    (record,) = [record for record in caplog.records if record.name == "django.request"]
    line = json.loads(FORMATTER.format(record))
    assert line["request_id"] == document["request_id"]
    assert "ZeroDivisionError" in line["exc_info"]
    assert "ZeroDivisionError" not in json.dumps(document)


def test_an_export_is_a_line_when_it_has_been_sent(api: Client, lines: Lines) -> None:
    post(api, element("a"))
    answer = api.get(f"{ELEMENTS}?format=csv")
    content = b"".join(answer.streaming_content)
    answer.close()
    assert (last(lines)["path"], last(lines)["bytes"]) == (ELEMENTS, len(content))
