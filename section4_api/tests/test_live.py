"""The service over the wire: schemathesis, keep-alive, chunked bodies, exports, broken requests."""

import contextlib
import socket
import subprocess
import sysconfig
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from live import Service
from support import ELEMENTS, element, path

MIB = 1 << 20


def test_schemathesis_finds_nothing_in_any_of_its_phases(live: Service, tmp_path: Path) -> None:
    program = Path(sysconfig.get_path("scripts")) / "schemathesis"
    done = subprocess.run(
        [
            *(program, "--config-file", Path(__file__).parent / "schemathesis.toml", "run", f"{live.url}/api/schema/"),
            *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "60", "--seed", "4"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "6 selected / 6 total" in done.stdout


def test_a_chunked_body_is_read(live: Service) -> None:
    with contextlib.closing(live.connect()) as connection:
        body = (part for part in (b'{"id": "chunked", ', b'"data": ["1 2"], "deviceName": "RX"}'))
        connection.request("POST", ELEMENTS, body, {"Content-Type": "application/json"}, encode_chunked=True)
        assert connection.getresponse().status == 201
    assert live.ask("GET", path("chunked")).json()["data_size"] == 2


@pytest.mark.parametrize(
    "where", [ELEMENTS, path("nobody"), f"{ELEMENTS}?format=csv", "/live", "/static/admin/css/base.css"]
)
def test_head_is_get_without_the_body(live: Service, where: str) -> None:
    length = live.ask("GET", where).headers["Content-Length"]
    with socket.create_connection((urlsplit(live.url).hostname, urlsplit(live.url).port), timeout=20) as connection:
        for method, target in (("HEAD", where), ("GET", "/live")):
            connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_WR)
        head, second, body = connection.makefile(newline="").read().split("\r\n\r\n")
    assert f"Content-Length: {length}\r\n" in head
    assert second.startswith("HTTP/1.1 200")
    assert body == '{"status": "live"}'


def test_a_large_export_is_complete_and_needs_little_memory(live: Service) -> None:
    """250 MB of rows are exported while no process of the service grows by a fifth of that."""
    row = "1.2345678901234567 " * 50_000
    for number in range(280):
        assert live.ask("POST", f"{ELEMENTS}?fields=id", element(f"big{number}", row)).status == 201
    service = psutil.Process(live.process.pid)
    processes = [service, *service.children(recursive=True)]
    before = [process.memory_info().rss for process in processes]
    with contextlib.closing(live.connect()) as connection:
        connection.request("GET", f"{ELEMENTS}?format=ndjson&fields=id,raw_data&id__startswith=big")
        response = connection.getresponse()
        size = most = 0
        while part := response.read(8 * MIB):
            size += len(part)
            most = max(most, *(p.memory_info().rss - b for p, b in zip(processes, before, strict=True)))
    assert size == int(response.headers["Content-Length"]) > 250 * MIB
    assert most < 50 * MIB


def test_metrics_count_requests_and_their_time(live: Service) -> None:
    for method in ("GET", "MADEUP"):
        live.ask(method, path("nobody"), X_Request_ID=method)
        live.wait_for_log(request_id=method)
    text = live.ask("GET", "/metrics").body.decode()
    count = 'http_request_duration_seconds_count{method="%s",status="%s",view="element-detail"}'
    assert count % ("GET", 404) in text
    assert count % ("other", 405) in text
