"""Section 5: a distributed system for DICOM files: received, queued, processed by workers, results read back.

Without arguments: every part on this machine, with a PostgreSQL of its own; sends itself DICOM files over C-STORE and
over HTTP, and shows them pass through until all results are in, then goes on.
"""

import argparse
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from embedded_postgres import EmbeddedPostgresError, provide_database

OK, FAILED, INTERRUPTED = 0, 1, 130
HERE = Path(__file__).parent
HTTP_PORT, DICOM_PORT = 8005, 11112

log = logging.getLogger("section5.main")


def prepare() -> None:
    """Database, tables, folders."""
    provide_database()
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def web(arguments: argparse.Namespace) -> int:
    """Serve HTTP: STOW-RS and what is read back."""
    if not free(arguments.host, arguments.port):
        return in_use(arguments)
    if arguments.client_ca and not Path(arguments.client_ca).is_file():
        log.error("%s: is no file; name the CA of the clients' certificates", arguments.client_ca)
        return FAILED
    import django

    django.setup()
    from django.conf import settings

    if lacks_tables():
        return FAILED
    tell_health("web", arguments)
    program = Path(sys.executable).with_name("granian")
    command = [str(program), "--interface", "wsgi", "--host", arguments.host, "--port", str(arguments.port)]
    command += ["--workers", str(arguments.processes), "--blocking-threads", "32", "--no-ws", "--log-level", "error"]
    command += ["--workers-kill-timeout", "10"]
    if settings.TLS_CERTIFICATE:
        command += ["--ssl-certificate", settings.TLS_CERTIFICATE, "--ssl-keyfile", settings.TLS_KEY]
        command += ["--ssl-protocol-min", "tls1.2"]
    if arguments.client_ca:
        command += ["--ssl-ca", str(Path(arguments.client_ca).absolute()), "--ssl-client-verify"]
    os.chdir(HERE)
    return os.execv(program, [*command, "config.wsgi:application"])  # noqa: S606


def receiver(arguments: argparse.Namespace) -> int:
    """Receive DICOM."""
    if not free(arguments.host, arguments.port):
        return in_use(arguments)
    import django

    django.setup()
    if lacks_tables():
        return FAILED
    tell_health("receiver", arguments)
    from ingest.receiver import run

    return run(arguments.host, arguments.port, arguments.processes)


def worker(arguments: argparse.Namespace) -> int:
    """Work on what is queued."""
    import django

    django.setup()
    if lacks_tables():
        return FAILED
    tell_health("worker", arguments)
    from processing.worker import Worker

    return Worker(arguments.queues, arguments.processes).run()


def sweeper(arguments: argparse.Namespace) -> int:
    """Ring again for what is due."""
    import django

    django.setup()
    if lacks_tables():
        return FAILED
    tell_health("sweeper", arguments)
    from audit.chain import extend
    from ingest.commitment import report_due
    from processing.sweeper import run

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    run(stop, [extend, report_due])
    return OK


def certificates(arguments: argparse.Namespace) -> int:
    """Make a CA for development and tests, and certificates of it for a server and a client."""
    from certificates import make

    try:
        made = make(Path(arguments.folder), arguments.host or ["localhost", "127.0.0.1"])
    except (OSError, ValueError) as error:
        log.error("%s: no certificates there (%s)", arguments.folder, getattr(error, "strerror", None) or error)  # noqa: TRY400
        return FAILED
    print(*made, sep="\n")
    return OK


def ingest(arguments: argparse.Namespace) -> int:
    """Take in a folder."""
    folder = Path(arguments.folder)
    if not folder.is_dir():
        log.error("%s: is no folder; check the path", folder)
        return FAILED
    prepare()
    from ingest.folder import ingest as take_in

    counts = take_in(folder)
    print(", ".join(f"{counts[name]:,} {name}" for name in ("new", "again", "conflict", "refused")))
    return FAILED if counts["refused"] else OK


