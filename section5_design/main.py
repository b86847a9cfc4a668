"""Section 5: a distributed system that receives, queues and processes DICOM files and serves the results.

Without arguments: run every program on this machine, with an embedded PostgreSQL; send sample DICOM files over C-STORE
and HTTP, show their progress until all results exist, and keep running.
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

from local.embedded_postgres import EmbeddedPostgresError, provide_database

OK, FAILED, INTERRUPTED = 0, 1, 130
HERE = Path(__file__).parent
HTTP_PORT, DICOM_PORT = 8005, 11112
WEB_THREADS = 48  # of a process: 20 for request bodies, 16 for live streams, the others stay free for short requests

log = logging.getLogger("section5.main")


def prepare() -> None:
    """Start the database if needed, and migrate it."""
    provide_database()
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def web(arguments: argparse.Namespace) -> int:
    """Serve HTTP: the portal, STOW-RS, the read API."""
    if not is_free(arguments.host, arguments.port):
        return port_in_use(arguments)
    if arguments.client_ca and not Path(arguments.client_ca).is_file():
        log.error("%s: not a file; name the CA of the clients' certificates", arguments.client_ca)
        return FAILED
    if not start_program("web", arguments):
        return FAILED
    from django.conf import settings

    settings.FORM_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o700)
    program = Path(sys.executable).with_name("granian")
    command = [str(program), "--interface", "wsgi", "--host", arguments.host, "--port", str(arguments.port)]
    command += [
        "--workers",
        str(arguments.processes),
        "--blocking-threads",
        str(WEB_THREADS),
        "--no-ws",
        "--log-level",
        "error",
    ]
    command += ["--workers-kill-timeout", "10"]
    if settings.TLS_CERTIFICATE:
        command += ["--ssl-certificate", settings.TLS_CERTIFICATE, "--ssl-keyfile", settings.TLS_KEY]
        command += ["--ssl-protocol-min", "tls1.2"]
    if arguments.client_ca:
        command += ["--ssl-ca", str(Path(arguments.client_ca).absolute()), "--ssl-client-verify"]
    os.chdir(HERE)
    return os.execv(program, [*command, "config.wsgi:application"])  # noqa: S606


def receiver(arguments: argparse.Namespace) -> int:
    """Serve DICOM: C-STORE, C-ECHO, storage commitment, C-FIND, C-MOVE, C-GET."""
    if not is_free(arguments.host, arguments.port):
        return port_in_use(arguments)
    if not start_program("receiver", arguments):
        return FAILED
    from ingest.dimse.receiver import run
    from query.dimse import serve_query

    return run(arguments.host, arguments.port, arguments.processes, serve_query)


def worker(arguments: argparse.Namespace) -> int:
    """Run queued jobs."""
    if not start_program("worker", arguments):
        return FAILED
    from jobs.worker import Worker

    return Worker(arguments.queues, arguments.processes).run()


def maintenance(arguments: argparse.Namespace) -> int:
    """Run the background loops: reaper, dispatcher, janitor, commitment reporter, audit chainer, change notifier."""
    if not start_program("maintenance", arguments):
        return FAILED
    from core.loops import run_loops
    from maintenance import build_loops

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    run_loops(build_loops(), stop)
    return OK


def certificates(arguments: argparse.Namespace) -> int:
    """Create a development CA, and certificates for a server and a client."""
    from local.certificates import make

    try:
        made = make(Path(arguments.folder), arguments.host or ["localhost", "127.0.0.1"])
    except (OSError, ValueError) as error:
        log.error("%s: cannot create certificates (%s)", arguments.folder, getattr(error, "strerror", None) or error)  # noqa: TRY400
        return FAILED
    print(*made, sep="\n")
    return OK


def viewer(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """Fetch the OHIF viewer with npm; the web part serves it at /viewer/."""
    from django.conf import settings

    from local.ohif import PACKAGE, ViewerError, fetch_viewer

    try:
        fetch_viewer(settings.DATA_FOLDER / "viewer")
    except ViewerError as error:
        log.error("%s", error)  # noqa: TRY400
        return FAILED
    print(f"{PACKAGE} is served at /viewer/, and opens from each study's page.")
    return OK


def ingest(arguments: argparse.Namespace) -> int:
    """Ingest a folder of DICOM files."""
    folder = Path(arguments.folder)
    if not folder.is_dir():
        log.error("%s: not a folder; check the path", folder)
        return FAILED
    prepare()
    from ingest.folder import ingest_folder

    counts = ingest_folder(folder)
    print(", ".join(f"{counts[name]:,} {name}" for name in ("new", "duplicate", "conflict", "refused")))
    return FAILED if counts["refused"] else OK


def run_all(arguments: argparse.Namespace) -> int:
    """Run every program on this machine, restart those that end, and show the demo."""
    if os.environ.get("PROFILE") != "production":
        os.environ.setdefault("MAX_CPU", "100000")  # a busy machine still works: there is no other that would
    prepare()
    from django.conf import settings

    from local.demo import send_and_show
    from local.supervisor import Supervisor

    if schema_missing():
        return FAILED
    host = "0.0.0.0" if settings.PRODUCTION else "127.0.0.1"  # noqa: S104  # a server for others
    http, dicom = (port if is_free(host, port) else find_free_port() for port in (HTTP_PORT, DICOM_PORT))
    os.environ["DICOM_PORT"] = str(dicom)  # the portal shows it
    this = [sys.executable, str(HERE / "main.py")]
    programs: dict[str, list[str]] = {
        "web": [*this, "web", "--host", host, "--port", str(http)],
        "receiver": [*this, "receiver", "--host", host, "--port", str(dicom)],
        "worker": [*this, "worker"],
        "maintenance": [*this, "maintenance"],
    }
    if settings.PRODUCTION:
        return run_production(programs, http, dicom, once=arguments.once)
    with Supervisor(programs) as supervisor:
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
            "   (by a session, or a token of manage.py token create NAME)\n"
            "\nCtrl-C stops every program.",
            flush=True,
        )
        supervisor.wait()
    return OK


def run_production(programs: dict[str, list[str]], http: int, dicom: int, *, once: bool) -> int:
    """Run the production profile on one machine: no samples and no account; with --once, stop when all are ready."""
    from core.health import wait_until_ready
    from local.supervisor import Supervisor

    ports = {}
    for name, command in programs.items():
        ports[name] = find_free_port()
        command += ["--health-port", str(ports[name])]
    with Supervisor(programs) as supervisor:
        if late := wait_until_ready(ports):
            log.error("not ready after a minute: %s; see the log above", ", ".join(late))
            return FAILED
        print(f"Every program is ready: the portal on port {http}, DICOM on port {dicom}.")
        print("The first account: manage.py createsuperuser. Senders: manage.py ae add, manage.py token create.")
        if not once:
            print("Ctrl-C stops every program.", flush=True)
            supervisor.wait()
    return OK


def start_program(name: str, arguments: argparse.Namespace) -> bool:
    """Set up Django, check the schema, and serve the health endpoints; False if the schema is missing."""
    from core import health

    if arguments.health_port:
        health.share_counters(name)  # before Django's apps import the metrics
    import django

    django.setup()
    if schema_missing():
        return False
    from archive.garbage import collect_files

    collect_files()  # of this machine: what processes that were killed left in its spool

    def collectors() -> list[object]:
        from jobs.collectors import SystemCollector

        return [SystemCollector()] if name == "maintenance" else []

    if arguments.health_port:
        listens_on = None
        if name == "web":  # granian has no heartbeat
            every_address = arguments.host in ("0.0.0.0", "::")  # noqa: S104
            listens_on = ("127.0.0.1" if every_address else arguments.host, arguments.port)
        health.serve(arguments.health_host, arguments.health_port, listens_on=listens_on, collectors=collectors)
    return True


def first_account() -> str:
    """Create an administrator if no account exists, and return the password to show once; never on a public server."""
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Group

    accounts = get_user_model().objects
    if settings.IS_PUBLIC:
        return "(manage.py createsuperuser makes the first account)"
    if accounts.exists():
        return "(manage.py changepassword NAME changes a password)"
    password = secrets.token_urlsafe(9)
    admin = accounts.create_superuser("admin", password=password)
    admin.groups.add(Group.objects.get(name="administrators"))
    return f"log in as admin with {password}   (shown once)"


def is_free(host: str, port: int) -> bool:
    """Return whether a port can be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return True
    return False


