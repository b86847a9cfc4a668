"""Section 4: a REST API for image processing results, on PostgreSQL.

Without arguments: starts a PostgreSQL of its own where DATABASE_URL names none, migrates, loads a sample, serves on
loopback, shows a client that creates, lists, reads, renames and deletes an element, and goes on serving.
"""

import argparse
import ipaddress
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embedded_postgres import EmbeddedPostgresError, provide_database

OK, FAILED, USAGE = 0, 1, 2
HERE = Path(__file__).parent
SAMPLE = HERE / "sample" / "elements.json"
PORT = 8000
SERVER = {
    "threads": 16,  # each with a connection to the database
    "connection_limit": 1000,
    "channel_timeout": 60,  # seconds without a byte until a connection is closed
    "cleanup_interval": 10,
    "max_request_body_size": 256 << 20,  # read and discarded up to here, so that the client sees the 413 of 64 MiB
    "clear_untrusted_proxy_headers": False,  # Django reads them where BEHIND_PROXY is set
    "ident": None,
}

log = logging.getLogger("main")


def run(arguments: argparse.Namespace) -> int:
    """Prepare the database and serve; in development with a demonstration."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    production = os.environ.get("PROFILE") == "production"
    if not production and not is_loopback(arguments.host):
        return fail(arguments.host, "the development profile has no tokens and serves loopback only; set PROFILE")
    server = bind(arguments.host, arguments.port if arguments.port is not None else 0 if arguments.once else PORT)
    if not production:
        provide_database()
        log_file = HERE / "data" / "api.log"
        log_file.parent.mkdir(mode=0o700, exist_ok=True)
        os.environ.setdefault("LOG_FILE", str(log_file))
    if not check_migrations(apply=not production):
        return fail("the database", "lacks migrations; run manage.py migrate")
    if not production:
        load_sample()
    return serve(arguments, server, demonstrate=not production)


def bind(host: str, port: int) -> Any:
    """Return a listening server, without the application yet.

    Waitress reads requests and sends responses in one thread without blocking, bodies buffered: a client that sends or
    reads slowly holds no worker thread (README, Slow clients).
    """
    from waitress import create_server  # type: ignore[import-untyped]
    from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
    from waitress.task import ErrorTask  # type: ignore[import-untyped]

    class LoggedErrorTask(ErrorTask):  # type: ignore[misc]
        """The answer to a request that never reaches Django, with a line in the log."""

        def execute(self) -> None:
            error = self.request.error
            client = self.channel.addr[0]
            logging.getLogger("section4.requests").info(
                "refused by the server", extra={"status": error.code, "reason": error.body, "client": client}
            )
            super().execute()

    HTTPChannel.error_task_class = LoggedErrorTask
    unset: Any = object()  # serve() sets the application when the database is ready
    return create_server(unset, host=host, port=port, ipv4=":" not in host, ipv6=":" in host, **SERVER)


def check_migrations(*, apply: bool) -> bool:
    """Return whether the database has every table; in development after creating the missing ones."""
    import django
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    django.setup()
    if apply:
        call_command("migrate", verbosity=0)
    executor = MigrationExecutor(connection)
    complete = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    connection.close()
    return complete


def load_sample() -> None:
    """Store the elements of the sample that are not stored yet."""
    from django.db import connection

    from elements.parsers import parse_json
    from elements.serializers import NewElementSerializer

    sample = NewElementSerializer(data=parse_json(SAMPLE.read_bytes()), many=True, context={"partial": True})
    sample.is_valid(raise_exception=True)
    sample.save()
    connection.close()


def serve(arguments: argparse.Namespace, server: Any, *, demonstrate: bool) -> int:
    """Serve until a signal, or with --once until the demonstration has been shown."""
    from config.wsgi import application

    server.application = application
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    url = f"http://{host}:{server.effective_port}"
    status = OK

    def show() -> None:
        nonlocal status
        from demo import DemoError, run_demo

        try:
            run_demo(url, f"demo-{secrets.token_hex(4)}")
        except (DemoError, OSError) as error:
            status = fail(url, f"{error}; the server's log is {os.environ['LOG_FILE']}")
        if arguments.once or status:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        print(
            f"\nThe API         {url}/api/elements/\nIts description {url}/api/docs/\n"
            f"The log         {os.path.relpath(os.environ['LOG_FILE'])}\n\nCtrl-C stops the server.",
            flush=True,
        )

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if demonstrate:
        threading.Thread(target=show, daemon=True).start()
    server.run()  # returns after SIGTERM and Ctrl-C
    return status


def is_loopback(host: str) -> bool:
    """Return whether a host is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def fail(where: str, why: str) -> int:
    """Log what is wrong, where, and what to do."""
    log.error("%s: %s", where, why)
    return FAILED


def configure_logging() -> None:
    """Send errors of the command line to standard error as plain lines; the service's own log is JSON."""
    log.handlers = [logging.StreamHandler()]
    log.handlers[0].setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    log.propagate = False


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="A REST API for image processing results, on PostgreSQL. Without arguments: the development"
        " profile, on a database of its own, with a demonstration. config/settings.py lists the environment's"
        " variables; manage.py has Django's commands and the tokens.",
    )
    parser.add_argument("--once", action="store_true", help="end after the demonstration")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on; loopback by default")
    parser.add_argument("--port", type=parse_port, help=f"the port, 0 for any free one; {PORT} by default")
    return parser


def parse_port(text: str) -> int:
    """Return a port number."""
    if not (text.isascii() and text.isdecimal() and int(text) < 65536):
        raise argparse.ArgumentTypeError("must be a whole number from 0 to 65535")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 for success, 1 for a failure, 2 for wrong usage."""
    configure_logging()
    arguments = build_parser().parse_args(argv)
    try:  # missing packages are reported before anything is started
        import rest_framework  # noqa: F401
        import waitress  # noqa: F401
        from django.core.exceptions import ImproperlyConfigured
        from django.db import OperationalError
    except ModuleNotFoundError as error:
        return report_missing(error)
    try:
        return run(arguments)
    except ModuleNotFoundError as error:
        return report_missing(error)
    except (EmbeddedPostgresError, ImproperlyConfigured) as error:
        log.error("%s", error)  # noqa: TRY400
    except OperationalError as error:
        log.error("the database of DATABASE_URL: %s", " ".join(str(error).split()))  # noqa: TRY400
    except OSError as error:
        return fail(f"{arguments.host}:{arguments.port}", f"cannot listen ({error.strerror}); choose another --port")
    return FAILED


def report_missing(error: ModuleNotFoundError) -> int:
    """Log how to install a missing package."""
    log.error("%s is missing: python -m pip install -r %s", error.name, HERE / "requirements.txt")
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
