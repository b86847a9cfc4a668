"""The production profile: it refuses to start with anything missing, and runs with TLS everywhere."""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import requests

from config.production import find_faults
from local import certificates
from local.embedded_postgres import EmbeddedPostgres
from system import ANY_LOAD, SECTION, default_ports, free_port, instance, listens, needs, public_folder, until
from test_outages import RABBITMQ, rabbitmq


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    certificates.make(folder, ["localhost", "127.0.0.1"])
    (folder / "master").write_text(secrets.token_hex(32))
    subprocess.run(
        [needs("openssl", "openssl"), "genpkey", "-algorithm", "ed25519", "-out", folder / "signing.pem"], check=True
    )
    for name in ("master", "signing.pem"):
        (folder / name).chmod(0o600)
    return folder


@pytest.fixture
def good(pki: Path) -> dict[str, str]:
    return {
        "PROFILE": "production",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ALLOWED_HOSTS": "localhost",
        "TLS_CERTIFICATE": str(pki / "server.pem"),
        "TLS_KEY": str(pki / "server.key"),
        "TLS_CLIENT_CA": str(pki / "ca.pem"),
        "BROKER_CA": str(pki / "ca.pem"),
        "MASTER_KEY_FILE": str(pki / "master"),
        "SIGNING_KEY_FILE": str(pki / "signing.pem"),
        "DATABASE_URL": f"postgresql://app:long@db/name?sslmode=verify-full&sslrootcert={pki / 'ca.pem'}",
        "BROKER_URL": "amqps://app:long@mq:5671//",
    }


def test_a_complete_production_configuration_starts(good: dict[str, str]) -> None:
    assert list(find_faults(good)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("SECRET_KEY", ""), ("SECRET_KEY", "short"), ("ALLOWED_HOSTS", ""), ("ALLOWED_HOSTS", "*")),
        *(("TLS_CERTIFICATE", ""), ("TLS_KEY", "/nowhere"), ("MASTER_KEY_FILE", ""), ("SIGNING_KEY_FILE", "")),
        *(("DATABASE_URL", ""), ("DATABASE_URL", "postgresql://app:long@db/name")),
        ("DATABASE_URL", "postgresql://app:long@db/name?sslmode=require&sslrootcert=x"),
        ("DATABASE_URL", "postgresql://postgres:postgres@db/name?sslmode=verify-full&sslrootcert=x"),
        ("STANDBY_URL", "postgresql://app:long@db/name"),
        *(("BROKER_URL", ""), ("BROKER_URL", "amqp://app:long@mq//"), ("BROKER_URL", "amqps://guest:guest@mq//")),
        ("BROKER_URL", "amqps://app:long@mq1//;amqp://app:long@mq2//"),
        ("STORAGE_URL", "http://store/bucket"),
    ],
)
def test_missing_and_insecure_settings_are_named(good: dict[str, str], name: str, value: str) -> None:
    found = list(find_faults(good | {name: value}))
    assert len(found) == 1
    assert name in found[0]


