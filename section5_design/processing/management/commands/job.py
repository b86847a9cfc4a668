"""See what was quarantined, and give it another round of tries."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from processing.claiming import requeue
from processing.models import Job


class Command(BaseCommand):
    """`manage.py job list`, `manage.py job requeue ID ...`, `manage.py job requeue --reason TEXT`."""

    help = "Jobs that were quarantined. One that is requeued gets as many tries as a new one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        commands.add_parser("list", help="each with its instance and the reason")
        again = commands.add_parser("requeue", help="work on them again")
        again.add_argument("ids", nargs="*", type=int, metavar="ID", help="of `job list`")
        again.add_argument("--reason", help="all whose reason holds this text")

    def handle(self, **options: Any) -> None:
        """Do it."""
        quarantined = Job.objects.filter(state=Job.State.QUARANTINED).order_by("id")
        if options["command"] == "list":
            for job in quarantined.select_related("instance").iterator():
                self.stdout.write(f"{job.pk}\t{job.instance.sop_instance_uid}\t{job.reason}")
            return
        if not options["ids"] and not options["reason"]:
            raise CommandError("name jobs by their IDs, or by --reason; `job list` shows them")
        ids = options["ids"] or quarantined.filter(reason__icontains=options["reason"]).values_list("pk", flat=True)
        done = [job for job in ids if requeue(job, f"person:{getpass.getuser()}")]
        self.stdout.write(f"{len(done)} of {len(ids)} requeued")
        if len(done) < len(ids):
            raise CommandError("the others are not quarantined, or not there; `job list` shows those that are")
