"""Three RabbitMQ nodes as a cluster, each in its own network namespace, which can be cut off.

deploy/rabbitmq-cluster.conf configures them.
"""

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

import psutil

from namespaces import Network
from system import SECTION, kill_all, needs, until

CONFIGURATION = SECTION / "deploy" / "rabbitmq-cluster.conf"
PROGRAMS = "/usr/lib/rabbitmq/bin"
NODES = ("mq1", "mq2", "mq3")
PATIENCE = 120.0  # seconds


class BrokerCluster(Network):
    """The nodes .31 to .33 on a bridge; this side is .1."""

    def __init__(self, folder: Path) -> None:
        super().__init__({name: 30 + int(name[-1]) for name in NODES})
        self.folder = folder
        self._server = needs("rabbitmq-server", "rabbitmq-server", path=PROGRAMS)
        self._control = needs("rabbitmqctl", "rabbitmq-server", path=PROGRAMS)

    @property
    def url(self) -> str:
        """The BROKER_URL: every node, of which a program uses one that responds."""
        return ";".join(f"amqp://guest:guest@{self.address(name)}//" for name in NODES)

    def __enter__(self) -> "BrokerCluster":
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.made())
            for name in NODES:
                stack.callback(self.kill, name)
                self.start(name)
            until(self.is_whole, PATIENCE)
            self._ending = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def _environment(self, name: str) -> dict[str, str]:
        home = self.folder / name
        home.mkdir(exist_ok=True)
        cookie = home / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text("only-for-tests")
            cookie.chmod(0o400)
        configuration = home / "rabbitmq.conf"
        nodes = (f"cluster_formation.classic_config.nodes.{one[-1]} = rabbit@{self.address(one)}\n" for one in NODES)
        lines = [CONFIGURATION.read_text(encoding="utf-8"), "loopback_users = none\n", *nodes]
        configuration.write_text("".join(lines), encoding="utf-8")
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_NODENAME": f"rabbit@{self.address(name)}",
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel net_ticktime 8",
        }

    def start(self, name: str) -> None:
        environment = self._environment(name)
        with (self.folder / f"{name}.log").open("ab") as log:
            subprocess.Popen(
                [*self.inside(name), self._server], env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """kill -9 a node with all its processes."""
        everyone = []
        for pid in self.pids(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                everyone.append(psutil.Process(pid))
        kill_all(everyone)
        psutil.wait_procs(everyone, timeout=10)

    def reset(self, name: str) -> None:
        """Remove everything that a killed node stored."""
        shutil.rmtree(self.folder / name / "data")

    def accepts(self, name: str) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.address(name), 5672), timeout=2):
            return True
        return False

    def is_whole(self) -> bool:
        """Whether every node sees every other."""
        return all(self.accepts(name) for name in NODES) and all(
            len(self.running(name)) == len(NODES) for name in NODES
        )

    def running(self, name: str) -> list[str]:
        """Return the nodes that run, as a node sees it."""
        words = ["eval", '[io:format("~s~n", [N]) || N <- rabbit_nodes:all_running()].']
        command = [*self.inside(name), self._control, "--longnames", "-n", f"rabbit@{self.address(name)}", *words]
        done = subprocess.run(command, env=self._environment(name), capture_output=True, text=True, check=False)
        return [line for line in done.stdout.splitlines() if line.startswith("rabbit@")]
