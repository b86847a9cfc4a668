"""How a part is, for Kubernetes and Prometheus: /live, /ready, /metrics on a port of its own, by a process of its own.

A part that does its round touches its pulse; it is ready while that is fresh and the database answers.
"""

import contextlib
import logging
import os
import shutil
import socketserver
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import psutil

log = logging.getLogger("section5.health")

FRESH = 15.0  # seconds
Answer = tuple[str, str, bytes]


def count_together(part: str) -> None:
    """Have all processes of this part count into one folder; before any of them imports Prometheus's client."""
    from django.conf import settings

    folder = settings.DATA_FOLDER / "metrics" / f"{part}-{os.getpid()}"
    for old in folder.parent.glob(f"{part}-*"):
        pid = int(old.name.rpartition("-")[2])
        if pid == os.getpid() or not psutil.pid_exists(pid):
            shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def pulse() -> None:
    """Say that this part does its round."""
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        with contextlib.suppress(OSError):
            Path(folder, "pulse").touch()


def serve(host: str, port: int, *, beats: bool, collectors: Callable[[], Iterable[Any]] = tuple) -> None:
    """Answer from a process of its own, which ends with this one; `beats`: this part has a pulse."""
    parent = os.getpid()
    if os.fork():
        return
    from supervisor import end_with_parent

    end_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    try:
        with make_server(host, port, application(beats=beats, collectors=collectors), Server, Handler) as server:
            server.serve_forever()
    except OSError as error:
        log.error("%s:%d: health cannot be told there (%s)", host, port, error.strerror)  # noqa: TRY400
    finally:
        sys.stderr.flush()
        os._exit(1)


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread a request, so that a slow one holds up nobody."""

    daemon_threads = True


class Handler(WSGIRequestHandler):
    """Without a line for each probe."""

    timeout = 10

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def application(*, beats: bool, collectors: Callable[[], Iterable[Any]]) -> Callable[..., Iterator[bytes]]:
    """The WSGI application."""
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
            reason = unready(beats=beats)
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
    """Wait until every part says on its health port that it is ready; those that do not."""
    until = time.monotonic() + patience
    waiting = dict(ports)
    while waiting and time.monotonic() < until:
        for name, port in list(waiting.items()):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
                del waiting[name]
        time.sleep(0.2)
    return list(waiting)


def unready(*, beats: bool) -> str:
    """Why this part is not ready; empty where it is."""
    from django.db import Error, connection

    if beats:
        file = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"], "pulse")
        try:
            if time.time() - file.stat().st_mtime > FRESH:
                return "it does not do its round"
        except FileNotFoundError:
            return "it is starting"
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        return f"the database does not answer ({type(error).__name__})"
    finally:
        connection.close()
    return ""