def test_a_key_readable_by_others_is_named(good: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("x")
    path.chmod(0o644)
    assert list(find_faults(good | {"TLS_KEY": str(path)})) == [f"TLS_KEY: {path} is readable by others (chmod 640)"]


@pytest.mark.parametrize("part", [[], ["web"], ["worker"], ["maintenance"]])
def test_no_program_starts_with_insecure_settings(part: list[str]) -> None:
    environment = {"PATH": os.environ["PATH"], "PROFILE": "production"}
    command = [sys.executable, str(SECTION / "main.py"), *part]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    for name in ("SECRET_KEY", "ALLOWED_HOSTS", "TLS_KEY", "MASTER_KEY_FILE", "DATABASE_URL", "BROKER_URL"):
        assert name in done.stderr


@pytest.fixture(scope="module")
def servers(pki: Path) -> Iterator[tuple[str, str]]:
    """A PostgreSQL and a RabbitMQ that speak TLS: their URLs."""
    needs("rabbitmq-server", "rabbitmq-server", path=RABBITMQ)
    with public_folder() as folder, EmbeddedPostgres(folder / "server") as server:
        password = unquote(urlsplit(server.url).password or "")
        port = free_port()
        for kind, name in (("pem", "server.crt"), ("key", "server.key")):
            target = server.folder / "postgresql" / name
            target.write_bytes((pki / f"server.{kind}").read_bytes())
            server._give_away(target)
            target.chmod(0o600)
        server._shut_down()
        (server.folder / "postgresql" / "pg_hba.conf").write_text(
            "local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        )
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c ssl=on -c unix_socket_directories='{server.folder}'"
        server._run(
            *("pg_ctl", "start", "-D", server._data, "-l", server.folder / "postgresql.log", "-w", "-o", options)
        )
        tls = folder / "rabbitmq.conf"
        amqps = free_port()
        tls.write_text(
            f"listeners.tcp = none\nlisteners.ssl.default = 127.0.0.1:{amqps}\n"
            f"ssl_options.cacertfile = {pki / 'ca.pem'}\nssl_options.certfile = {pki / 'server.pem'}\n"
            f"ssl_options.keyfile = {pki / 'server.key'}\nssl_options.versions.1 = tlsv1.2\n"
            "default_user = section5\ndefault_pass = a-long-password\n"
        )
        (folder / "rabbitmq").mkdir()
        with rabbitmq(folder / "rabbitmq", tls, amqps):
            database = f"postgresql://section5:{password}@localhost:{port}/postgres"
            yield (
                f"{database}?sslmode=verify-full&sslrootcert={pki / 'ca.pem'}",
                f"amqps://section5:a-long-password@localhost:{amqps}//",
            )


def test_everything_runs_with_tls_and_logs_json(
    good: dict[str, str], servers: tuple[str, str], pki: Path, tmp_path: Path
) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DATA_FOLDER": str(tmp_path / "data"), **good}
    environment |= {"DATABASE_URL": servers[0], "BROKER_URL": servers[1]} | ANY_LOAD
    # As a person names them, from the folder that they are in.
    environment = {name: value.replace(f"{pki}/", "") for name, value in environment.items()}

    def manage(*words: str) -> str:
        command = [sys.executable, str(SECTION / "manage.py"), *words]
        return subprocess.run(
            command, cwd=pki, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    manage("migrate", "-v0")
    token = manage("token", "create", "pacs")
    manage("ae", "add", "CT1", "127.0.0.1")
    log = tmp_path / "log"
    with (
        default_ports(),
        log.open("wb") as out,
        subprocess.Popen(
            [sys.executable, str(SECTION / "main.py")], cwd=pki, env=environment, stdout=out, stderr=out
        ) as running,
    ):
        try:
            until(lambda: "Ctrl-C" in log.read_text(), 90)
            http, dicom = re.findall(r"on port (\d+)", log.read_text())
            base, ca = f"https://localhost:{http}", str(pki / "ca.pem")
            uid, content = instance()
            headers = {"Content-Type": "application/dicom", "Authorization": f"Bearer {token}", "X-Request-ID": "one"}
            assert requests.post(f"{base}/dicom-web/studies", content, timeout=30, verify=ca).status_code == 401
            answer = requests.post(f"{base}/dicom-web/studies", content, headers=headers, timeout=30, verify=ca)
            assert answer.status_code == 200
            assert "max-age" in answer.headers["Strict-Transport-Security"]
            _, image = instance()
            path = tmp_path / "image.dcm"
            path.write_bytes(image)
            tls = ["+tls", str(pki / "client.key"), str(pki / "client.pem"), "+cf", ca]
            command = [needs("storescu", "dcmtk"), *tls, "-aet", "CT1", "localhost", dicom, str(path)]
            subprocess.run(command, check=True, capture_output=True, timeout=60)

            def results() -> int:
                found = requests.get(f"{base}/api/results/", headers=headers, timeout=30, verify=ca).json()["results"]
                return len([one for one in found if one["sop_instance_uid"] == uid])

            until(lambda: results() == 1)
            until(lambda: "unaltered" in manage("audit", "verify"))
            manage("verify")
        finally:
            running.terminate()
            assert running.wait(60) == 0
    plain = ("Every program is ready", "The first account", "Ctrl-C")
    lines = [line for line in log.read_text().splitlines() if line.strip() and not line.startswith(plain)]
    entries = [json.loads(line) for line in lines]
    assert {line["correlation_id"] for line in entries if line["name"] == "section5.images"} >= {"one"}
    assert not listens(int(http))


def test_servers_with_certificates_of_another_authority_are_refused(
    good: dict[str, str], servers: tuple[str, str], pki: Path, tmp_path: Path
) -> None:
    certificates.make(tmp_path / "other", ["localhost"])
    other = str(tmp_path / "other" / "ca.pem")
    right = {"PATH": os.environ["PATH"], "DATA_FOLDER": str(tmp_path / "data"), **good}
    right |= {"DATABASE_URL": servers[0], "BROKER_URL": servers[1]}

    def told(code: str, **changes: str) -> str:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=SECTION, env=right | changes, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip().splitlines()[-1]

    start = "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings'; import django; django.setup(); "
    ask = start + "from django.db import connection; connection.ensure_connection(); print('connected')"
    ring = start + "from config.celery import app; app.connection_for_write().connect(); print('connected')"
    assert told(ask) == told(ring) == "connected"
    assert "certificate verify failed" in told(ask, DATABASE_URL=servers[0].replace(str(pki / "ca.pem"), other))
    assert "CERTIFICATE_VERIFY_FAILED" in told(ring, BROKER_CA=other)
