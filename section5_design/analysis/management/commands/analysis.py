"""List the analyses, and run one again on stored studies."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q

from analysis.services import list_analyses, run_again
from archive.models import Study


class Command(BaseCommand):
    """`manage.py analysis list`, `manage.py analysis run NAME --all`."""

    help = "Analyses: the default one, and those that the file of ANALYSES registers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        commands.add_parser("list", help="list name, version, scope and selection")
        run = commands.add_parser("run", help="run one again on stored studies, at low priority")
        run.add_argument("name", help="as listed by `analysis list`")
        chosen = run.add_mutually_exclusive_group(required=True)
        chosen.add_argument("--all", action="store_true", help="all studies")
        chosen.add_argument("--study", action="append", metavar="UID", help="a study; repeatable")
        chosen.add_argument("--patient-id", metavar="ID", help="the studies of a patient")
        chosen.add_argument("--since", metavar="YYYYMMDD", help="studies of this date and later")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        if options["command"] == "list":
            for one in list_analyses():
                chosen = ", ".join([*one.modality, *one.sop_class, *one.where]) or "everything"
                self.stdout.write(f"{one.name}\t{one.version}\t{one.scope}\t{chosen}")
            return
        try:
            count = run_again(find_studies(options), options["name"], f"person:{getpass.getuser()}")
        except KeyError:
            raise CommandError(f"{options['name']}: not registered; `analysis list` shows those that are") from None
        self.stdout.write(f"{count:,} jobs queued")


def find_studies(options: dict[str, Any]) -> Any:
    """Return the studies that the options name.

    Raises:
        CommandError: a study is not stored.

    """
    if options["study"]:
        found = Study.objects.filter(uid__in=options["study"])
        if missing := set(options["study"]) - set(found.values_list("uid", flat=True)):
            raise CommandError(f"not stored: {', '.join(sorted(missing))}")
        return found
    if options["since"]:
        return Study.objects.filter(study_date__gte=options["since"])
    return Study.objects.filter(Q() if options["all"] else Q(patient_id=options["patient_id"]))