def schema_missing() -> bool:
    """Return whether the database responds and lacks its tables; an unreachable one is reported, and tried again later.

    Raises:
        ImproperlyConfigured: the encryption or signing keys do not fit this database, or cannot be read.

    """
    from django.db import InterfaceError, OperationalError, connection

    from core.outage import report_outage

    try:
        if "jobs_worker" not in connection.introspection.table_names():
            log.error("the database of DATABASE_URL lacks its tables; run manage.py migrate")
            return True
        from archive.encryption import current_key
        from audit.signing import signing_key

        current_key()  # report a wrong master key now, not to each sender
        signing_key()
    except (OperationalError, InterfaceError) as error:
        report_outage(error)
    connection.close()  # forked processes open their own
    return False


def port_in_use(arguments: argparse.Namespace) -> int:
    """Report that a port cannot be bound."""
    log.error("%s:%d is in use or cannot be bound; choose another with --port", arguments.host, arguments.port)
    return FAILED


def find_free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    top = argparse.ArgumentParser(
        prog="main.py",
        description="A distributed system for DICOM files. Without a command: run every program here, with a demo."
        " config/settings.py lists the environment variables: DATABASE_URL, BROKER_URL, STORAGE_URL, ...",
    )
    top.add_argument("--once", action="store_true", help="stop when the demo is complete")
    top.set_defaults(run=run_all)
    commands = top.add_subparsers(metavar="COMMAND")
    for run, port in ((web, HTTP_PORT), (receiver, DICOM_PORT)):
        command = commands.add_parser(run.__name__, help=str(run.__doc__))
        command.add_argument("--host", default="127.0.0.1", help="the address to listen on; default: loopback")
        command.add_argument("--port", type=_port, default=port, help=f"default: {port}")
        command.set_defaults(run=run)
        health_options(command)
        command.add_argument(
            "--processes", type=_count, default=2, metavar="N", help="processes that share the port; default: 2"
        )
    command = commands.add_parser("worker", help=str(worker.__doc__))
    command.add_argument(
        "--queues", type=_queues, default="small,large", help="of small, large and gpu, comma-separated"
    )
    command.add_argument(
        "--processes", type=_count, default=min(os.cpu_count() or 1, 64), metavar="N", help="default: one per core"
    )
    command.set_defaults(run=worker)
    health_options(command)
    command = commands.add_parser("maintenance", help=str(maintenance.__doc__))
    command.set_defaults(run=maintenance)
    health_options(command)
    commands.choices["web"].add_argument(
        "--client-ca", metavar="FILE", help="require client certificates of this CA (mutual TLS)"
    )
    command = commands.add_parser("certificates", help=str(certificates.__doc__))
    command.add_argument("folder", help="target folder; existing files are kept")
    command.add_argument("--host", action="append", help="a host name or address of the server; repeatable")
    command.set_defaults(run=certificates)
    command = commands.add_parser("viewer", help=str(viewer.__doc__))
    command.set_defaults(run=viewer)
    command = commands.add_parser("ingest", help=str(ingest.__doc__))
    command.add_argument("folder", help="ingest every file below it")
    command.set_defaults(run=ingest)
    return top


