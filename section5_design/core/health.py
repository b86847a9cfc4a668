"""Health of a program for Kubernetes and Prometheus: /live, /ready, /metrics on its own port, from its own process.

A program touches a heartbeat file in each round; it is ready while every such file is fresh and the database responds.
"""

import contextlib
import logging
import os
import shutil
import socket
import socketserver
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import psutil

from core.processes import end_with_parent

log = logging.getLogger("section5.health")

MAX_HEARTBEAT_AGE = 15.0  # seconds
Answer = tuple[str, str, bytes]
Address = tuple[str, int]


def share_counters(part: str) -> None:
    """Let all processes of this program count in one folder; call it before anything imports Prometheus's client."""
    from django.conf import settings

    # Two containers on a shared volume have different host names and the same PID.
    folder = settings.DATA_FOLDER / "metrics" / f"{part}-{socket.gethostname()}-{os.getpid()}"
    for old in folder.parent.glob(f"{part}-{socket.gethostname()}-*"):
        pid = int(old.name.rpartition("-")[2])
        if pid == os.getpid() or not psutil.pid_exists(pid):
            shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def beat(name: str = "main") -> None:
    """Report that a loop of this program did its round."""
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        with contextlib.suppress(OSError):
            Path(folder, f"heartbeat-{name}").touch()


def serve(
    host: str, port: int, *, listens_on: Address | None = None, collectors: Callable[[], Iterable[Any]] = tuple
) -> None:
    """Serve the endpoints from a separate process, which ends with this one.

    Args:
        host: address of the endpoints.
        port: port of the endpoints.
        listens_on: where a program without heartbeats serves; it is ready while that port is open.
        collectors: returns more metrics to serve.

    """
    parent = os.getpid()
    if os.fork():
        return
    end_with_parent(parent)
    try:
        application = build_application(listens_on, collectors)
        with make_server(host, port, application, Server, Handler) as server:
            server.serve_forever()
    except OSError as error:
        log.error("%s:%d: cannot serve health checks there (%s)", host, port, error.strerror)  # noqa: TRY400
    finally:
        sys.stderr.flush()
        os._exit(1)


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """One thread per request, so that a slow client cannot block others."""

    daemon_threads = True


class Handler(WSGIRequestHandler):
    """Do not log each probe."""

    timeout = 10

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def build_application(
    listens_on: Address | None, collectors: Callable[[], Iterable[Any]]
) -> Callable[..., Iterator[bytes]]:
    """Build the WSGI application."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    for collector in collectors():
        registry.register(collector)

    def answer(path: str) -> Answer:
        if path == "/live":
            return "200 OK", "text/plain", b"live\n"
        if path == "/ready":
            reason = find_reason(listens_on)
            return ("503 Service Unavailable" if reason else "200 OK"), "text/plain", f"{reason or 'ready'}\n".encode()
        if path == "/metrics":
            return "200 OK", CONTENT_TYPE_LATEST, generate_latest(registry)
        return "404 Not Found", "text/plain", b"/live, /ready, /metrics\n"

    def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        status, kind, body = answer(environ["PATH_INFO"])
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        yield body

    return wsgi


def wait_until_ready(ports: dict[str, int], patience: float = 60.0) -> list[str]:
    """Wait until every program is ready by its health port; return the names of those that are not."""
    until = time.monotonic() + patience
    waiting = dict(ports)
    while waiting and time.monotonic() < until:
        for name, port in list(waiting.items()):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
                del waiting[name]
        time.sleep(0.2)
    return list(waiting)


def find_reason(listens_on: Address | None) -> str:
    """Return why this program is not ready; empty if it is."""
    from django.db import Error, connection

    if listens_on:
        try:
            socket.create_connection(listens_on, timeout=2).close()
        except OSError:
            return "it does not listen yet"
    else:
        files = list(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("heartbeat-*"))
        if not files:
            return "it is starting"
        late = [file for file in files if time.time() - file.stat().st_mtime > MAX_HEARTBEAT_AGE]
        if late:
            return "no heartbeat of " + ", ".join(sorted(file.name.partition("-")[2] for file in late))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        return f"the database does not respond ({type(error).__name__})"
    finally:
        connection.close()
    return ""
