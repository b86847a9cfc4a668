"""Erase a patient or a study, or what is older than a site keeps."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from archive.models import Instance, Study
from portal.erasure import erase, of_patient, older_than


class Command(BaseCommand):
    """`manage.py erase --patient-id ID`, `--study UID` or `--older-than DAYS`; with `--yes` it is done."""

    help = (
        "Erase images, results, previews and their rows (GDPR, article 17; retention). The log keeps that it was done,"
        " by UID. Without --yes it only counts. Backups made before keep what they hold: let them run out."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--patient-id", metavar="ID", help="every study that names this patient ID")
        which.add_argument("--study", metavar="UID", help="a study")
        which.add_argument("--older-than", type=int, metavar="DAYS", help="studies of which nothing came for so long")
        parser.add_argument("--yes", action="store_true", help="do it")

    def handle(self, **options: Any) -> None:
        """Do it."""
        days = options["older_than"]
        if options["patient_id"] is not None:
            studies, why = of_patient(options["patient_id"]), "erased for the patient"
        elif options["study"]:
            studies, why = Study.objects.filter(uid=options["study"]), "erased"
        elif days < 1:
            raise CommandError("--older-than must be 1 day or more")
        else:
            studies, why = older_than(days), f"kept for {days} days"
        count = studies.count()
        if not count:
            self.stdout.write("there is no such study")
            return
        if not options["yes"]:
            images = Instance.objects.filter(series__study__in=studies).count()
            self.stdout.write(f"{count} studies with {images} images would be erased; --yes erases them")
            return
        actor = f"person:{getpass.getuser()}"
        shown = tqdm(list(studies.order_by("pk")), unit=" studies", delay=1, disable=None)
        images = sum(erase(study, actor, why) for study in shown)
        self.stdout.write(f"{count} studies with {images} images erased")
