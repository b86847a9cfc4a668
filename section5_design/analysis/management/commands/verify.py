"""Verify that every received image is stored unaltered and is processed, quarantined or queued."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count
from tqdm import tqdm

from analysis.handler import KIND, find_inconsistencies
from archive.models import Instance
from archive.object_store import verify_object
from jobs.models import Job


class Command(BaseCommand):
    """`manage.py verify [--counts]`; exit status 0 if nothing is missing or altered."""

    help = "Hash every object again, and check that received = stored = processed + quarantined + still queued."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        parser.add_argument("--counts", action="store_true", help="only count; do not read objects")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        instances = Instance.objects.order_by("pk").values_list("pk", "sha256")
        faults = [f"image {pk}: its job and its results do not agree" for pk in find_inconsistencies()]
        if not options["counts"]:
            progress = tqdm(instances.iterator(), total=instances.count(), unit=" objects", delay=1, disable=None)
            faults += [f"image {pk}: {fault}" for pk, sha256 in progress if (fault := verify_object(sha256))]
        states = dict(Job.objects.filter(kind=KIND).order_by().values_list("state").annotate(count=Count("pk")))
        counts = ", ".join(f"{states.get(state, 0):,} {state}" for state in Job.State.values)
        self.stdout.write(f"{instances.count():,} received: {counts}")
        for line in faults:
            self.stderr.write(line)
        if faults:
            raise CommandError(f"{len(faults)} faults")