def everything(arguments: argparse.Namespace) -> int:
    """All parts on this machine, each a process that is started anew when it ends, and the tour."""
    prepare()
    from django.conf import settings

    from supervisor import Supervisor
    from tour import send_and_show

    if lacks_tables():
        return FAILED
    host = "0.0.0.0" if settings.PRODUCTION else "127.0.0.1"  # noqa: S104  # a server for others
    http, dicom = (port if free(host, port) else any_port() for port in (HTTP_PORT, DICOM_PORT))
    this = [sys.executable, str(HERE / "main.py")]
    parts: dict[str, list[str]] = {
        "web": [*this, "web", "--host", host, "--port", str(http)],
        "receiver": [*this, "receiver", "--host", host, "--port", str(dicom)],
        "worker": [*this, "worker"],
        "sweeper": [*this, "sweeper"],
    }
    if settings.PRODUCTION:
        return serve_others(parts, http, dicom, once=arguments.once)
    with Supervisor(parts) as supervisor:
        status = send_and_show(http, dicom, supervisor)
        if arguments.once or status:
            return status
        account = first_account()
        print(
            f"\nSend more:  storescu localhost {dicom} FILE ...        (AE title SECTION5)\n"
            f"            curl -H 'Content-Type: application/dicom' --data-binary @FILE"
            f" http://127.0.0.1:{http}/dicom-web/studies\n"
            f"Portal:     http://127.0.0.1:{http}/   {account}\n"
            f"Read back:  http://127.0.0.1:{http}/api/studies/  /api/instances/  /api/results/  /api/workers/"
            "   (by a session, or a token of manage.py sender create NAME)\n"
            "\nCtrl-C stops every part.",
            flush=True,
        )
        supervisor.wait()
    return OK


def serve_others(parts: dict[str, list[str]], http: int, dicom: int, *, once: bool) -> int:
    """The production profile on one machine: no samples, no account, every part; with --once until all are ready."""
    from health import wait_until_ready
    from supervisor import Supervisor

    ports = {}
    for name, command in parts.items():
        ports[name] = any_port()
        command += ["--health-port", str(ports[name])]
    with Supervisor(parts) as supervisor:
        if late := wait_until_ready(ports):
            log.error("not ready after a minute: %s; see the lines above", ", ".join(late))
            return FAILED
        print(f"Every part is ready: the portal on port {http}, DICOM on port {dicom}.")
        print(
            "The first account: manage.py createsuperuser. Who may send: manage.py peer add, manage.py sender create."
        )
        if not once:
            print("Ctrl-C stops every part.", flush=True)
            supervisor.wait()
    return OK


def tell_health(part: str, arguments: argparse.Namespace) -> None:
    """Answer /live, /ready and /metrics, where a port for it is named."""
    if not arguments.health_port:
        return
    import health

    health.count_together(part)

    def collectors() -> list[object]:
        from processing.gauges import Gauges

        return [Gauges()] if part == "sweeper" else []

    health.serve(arguments.health_host, arguments.health_port, beats=part != "web", collectors=collectors)


def first_account() -> str:
    """Make an administrator where there is no account yet, and say its password, once; never on a server for others."""
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Group

    accounts = get_user_model().objects
    if settings.FOR_OTHERS:
        return "(manage.py createsuperuser makes the first account)"
    if accounts.exists():
        return "(manage.py changepassword NAME sets a password anew)"
    password = secrets.token_urlsafe(9)
    admin = accounts.create_superuser("admin", password=password)
    admin.groups.add(Group.objects.get(name="administrators"))
    return f"log in as admin with {password}   (shown once)"


