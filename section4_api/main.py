"""Section 4: a REST API for image processing results, on PostgreSQL.

Without arguments: starts a PostgreSQL of its own where DATABASE_URL names none, migrates, loads a sample, serves on
loopback, shows a client that creates, lists, reads, renames and deletes an element, and goes on serving.
"""

import argparse
import json
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from embedded_postgres import EmbeddedPostgresError, provide_database

OK, FAILED = 0, 1  # argparse ends with 2 for wrong usage
HERE = Path(__file__).parent
SAMPLE = HERE / "sample" / "elements.json"
PORT = 8000
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Waitress reads requests and sends responses in one thread without blocking, bodies buffered: a client that sends or
# reads slowly holds no worker thread (README, Slow clients).
SERVER = {
    "threads": 16,  # each with a connection to the database
    "connection_limit": 1000,
    "asyncore_use_poll": True,  # select() has a limit of 1024 files
    "channel_timeout": 60,  # seconds without a byte until a connection is closed
    "cleanup_interval": 10,
    "max_request_body_size": 256 << 20,  # read and discarded up to here, so that the client sees the 413 of 64 MiB
    "ident": None,
}
# nginx, which production needs, on the same machine (deploy/nginx.conf).
PROXY = {"trusted_proxy": "127.0.0.1", "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto"}}

log = logging.getLogger("main")


def run(arguments: argparse.Namespace) -> int:
    """Prepare the database and serve; in development with a demonstration."""
    production = os.environ.get("PROFILE") == "production"
    if not production:
        if arguments.host not in LOOPBACK:
            return fail(
                f"{arguments.host}: the development profile has no tokens and serves loopback only; set PROFILE"
            )
        provide_database()
        log_file = HERE / "data" / "api.log"
        log_file.parent.mkdir(mode=0o700, exist_ok=True)
        os.environ.setdefault("LOG_FILE", str(log_file))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django
    from django.core.management import call_command
    from django.db import connection

    django.setup()
    try:
        call_command("migrate", verbosity=0, check_unapplied=production)
    except SystemExit:  # of check_unapplied
        return fail("the database: lacks migrations; run manage.py migrate")
    if not production:
        load_sample()
    connection.close()
    port = arguments.port if arguments.port is not None else 0 if arguments.once else PORT
    try:
        server = bind(arguments.host, port, SERVER | PROXY if production else SERVER)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error  # waitress raises ValueError for an unknown host
        return fail(f"{arguments.host}:{port}: cannot listen ({reason}); choose another --host or --port")
    return serve(server, arguments.once, demonstrate=not production)


def load_sample() -> None:
    """Store the elements of the sample that are not stored yet."""
    from elements.serializers import NewElementSerializer

    sample = NewElementSerializer(data=json.loads(SAMPLE.read_bytes()), many=True, context={"partial": True})
    sample.is_valid(raise_exception=True)
    sample.save()


def bind(host: str, port: int, options: dict[str, Any]) -> Any:
    """Return a listening server of the application."""
    from waitress import create_server  # type: ignore[import-untyped]
    from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
    from waitress.task import ErrorTask  # type: ignore[import-untyped]

    from config.wsgi import application

    class LoggedErrorTask(ErrorTask):  # type: ignore[misc]
        """The answer to a request that never reaches Django, with a line in the log."""

        def execute(self) -> None:
            error = self.request.error
            extra = {"status": error.code, "reason": error.body, "client": self.channel.addr[0]}
            logging.getLogger("section4.requests").info("refused by the server", extra=extra)
            super().execute()

    HTTPChannel.error_task_class = LoggedErrorTask
    return create_server(application, host=host, port=port, ipv4=":" not in host, ipv6=":" in host, **options)


def serve(server: Any, once: bool, *, demonstrate: bool) -> int:
    """Serve until a signal, or once until the demonstration has been shown."""
    host = server.effective_host
    url = f"http://[{host}]:{server.effective_port}" if ":" in host else f"http://{host}:{server.effective_port}"
    status = OK

    def show() -> None:
        nonlocal status
        from demo import DemoError, run_demo

        try:
            run_demo(url, f"demo-{secrets.token_hex(4)}")
        except (DemoError, OSError) as error:
            status = fail(f"{url}: {error}; the server's log is {os.environ['LOG_FILE']}")
        if once or status:
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


def fail(message: object) -> int:
    """Log what is wrong, where, and what to do; return the exit code."""
    log.error("%s", message)
    return FAILED


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
    parser.add_argument("--port", type=parse_port, help=f"0 for any free one; {PORT} by default")
    return parser


def parse_port(text: str) -> int:
    """Return a port number; the server would take 99999 for another port."""
    if not (text.isascii() and text.isdecimal() and int(text) < 65536):
        raise argparse.ArgumentTypeError("must be a whole number from 0 to 65535")
    return int(text)


def explain_errors(work: Callable[[], int]) -> int:
    """Return the exit code of `work`; an error of the environment is one line on standard error."""
    handler = logging.StreamHandler()  # the service's own log is JSON
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    log.handlers, log.propagate = [handler], False
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.db import OperationalError

        try:
            return work()
        except (EmbeddedPostgresError, ImproperlyConfigured) as error:
            return fail(error)
        except OperationalError as error:
            return fail(f"the database of DATABASE_URL: {' '.join(str(error).split())}")
    except ModuleNotFoundError as error:
        return fail(f"{error.name} is missing: python -m pip install -r {HERE / 'requirements.txt'}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 for success, 1 for a failure, 2 for wrong usage."""
    arguments = build_parser().parse_args(argv)
    return explain_errors(lambda: run(arguments))


if __name__ == "__main__":
    sys.exit(main())
