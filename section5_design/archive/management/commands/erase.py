"""Erase a patient, a study, or everything older than a site keeps."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from archive.erasure import erase_study, find_by_patient, find_older_than
from archive.models import Instance, Study


class Command(BaseCommand):
    """`manage.py erase --patient-id ID`, `--study UID` or `--older-than DAYS`; nothing is erased without `--yes`."""

    help = (
        "Erase images, results, previews and their rows (GDPR, article 17; retention). The audit log records it"
        " by UID. Without --yes it only counts. Earlier backups keep their content until you delete them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--patient-id", metavar="ID", help="every study of this patient ID")
        which.add_argument("--study", metavar="UID", help="one study")
        which.add_argument("--older-than", type=int, metavar="DAYS", help="studies that received nothing for this long")
        parser.add_argument("--yes", action="store_true", help="erase; without it, only count")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        days = options["older_than"]
        if options["patient_id"] is not None:
            studies, why = find_by_patient(options["patient_id"]), "erased for the patient"
        elif options["study"]:
            studies, why = Study.objects.filter(uid=options["study"]), "erased"
        elif days < 1:
            raise CommandError("--older-than must be 1 day or more")
        else:
            studies, why = find_older_than(days), f"kept for {days} days"
        count = studies.count()
        if not count:
            self.stdout.write("no matching studies")
            return
        if not options["yes"]:
            images = Instance.objects.filter(series__study__in=studies).count()
            self.stdout.write(f"{count} studies with {images} images would be erased; run it again with --yes")
            return
        actor = f"person:{getpass.getuser()}"
        progress = tqdm(list(studies.order_by("pk")), unit=" studies", delay=1, disable=None)
        images = sum(erase_study(study, actor, why) for study in progress)
        self.stdout.write(f"{count} studies with {images} images erased")
