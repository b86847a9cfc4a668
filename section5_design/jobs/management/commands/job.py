"""List quarantined jobs, and requeue them."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from jobs.models import Job
from jobs.queue import requeue


class Command(BaseCommand):
    """`manage.py job list`, `manage.py job requeue ID ...`, `manage.py job requeue --reason TEXT`."""

    help = "Quarantined jobs. A requeued job gets as many attempts as a new one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        commands.add_parser("list", help="list them with subject and reason")
        again = commands.add_parser("requeue", help="run them again")
        again.add_argument("ids", nargs="*", type=int, metavar="ID", help="as listed by `job list`")
        again.add_argument("--reason", help="all whose reason contains this text")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        quarantined = Job.objects.filter(state=Job.State.QUARANTINED).order_by("id")
        if options["command"] == "list":
            for job in quarantined.iterator():
                subject = job.audit_subject.get("sop_instance_uid") or f"{job.kind} {job.subject}"
                self.stdout.write(f"{job.pk}\t{subject}\t{job.reason}")
            return
        if not options["ids"] and not options["reason"]:
            raise CommandError("name jobs by their IDs, or by --reason; `job list` shows them")
        ids = options["ids"] or quarantined.filter(reason__icontains=options["reason"]).values_list("pk", flat=True)
        done = [job for job in ids if requeue(job, f"person:{getpass.getuser()}")]
        self.stdout.write(f"{len(done)} of {len(ids)} requeued")
        if len(done) < len(ids):
            raise CommandError("the others are not quarantined; `job list` shows those that are")
