"""Section 4: a REST API for image processing results, on PostgreSQL.

Without arguments: starts a PostgreSQL of its own where DATABASE_URL names none, migrates, loads a sample, serves on
loopback, shows one round of create, list, read, rename and delete as a client makes it, and goes on serving.
"""

import argparse
import contextlib
import ipaddress
import logging
import multiprocessing
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from embedded_postgres import EmbeddedPostgresError, provide_database

OK, FAILED, INTERRUPTED = 0, 1, 130
HERE = Path(__file__).parent
SAMPLE = HERE / "sample" / "elements.json"
PORT = 8000
THREADS = 4  # of each worker process; each has a connection to the database of its own

log = logging.getLogger("main")


def run(arguments: argparse.Namespace) -> int:
    """Prepare the database and serve; in development with the round of a client."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ["EXIT_WITH_PARENT"] = "1"
    production = os.environ.get("PROFILE") == "production"
    port = arguments.port if arguments.port is not None else 0 if arguments.once else PORT
    if not production and not is_loopback(arguments.host):
        return refused(
            arguments.host, "the development profile has no tokens and serves this machine only; set PROFILE"
        )
    if (free := free_port(arguments.host, port)) is None:
        return refused(f"{arguments.host}:{port}", "is in use or cannot be listened on; name another with --port")
    if not production:
        provide_database()
        log_file = HERE / "data" / "api.log"
        log_file.parent.mkdir(mode=0o700, exist_ok=True)
        os.environ.setdefault("LOG_FILE", str(log_file))
    if not migrated(apply=not production):
        return refused("the database", "lacks migrations; run manage.py migrate")
    if not production:
        load_sample()
    return serve(arguments, free, show_round=not production)


def migrated(*, apply: bool) -> bool:
    """Whether the database has every table; in development after making those that are missing."""
    import django
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    django.setup()
    if apply:
        call_command("migrate", verbosity=0)
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def load_sample() -> None:
    """Store the elements of the sample that are not there yet."""
    from django.db import connections

    from elements import payloads, queries

    sample = payloads.read_new(payloads.loads(SAMPLE.read_bytes())).values()
    queries.insert([element for element in sample if isinstance(element, payloads.NewElement)], all_or_nothing=False)
    connections.close_all()


def serve(arguments: argparse.Namespace, port: int, *, show_round: bool) -> int:
    """Serve until a signal, or with --once until the round has been shown."""
    from granian import Granian
    from granian.constants import Interfaces, SSLProtocols
    from granian.log import LogLevels

    multiprocessing.set_start_method("spawn", force=True)  # a worker begins afresh, without our threads and connections
    server = Granian(
        "config.wsgi:application",
        address=arguments.host,
        port=port,
        interface=Interfaces.WSGI,
        workers=arguments.workers,
        blocking_threads=THREADS,
        websockets=False,
        log_level=LogLevels.warning,
        working_dir=HERE,
        respawn_failed_workers=True,
        ssl_cert=arguments.certificate,
        ssl_key=arguments.key,
        ssl_protocol_min=SSLProtocols.tls12,
    )
    url = f"{'https' if arguments.certificate else 'http'}://{bracketed(arguments.host)}:{port}"
    outcome = {"status": OK}

    def shown() -> None:
        from client_round import ClientRoundError, make_round, wait_until_ready

        try:
            wait_until_ready(url)
            make_round(url, f"demo-{secrets.token_hex(4)}")
        except (ClientRoundError, OSError) as error:
            outcome["status"] = refused(url, f"{error}; {os.environ['LOG_FILE']} has the server's log")
        if arguments.once or outcome["status"]:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        print(
            f"\nThe API         {url}/api/elements/\nIts description {url}/api/docs/\n"
            f"The log         {os.path.relpath(os.environ['LOG_FILE'])}\n\nCtrl-C stops the server.",
            flush=True,
        )

    if show_round:
        server.on_startup(threading.Thread(target=shown, daemon=True).start)
    with tempfile.TemporaryDirectory(prefix="section4-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        server.serve()
    return outcome["status"]


def free_port(host: str, port: int) -> int | None:
    """The port, or for 0 any free one; None where it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        chosen: int = probe.getsockname()[1]
        return chosen
    return None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine as only it sees itself."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def bracketed(host: str) -> str:
    """The host as a URL has it."""
    return f"[{host}]" if ":" in host else host


def refused(where: str, why: str) -> int:
    """Log what is wrong, where, and what to do."""
    log.error("%s: %s", where, why)
    return FAILED


def speak_plainly() -> None:
    """Errors of the command line on standard error, as a person reads them; the service's own log is JSON."""
    log.handlers = [logging.StreamHandler()]
    log.handlers[0].setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    log.propagate = False


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="main.py",
        description="A REST API for image processing results, on PostgreSQL. Without arguments: in the development"
        " profile, on a database of its own, with a round of a client. config/settings.py lists what the"
        " environment can say; manage.py has Django's commands and the tokens.",
    )
    top.add_argument("--once", action="store_true", help="end after the round")
    top.add_argument("--host", default="127.0.0.1", help="the address to listen on; loopback unless named")
    top.add_argument("--port", type=_port, help=f"the port, 0 for any that is free; {PORT} unless named")
    top.add_argument("--workers", type=_count, default=1, metavar="N", help="worker processes; 1 unless named")
    top.add_argument("--certificate", type=Path, metavar="FILE", help="serve TLS with this certificate (PEM)")
    top.add_argument("--key", type=Path, metavar="FILE", help="the certificate's key (PEM, PKCS #8)")
    return top


def _port(word: str) -> int:
    if not (word.isascii() and word.isdecimal() and int(word) < 65536):
        raise argparse.ArgumentTypeError("must be a whole number from 0 to 65535")
    return int(word)


def _count(word: str) -> int:
    if not (word.isascii() and word.isdecimal() and 1 <= int(word) <= 64):
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 64")
    return int(word)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 1 when something failed, 2 for wrong usage, 130 after Ctrl-C."""
    speak_plainly()
    arguments = parser().parse_args(argv)
    try:  # what is missing is said before anything is started
        from django.core.exceptions import ImproperlyConfigured
        from django.db import OperationalError
    except ModuleNotFoundError as error:
        return missing(error)
    try:
        return run(arguments)
    except ModuleNotFoundError as error:
        return missing(error)
    except (EmbeddedPostgresError, ImproperlyConfigured) as error:
        log.error("%s", error)  # noqa: TRY400
    except OperationalError as error:
        log.error("the database of DATABASE_URL: %s", " ".join(str(error).split()))  # noqa: TRY400
    except KeyboardInterrupt:
        return INTERRUPTED
    return FAILED


def missing(error: ModuleNotFoundError) -> int:
    """Say how to get what is not installed."""
    log.error("%s is missing: python -m pip install -r %s", error.name, HERE / "requirements.txt")
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
