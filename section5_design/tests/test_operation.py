"""Operation: health and metrics, backup and restore, manifests, rolling updates."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from django.core.management import call_command
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from core.postgres_programs import SERVER_PROGRAMS, program_folders
from system import SECTION, System, administer, database, free_port, instance, listens, needs, until, url_of

DEPLOY = SECTION / "deploy"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with database(f"operation_{os.getpid()}") as url, System(tmp_path_factory.mktemp("operation"), url) as running:
        yield running


def manage(system: System, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SECTION / "manage.py"), *words]
    return subprocess.run(command, env=system.environment | environment, capture_output=True, text=True, check=False)


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.fixture(scope="module")
def ports(system: System) -> dict[str, int]:
    """The health port of each part."""
    ports = {}
    for name in ("web", "receiver", "worker", "maintenance"):
        system.kill(name)
        ports[name] = free_port()
        system.start(name, "--health-port", str(ports[name]))
    until(lambda: all(asked(port, "/ready")[0] == 200 for port in ports.values()))
    until(lambda: listens(system.http) and listens(system.dicom))
    return ports


def test_each_program_exposes_health_and_metrics(system: System, ports: dict[str, int]) -> None:
    assert all(asked(port, "/live") == (200, "live\n") for port in ports.values())
    uid, content = instance()
    system.post(content)
    system.post(b"no image")
    system.wait_for(uid)
    web, worker, maintenance = (asked(ports[name], "/metrics")[1] for name in ("web", "worker", "maintenance"))
    assert 'dicom_received_total{interface="http",outcome="new"} 1.0' in web
    assert 'dicom_received_total{interface="http",outcome="refused"} 1.0' in web
    assert 'dicom_attempts_total{outcome="done"} 1.0' in worker
    assert "dicom_database_up 1.0" in maintenance
    assert 'dicom_queue_delay_seconds{queue="small"} 0.0' in maintenance
    assert re.search(r'dicom_workers\{state="(working|full)"\} [12]\.0', maintenance)


def test_a_stuck_loop_is_not_ready(system: System, ports: dict[str, int]) -> None:
    import signal

    os.kill(system.parts["maintenance"].pid, signal.SIGSTOP)
    try:
        until(lambda: asked(ports["maintenance"], "/ready")[0] == 503)
        assert asked(ports["maintenance"], "/live")[0] == 200
    finally:
        os.kill(system.parts["maintenance"].pid, signal.SIGCONT)
    until(lambda: asked(ports["maintenance"], "/ready")[0] == 200)


def test_alerts_and_dashboard_use_exported_metrics(system: System, ports: dict[str, int]) -> None:
    uid, content = instance()
    system.post(content)
    system.wait_for(uid)
    entity = AE(ae_title="ECHO")
    entity.add_requested_context(Verification)
    entity.associate("127.0.0.1", system.dicom, ae_title="SECTION5").release()
    told = "".join(asked(port, "/metrics")[1] for port in ports.values())
    families = set(re.findall(r"^# TYPE (\w+)", told, re.MULTILINE))
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
    panels = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
    expressions = [rule["expr"] for rule in rules] + [one["expr"] for panel in panels for one in panel["targets"]]
    wanted = {re.sub(r"_bucket$", "", name) for text in expressions for name in re.findall(r"dicom_\w+", text)}
    assert wanted <= families | {f"{name}_total" for name in families}
    assert len(wanted) > 10


def test_the_health_port_closes_when_its_program_is_killed(system: System, ports: dict[str, int]) -> None:
    os.kill(system.parts["maintenance"].pid, 9)
    until(lambda: asked(ports["maintenance"], "/live")[0] == 0)
    system.parts["maintenance"].wait()
    system.start("maintenance", "--health-port", str(ports["maintenance"]))


def test_prometheus_accepts_the_alert_rules() -> None:
    promtool = needs("promtool", "prometheus")
    for words in (["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"]):
        subprocess.run([promtool, *words], cwd=DEPLOY, check=True, capture_output=True)


def test_the_manifests_match_their_schemas() -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    subprocess.run([check, "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"], check=True)
    validate = Path(sys.executable).with_name("kubernetes-validate")
    manifests = [path for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")) if path.name != "adapter-rules.yaml"]
    subprocess.run([validate, "--strict", *manifests], check=True, capture_output=True)
    assert len(manifests) == 6


def test_the_manifests_start_existing_commands() -> None:
    import main

    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    commands = [one["command"] for name, one in compose.items() if name in ("web", "receiver", "maintenance")]
    commands += [compose[name]["command"] for name in ("worker-small", "worker-all")]
    for part in yaml.safe_load_all((DEPLOY / "kubernetes" / "parts.yaml").read_text()):
        commands.append(part["spec"]["template"]["spec"]["containers"][0]["args"])
    assert len(commands) == 10
    for words in commands:
        main.build_parser().parse_args(words)


def test_a_restored_backup_is_identical(system: System, tmp_path: Path) -> None:
    uids = []
    for _ in range(3):
        uid, content = instance()
        system.post(content)
        uids.append(uid)
    system.settle()
    done = manage(system, "backup", str(tmp_path / "backup"))
    assert done.returncode == 0, done.stderr
    again = manage(system, "backup", str(tmp_path / "backup"))
    assert " 0 of them new" in again.stdout
    name = f"restored_{os.getpid()}"
    administer(f'DROP DATABASE IF EXISTS "{name}"')
    administer(f'CREATE DATABASE "{name}"')
    try:
        shutil.copytree(system.folder / "keys", tmp_path / "system" / "keys")
        place = {"DATABASE_URL": url_of(name), "DATA_FOLDER": str(tmp_path / "system")}
        restored = manage(system, "restore", str(tmp_path / "backup"), **place)
        assert restored.returncode == 0, restored.stderr
        assert "unaltered" in restored.stdout
        assert manage(system, "restore", str(tmp_path / "backup"), **place).returncode == 1
        other = System(tmp_path / "system", url_of(name))
        for table in ("archive_study", "archive_series", "archive_instance", "analysis_job", "analysis_result"):
            rows = f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} AS t"
            assert other.query(rows) == system.query(rows)
        with other:
            uid, content = instance()
            other.post(content)
            assert other.wait_for(uid) == ("done", "")
            assert other.results_of(uids[0]) == 1
            other.ledger()
    finally:
        administer(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_the_arguments_of_pg_dump_contain_no_password(system: System, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    real = next(folder for folder in program_folders() if (folder / "pg_dump").exists())
    for name in (*SERVER_PROGRAMS, "pg_dump"):
        wrapper = tmp_path / "bin" / name
        wrapper.write_text(f'#!/bin/sh\necho "$0 $@" >> {tmp_path}/arguments\nexec {real}/{name} "$@"\n')
        wrapper.chmod(0o755)
    parts = urlsplit(system.database_url)
    password = parts.password or "any-password"  # a server that trusts local users accepts any
    netloc = f"{parts.username or 'postgres'}:{password}@{parts.netloc.rpartition('@')[2]}"
    url = parts._replace(netloc=netloc).geturl()
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = manage(system, "backup", str(tmp_path / "backup"), DATABASE_URL=url, PATH=path)
    assert done.returncode == 0, done.stderr
    arguments = (tmp_path / "arguments").read_text()
    assert "pg_dump --format" in arguments
    assert password not in arguments


def test_an_altered_or_incomplete_backup_is_not_restored(system: System, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    assert manage(system, "restore", str(folder)).returncode == 1
    assert manage(system, "backup", str(folder)).returncode == 0
    dump = folder / "database.dump"
    dump.write_bytes(dump.read_bytes()[:-1] + b"x")
    assert "was altered" in manage(system, "restore", str(folder)).stderr


@pytest.mark.django_db
def test_the_migrations_match_the_models() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


NEXT = """
from django.db import migrations
class Migration(migrations.Migration):
    atomic = False
    dependencies = [("archive", "LATEST")]
    operations = [
        migrations.RunSQL("ALTER TABLE archive_instance ADD COLUMN next_version integer NOT NULL DEFAULT 0"),
        migrations.RunSQL("CREATE INDEX CONCURRENTLY next_index ON archive_instance (next_version)"),
    ]
