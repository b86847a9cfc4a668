"""deploy/nginx.conf in front of the production profile."""

import contextlib
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from http.client import HTTPSConnection
from typing import NamedTuple

import pytest

from live import SECTION, Answer, Service, ask, free_port, production_service
from support import ELEMENTS, element, needs


class Front(NamedTuple):
    """nginx, the service behind it, and the headers of a client that may write."""

    service: Service
    tls_port: int
    port: int
    headers: dict[str, str]
    context: ssl.SSLContext

    def ask(self, method: str, path: str, body: object = None, source: str = "127.0.0.2") -> Answer:
        """Send a request from another address than that of the slow clients."""
        connection = HTTPSConnection(
            "127.0.0.1", self.tls_port, timeout=60, context=self.context, source_address=(source, 0)
        )
        with contextlib.closing(connection):
            return ask(connection, method, path, body, **self.headers)

    def open(self, stack: contextlib.ExitStack, source: str, request: str) -> ssl.SSLSocket:
        """Send a request, or the beginning of one, and read nothing."""
        plain = socket.create_connection(("127.0.0.1", self.tls_port), timeout=20, source_address=(source, 0))
        client = stack.enter_context(self.context.wrap_socket(plain))
        headers = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        client.sendall(request.replace("\r\n", f"\r\n{headers}", 1).encode())
        return client


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    nginx, openssl = needs("nginx"), needs("openssl")
    folder = tmp_path_factory.mktemp("nginx")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=api.example"),
            *("-out", certificate, "-keyout", key),
        ],
        check=True,
        capture_output=True,
    )
    with production_service(folder / "api.log") as service, contextlib.ExitStack() as stack:
        tls_port, port = free_port(), free_port()
        site = (SECTION / "deploy" / "nginx.conf").read_text(encoding="utf-8")
        for here, there in {
            "127.0.0.1:8000": service.url.removeprefix("http://"),
            "listen 443": f"listen 127.0.0.1:{tls_port}",
            "listen 80": f"listen 127.0.0.1:{port}",
            "/etc/ssl/certs/api.example.org.pem": str(certificate),
            "/etc/ssl/private/api.example.org.key": str(key),
            "api.example.org": "api.example",
        }.items():
            assert here in site
            site = site.replace(here, there)
        configuration = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        bodies = f"client_body_temp_path {folder}/bodies; proxy_temp_path {folder}/responses; access_log off;"
        configuration.write_text(
            f"daemon off; {user} pid {folder}/pid; events {{}} http {{ {bodies}\n{site}}}", encoding="utf-8"
        )
        process = stack.enter_context(subprocess.Popen([nginx, "-p", folder, "-c", configuration, "-e", "stderr"]))
        stack.callback(process.terminate)
        context = ssl.create_default_context(cafile=str(certificate))
        context.check_hostname = False
        headers = {"Host": "api.example", "Authorization": f"Bearer {service.tokens['write']}"}
        running = Front(service, tls_port, port, headers, context)
        while process.poll() is None:
            with contextlib.suppress(OSError):
                running.ask("GET", "/live")
                break
        yield running


def test_nginx_ends_tls_and_passes_the_client_on(front: Front) -> None:
    assert front.ask("POST", f"{ELEMENTS}?fields=id", element("front")).status == 201
    front.service.wait_for_log(client="127.0.0.2")
    with socket.create_connection(("127.0.0.1", front.port), timeout=20) as client:
        client.sendall(b"GET /api/elements/ HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n")
        answer = client.makefile().read()
    assert answer.startswith("HTTP/1.1 301")
    assert "Location: https://api.example/api/elements/" in answer


@pytest.mark.parametrize("path", ["/live", "/ready", "/metrics"])
def test_nginx_hides_health_and_metrics(front: Front, path: str) -> None:
    assert front.ask("GET", path).status == 404
    assert front.service.ask("GET", path, Host="localhost", X_Forwarded_Proto="https").status == 200


def test_login_attempts_of_one_address_are_limited(front: Front) -> None:
    statuses = [front.ask("GET", "/admin/login/", source="127.0.0.9").status for _ in range(20)]
    assert statuses[:10] == [200] * 10
    assert statuses[-1] == 429
    assert front.ask("GET", "/admin/login/").status == 200


def test_slow_clients_delay_no_other_client(front: Front) -> None:
    with contextlib.ExitStack() as stack:
        body = "POST /api/elements/ HTTP/1.1\r\nContent-Length: 500\r\n\r\n{"
        trickling = [front.open(stack, f"127.0.1.{number // 50}", body) for number in range(200)]
        assert front.ask("GET", ELEMENTS, source="127.0.1.0").status == 429  # it has 50 connections
        for _ in range(5):
            for client in trickling:
                client.sendall(b" ")
            assert front.service.ask("GET", "/live", Host="localhost").status == 200
            assert front.ask("GET", f"{ELEMENTS}?page_size=1").status == 200
