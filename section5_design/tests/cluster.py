"""Patroni with etcd and PostgreSQL, three of each, every one in its own network namespace, which can be cut off.

deploy/patroni.yml configures it. Without root there are no namespaces; then the tests are skipped.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from core.postgres_programs import major_version, program_folders
from namespaces import Network
from system import SECTION, family, kill_all, needs, until

CONFIGURATION = SECTION / "deploy" / "patroni.yml"
PROGRAMS = ("initdb", "pg_ctl", "postgres", "pg_basebackup", "pg_rewind", "pg_controldata", "pg_isready")
MEMBERS = (1, 2, 3)
PATIENCE = 120.0  # seconds
# Neither PostgreSQL nor the programs need root; the one capability lets `nobody` read a Python in root's home.
AS_NOBODY = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
AS_NOBODY += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]


def find_postgresql() -> Path:
    """The newest PostgreSQL with all programs that Patroni calls."""
    folders = {*program_folders(), *Path("/usr/lib/postgresql").glob("*/bin")}
    complete = [folder for folder in folders if all((folder / name).exists() for name in PROGRAMS)]
    if not complete:
        return Path(needs("pg_rewind", "postgresql")).parent
    return max(complete, key=major_version)


class Cluster(Network):
    """Three etcd members (.11 to .13) and three PostgreSQL servers (.21 to .23) on a bridge; this side is .1."""

    def __init__(self, folder: Path, **dynamic: Any) -> None:
        etcd, postgresql = ({f"{kind}{n}": first + n for n in MEMBERS} for kind, first in (("etcd", 10), ("pg", 20)))
        super().__init__(etcd | postgresql)
        self.folder, self._dynamic = folder, dynamic
        self._etcd = needs("etcd", "etcd-server")
        self._patroni = needs("patroni", "'patroni[etcd3]', with pip", path=str(Path(sys.executable).parent))
        self._postgresql = find_postgresql()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.password = "only-for-tests"

    @property
    def url(self) -> str:
        """The DATABASE_URL: all servers, of which the one that accepts writes is used."""
        hosts = ",".join(self.address(f"pg{number}") for number in MEMBERS)
        return f"postgresql://postgres:{self.password}@{hosts}/postgres?target_session_attrs=read-write"

    def __enter__(self) -> "Cluster":
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.made())
            stack.callback(self._kill_all)
            for number in MEMBERS:
                self.start(f"etcd{number}")
            for number in MEMBERS:
                self.start(f"pg{number}")
            until(self.is_whole, PATIENCE)
            self._ending = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def _kill_all(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    def start(self, name: str) -> None:
        """Start an etcd member, or a Patroni, which starts its PostgreSQL."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        shutil.chown(home, "nobody", "nogroup")
        home.chmod(0o700)
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C"}
        if name.startswith("etcd"):
            command = self._etcd_command(name)
        else:
            environment |= self._patroni_environment(name)
            command = [self._patroni, str(self._configuration())]
        command = [*self.inside(name), *AS_NOBODY, *command]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env=environment, cwd=home, stdout=log, stderr=log, start_new_session=True
            )

    def _etcd_command(self, name: str) -> list[str]:
        peers = ",".join(f"etcd{number}=http://{self.address(f'etcd{number}')}:2380" for number in MEMBERS)
        here = f"http://{self.address(name)}"
        options = {
            "name": name,
            "data-dir": self.folder / name / "data",
            "listen-client-urls": f"{here}:2379",
            "advertise-client-urls": f"{here}:2379",
            "listen-peer-urls": f"{here}:2380",
            "initial-advertise-peer-urls": f"{here}:2380",
            "initial-cluster": peers,
            "initial-cluster-token": self.tag,
        }
        return [self._etcd, *(f"--{option}={value}" for option, value in options.items())]

    def _patroni_environment(self, name: str) -> dict[str, str]:
        address = self.address(name)
        return {
            "PATRONI_NAME": name,
            "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{address}:8008",
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{address}:5432",
            "PATRONI_POSTGRESQL_DATA_DIR": str(self.folder / name / "data"),
            "PATRONI_POSTGRESQL_PGPASS": str(self.folder / name / "pgpass"),
            "PATRONI_POSTGRESQL_BIN_DIR": str(self._postgresql),
            "PATRONI_ETCD3_HOSTS": ",".join(f"{self.address(f'etcd{number}')}:2379" for number in MEMBERS),
            "PATRONI_SUPERUSER_PASSWORD": self.password,
            "PATRONI_REPLICATION_PASSWORD": self.password,
        }

    def _configuration(self) -> Path:
        """The configuration of deploy/, with what a control run changes in it."""
        if not self._dynamic:
            return CONFIGURATION
        import yaml

        document = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
        document["bootstrap"]["dcs"] |= self._dynamic
        path = self.folder / "patroni.yml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return path

    def state(self) -> dict[str, dict[str, Any]]:
        """The members as a Patroni describes them; empty if none answers."""
        for number in MEMBERS:
            with contextlib.suppress(OSError, ValueError):
                address = f"http://{self.address(f'pg{number}')}:8008/cluster"
                with urllib.request.urlopen(address, timeout=2) as response:
                    return {member["name"]: member for member in json.load(response)["members"]}
        return {}

    def primary(self) -> str:
        """The name of the primary; empty if there is none."""
        return next((name for name, one in self.state().items() if one["role"] == "leader"), "")

    def standbys(self, role: str = "") -> list[str]:
        return [name for name, one in self.state().items() if one["role"] != "leader" and role in one["role"]]

    def is_whole(self) -> bool:
        """Whether there are a primary and two standbys that stream, one of them synchronous if that is configured."""
        members = self.state()
        roles = sorted(one["role"] for one in members.values())
        synchronous = self._dynamic.get("synchronous_mode", True)
        streaming = all(one["state"] in ("running", "streaming") for one in members.values())
        lag = all(one["role"] == "leader" or one["state"] == "streaming" for one in members.values())
        return roles == ["leader", "replica", "sync_standby" if synchronous else "replica"] and streaming and lag

    def kill(self, name: str) -> None:
        """kill -9 a member with all its processes; PostgreSQL's have a session of their own."""
        process = self.processes.pop(name)
        folder = str(self.folder / name / "data")
        everyone = {*family(process.pid), *(one for one in psutil.process_iter() if folder in self._command_of(one))}
        for one in list(everyone):
            everyone |= set(family(one.pid))
        kill_all(everyone)
        process.wait()
        psutil.wait_procs(list(everyone), timeout=10)

    def stop(self, name: str) -> None:
        """End a member as an upgrade does: Patroni stops its PostgreSQL, and hands a primary's role over."""
        process = self.processes.pop(name)
        process.terminate()
        process.wait(PATIENCE)

    def kill_postgresql(self, name: str) -> None:
        """kill -9 the processes of a PostgreSQL, and not its Patroni."""
        pid = int((self.folder / name / "data" / "postmaster.pid").read_text().split()[0])
        kill_all(family(pid))

    @staticmethod
    def _command_of(process: psutil.Process) -> str:
        with contextlib.suppress(psutil.NoSuchProcess):
            return " ".join(process.cmdline())
        return ""

    def remove_data(self, name: str) -> None:
        shutil.rmtree(self.folder / name / "data")
