"""The production profile: it refuses to start half-configured, and every call needs a token."""

import contextlib
import http.client
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import Answer, Service, ask, database, manage, production_service
from support import ELEMENTS, element, path

TLS = {"Host": "api.example", "X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("SECRET_KEY", ""), ("ALLOWED_HOSTS", ""), ("DATABASE_URL", "")),
        *(("SECRET_KEY", "short"), ("PROFILE", "prod"), ("REQUEST_RATE", "x"), ("LOG_FILE", "/nowhere/api.log")),
        *(("DATABASE_URL", url) for url in ("sqlite:///x", "nonsense", "postgresql://user:password@host:port/name")),
    ],
)
def test_it_refuses_to_start_with(name: str, value: str) -> None:
    done = manage("--port", "0", program="main.py", **{name: value})
    again = manage("migrate", **{name: value})
    assert (done.returncode, again.returncode, again.stderr) == (1, 1, done.stderr)
    assert len(done.stderr.splitlines()) == 1
    assert name in done.stderr


def test_django_s_own_check_of_a_deployment_is_clean() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_it_serves_nothing_before_the_migrations(tmp_path: Path) -> None:
    with database(f"bare_{os.getpid()}") as url:
        done = manage("--port", "0", program="main.py", DATABASE_URL=url)
    assert done.returncode == 1
    assert done.stderr == "ERROR: the database: lacks migrations; run manage.py migrate\n"


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:

    with production_service(tmp_path_factory.mktemp("production") / "api.log", REQUEST_RATE="100/min") as running:
        yield running


def call(service: Service, token: str | None, method: str, where: str, body: Any = None, **more: str) -> Answer:
    headers = TLS | ({"Authorization": f"Bearer {token}"} if token else {}) | more
    with contextlib.closing(service.connect()) as connection:
        return ask(connection, method, where, body, **headers)


def test_a_call_without_a_token_is_401(production: Service) -> None:
    for method, where in (
        ("GET", ELEMENTS),
        ("POST", ELEMENTS),
        ("DELETE", path("a")),
        ("GET", "/api/schema/"),
        ("GET", "/api/docs/"),
    ):
        answer = call(production, None, method, where, element("a") if method == "POST" else None)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == 401


@pytest.mark.parametrize("header", ["Bearer x", "Bearer", "Bearer a b", "Basic eDp5", "Bearer \u00e9", "x" * 5000])
def test_an_invalid_token_is_401(production: Service, header: str) -> None:
    assert call(production, None, "GET", ELEMENTS, Authorization=header).status == 401


def test_a_read_token_reads_and_does_not_write(production: Service) -> None:
    assert call(production, production.tokens["read"], "GET", ELEMENTS).status == 200
    assert call(production, production.tokens["read"], "POST", ELEMENTS, element("a")).status == 403
    assert call(production, production.tokens["read"], "DELETE", path("a")).status == 403


def test_a_write_token_writes_and_reads(production: Service) -> None:
    assert call(production, production.tokens["write"], "POST", ELEMENTS, element("w")).status == 201
    assert (
        call(production, production.tokens["write"], "GET", path("w"), X_Forwarded_For="1.1.1.1, 2.2.2.2").status == 200
    )
    production.wait_for_log(client="2.2.2.2")
    assert call(production, production.tokens["write"], "DELETE", path("w")).status == 204


def test_a_revoked_token_ends_at_once(production: Service) -> None:
    token = manage("token", "create", "passing", DATABASE_URL=production.database_url).stdout.strip()
    assert call(production, token, "GET", ELEMENTS).status == 200
    assert "passing\tread" in manage("token", "list", DATABASE_URL=production.database_url).stdout
    assert manage("token", "revoke", "passing", DATABASE_URL=production.database_url).returncode == 0
    assert call(production, token, "GET", ELEMENTS).status == 401


def test_the_log_has_the_name_of_a_token_and_never_the_token(production: Service) -> None:
    token = production.tokens["write"]
    call(production, token, "GET", f"{ELEMENTS}?token={token}", X_Request_ID="named")
    production.wait_for_log(request_id="named", user="the writeer")
    assert token not in production.log.read_text(encoding="utf-8")


def test_a_token_name_is_unique(production: Service) -> None:
    again = manage("token", "create", "the reader", DATABASE_URL=production.database_url)
    assert again.returncode == 1
    assert "CommandError: there is already a user 'the reader'" in again.stderr
    for name in ([], [""], ["a\tb"]):
        refused = manage("token", "create", *name, DATABASE_URL=production.database_url)
        assert refused.stderr == "CommandError: give the token a name of printable characters: token create NAME\n"
    assert manage("token", "revoke", "nobody", DATABASE_URL=production.database_url).returncode == 1


def test_a_call_without_tls_is_redirected(production: Service) -> None:
    with contextlib.closing(production.connect()) as connection:
        answer = ask(connection, "GET", ELEMENTS, Host="api.example")
    assert (answer.status, answer.headers["Location"]) == (301, "https://api.example/api/elements/")


def test_health_checks_need_no_token_and_no_tls(production: Service) -> None:
    for where in ("/live", "/ready"):
        assert production.ask("GET", where, Host="localhost").status == 200


def test_too_many_requests_are_429_with_retry_after(production: Service) -> None:
    token = manage("token", "create", "hasty", DATABASE_URL=production.database_url).stdout.strip()
    headers = TLS | {"Authorization": f"Bearer {token}"}
    connection: http.client.HTTPConnection
    with contextlib.closing(production.connect()) as connection:
        answers = [ask(connection, "GET", ELEMENTS, **headers) for _ in range(120)]
    assert [answer.status for answer in answers[:100]] == [200] * 100
    assert answers[-1].status == 429
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