def health_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the health endpoints."""
    command.add_argument("--health-port", type=_port, help="serve /live, /ready and /metrics on this port")
    command.add_argument("--health-host", default="127.0.0.1", help="default: loopback")


def _port(word: str) -> int:
    if not (word.isascii() and word.isdecimal() and 1 <= int(word) < 65536):
        raise argparse.ArgumentTypeError("must be an integer from 1 to 65535")
    return int(word)


def _count(word: str) -> int:
    if not (word.isascii() and word.isdecimal() and 1 <= int(word) <= 64):
        raise argparse.ArgumentTypeError("must be an integer from 1 to 64")
    return int(word)


def _queues(words: str) -> str:
    if not set(words.split(",")) <= {"small", "large", "gpu"}:
        raise argparse.ArgumentTypeError("must be of small, large and gpu, comma-separated")
    return words


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 on success, 1 on failure, 2 for wrong usage, 130 after Ctrl-C."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("TCP_NODELAY", "1")
    arguments = build_parser().parse_args(argv)
    try:  # report missing packages before anything starts
        from django.core.exceptions import ImproperlyConfigured
        from django.db import OperationalError
    except ModuleNotFoundError as error:
        return report_missing(error)
    try:
        return int(arguments.run(arguments))
    except ModuleNotFoundError as error:
        return report_missing(error)
    except (EmbeddedPostgresError, ImproperlyConfigured) as error:
        log.error("%s", error)  # noqa: TRY400
    except OperationalError as error:
        log.error("the database of DATABASE_URL: %s", " ".join(str(error).split()))  # noqa: TRY400
    except KeyboardInterrupt:
        return INTERRUPTED
    return FAILED


def report_missing(error: ModuleNotFoundError) -> int:
    """Report how to install a missing package."""
    log.error("%s is missing: python -m pip install -r %s", error.name, HERE / "requirements.txt")
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