def free(host: str, port: int) -> bool:
    """Whether a port can be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return True
    return False


def lacks_tables() -> bool:
    """Whether the database answers and has not been made ready; one that is away is waited for.

    Raises:
        ImproperlyConfigured: the keys that seal and sign are not those of this database, or cannot be read.

    """
    from django.db import InterfaceError, OperationalError, connection

    with contextlib.suppress(OperationalError, InterfaceError):
        if "processing_worker" not in connection.introspection.table_names():
            log.error("the database of DATABASE_URL lacks its tables; run manage.py migrate")
            return True
        from archive.sealing import current_key
        from audit.signing import signing_key

        current_key()  # a master key that does not fit is said now, and not to each sender
        signing_key()
    connection.close()  # whoever is forked from here opens one of its own
    return False


def in_use(arguments: argparse.Namespace) -> int:
    """Say that a part cannot listen."""
    log.error("%s:%d is in use or cannot be listened on; name another with --port", arguments.host, arguments.port)
    return FAILED


def any_port() -> int:
    """A port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="main.py",
        description="A distributed system for DICOM files. Without a command: every part on this machine, and a tour."
        " config/settings.py lists what the environment can say: DATABASE_URL, BROKER_URL, STORAGE_URL, ...",
    )
    top.add_argument("--once", action="store_true", help="end when the results of the tour are in")
    top.set_defaults(run=everything)
    commands = top.add_subparsers(metavar="COMMAND")
    for run, port in ((web, HTTP_PORT), (receiver, DICOM_PORT)):
        command = commands.add_parser(run.__name__, help=str(run.__doc__))
        command.add_argument("--host", default="127.0.0.1", help="the address to listen on; loopback unless named")
        command.add_argument("--port", type=_port, default=port, help=f"{port} unless named")
        command.set_defaults(run=run)
        health_options(command)
        command.add_argument("--processes", type=_count, default=2, metavar="N", help="that share it; 2 unless named")
    command = commands.add_parser("worker", help=str(worker.__doc__))
    command.add_argument(
        "--queues", type=_queues, default="small,large", help="small, large, or both with a comma between"
    )
    command.add_argument(
        "--processes", type=_count, default=min(os.cpu_count() or 1, 64), metavar="N", help="one a core unless named"
    )
    command.set_defaults(run=worker)
    health_options(command)
    command = commands.add_parser("sweeper", help=str(sweeper.__doc__))
    command.set_defaults(run=sweeper)
    health_options(command)
    commands.choices["web"].add_argument(
        "--client-ca", metavar="FILE", help="let in only clients with a certificate of this CA (mutual TLS)"
    )
    command = commands.add_parser("certificates", help=str(certificates.__doc__))
    command.add_argument("folder", help="where they go; what is there already is kept")
    command.add_argument("--host", action="append", help="a name or address of the server; may come several times")
    command.set_defaults(run=certificates)
    command = commands.add_parser("ingest", help=str(ingest.__doc__))
    command.add_argument("folder", help="every file below it")
    command.set_defaults(run=ingest)
    return top


def health_options(command: argparse.ArgumentParser) -> None:
    """Where a part tells how it is."""
    command.add_argument("--health-port", type=_port, help="answer /live, /ready and /metrics there")
    command.add_argument("--health-host", default="127.0.0.1", help="loopback unless named")


def _port(word: str) -> int:
    if not (word.isascii() and word.isdecimal() and 1 <= int(word) < 65536):
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 65535")
    return int(word)


def _count(word: str) -> int:
    if not (word.isascii() and word.isdecimal() and 1 <= int(word) <= 64):
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 64")
    return int(word)


def _queues(words: str) -> str:
    if not set(words.split(",")) <= {"small", "large"}:
        raise argparse.ArgumentTypeError("must be small, large or small,large")
    return words


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 1 when something failed, 2 for wrong usage, 130 after Ctrl-C."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("TCP_NODELAY", "1")
    arguments = parser().parse_args(argv)
    try:  # what is missing is said before anything is started
        from django.core.exceptions import ImproperlyConfigured
        from django.db import OperationalError
    except ModuleNotFoundError as error:
        return missing(error)
    try:
        return int(arguments.run(arguments))
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
