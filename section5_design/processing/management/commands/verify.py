"""Prove that what was received is stored, and is processed or set aside; or name what is not."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count
from tqdm import tqdm

from archive.models import Instance
from archive.object_store import fault_of
from processing.claiming import unaccounted
from processing.models import Job


class Command(BaseCommand):
    """`manage.py verify`: 0 when all is there and as it was sent."""

    help = "Re-hashes every object, and counts: received = stored, and = processed + set aside + still to be done."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        parser.add_argument("--counts", action="store_true", help="only count; read no object")

    def handle(self, **options: Any) -> None:
        """Do it."""
        instances = Instance.objects.order_by("pk").values_list("pk", "sha256")
        wrong = [f"image {pk}: its job and its results do not fit together" for pk in unaccounted()]
        if not options["counts"]:
            shown = tqdm(instances.iterator(), total=instances.count(), unit=" objects", delay=1, disable=None)
            wrong += [f"image {pk}: {said}" for pk, sha256 in shown if (said := fault_of(sha256))]
        states = dict(Job.objects.order_by().values_list("state").annotate(count=Count("pk")))
        told = ", ".join(f"{states.get(state, 0):,} {state}" for state in Job.State.values)
        self.stdout.write(f"{instances.count():,} received: {told}")
        for line in wrong:
            self.stderr.write(line)
        if wrong:
            raise CommandError(f"{len(wrong)} faults")