"""
VERSION = """
def analyse(file, context):
    from analysis.default import analyse as before
    figures, picture = before(file, context)
    return figures | {"version": 2}, picture
"""


def test_a_rolling_update_under_load_loses_nothing(tmp_path: Path) -> None:
    """A migration of the next version, a new worker beside the old one, the old one drained; sending all the while."""
    folder = tmp_path / "system"
    folder.mkdir()
    (tmp_path / "next_version.py").write_text(VERSION)
    copy = tmp_path / "next" / "section5_design"
    shutil.copytree(SECTION, copy, ignore=shutil.ignore_patterns("__pycache__", "data", "tests", ".*"))
    migrations = copy / "archive" / "migrations"
    latest = max(path.stem for path in migrations.glob("0*.py"))
    (migrations / "0099_next.py").write_text(NEXT.replace("LATEST", latest))
    with database(f"upgrade_{os.getpid()}") as url, System(folder, url) as system:
        sent: list[str] = []
        statuses: set[int] = set()
        enough = threading.Event()

        def go_on_sending() -> None:
            while not enough.is_set():
                uid, content = instance()
                statuses.add(system.post(content).status)
                sent.append(uid)

        sender = threading.Thread(target=go_on_sending)
        sender.start()
        try:
            until(lambda: len(sent) > 10)
            migrate = [sys.executable, str(copy / "manage.py"), "migrate", "-v0"]
            settings = {"DJANGO_SETTINGS_MODULE": "config.settings"}  # the next version comes without tests
            with_patience = system.environment | settings | {"PGOPTIONS": "-c lock_timeout=2s"}
            subprocess.run(migrate, env=with_patience, check=True, capture_output=True)
            there = len(sent)
            until(lambda: len(sent) > there + 10)
            old = system.parts["worker"]
            new = system.environment | settings | {"ANALYSIS": "next_version.analyse", "PYTHONPATH": str(tmp_path)}
            command = [sys.executable, str(copy / "main.py"), "worker", "--processes", "2"]
            system.parts["worker"] = subprocess.Popen(command, env=new, stdout=system.log, stderr=system.log)
            until(lambda: counted(system, "figures ? 'version'") > 0)
            old.terminate()
            assert old.wait(60) == 0
        finally:
            enough.set()
            sender.join()
        system.settle()
        assert statuses == {200}
        assert counted(system, "true") == len(sent)
        assert system.query("SELECT max(attempts) FROM analysis_job") == [(1,)]
        system.ledger()


def counted(system: System, what: str) -> int:
    return int(system.query(f"SELECT count(*) FROM analysis_result WHERE {what}")[0][0])
