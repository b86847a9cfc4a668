"""Set archives and rules for priors, list searches and fetches, and search again."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from archive.models import Study
from priors.models import Archive, Rule
from priors.services import (
    list_priors,
    list_searches,
    remove_archive,
    remove_rule,
    retry,
    save_archive,
    save_rule,
    search_for,
)


class Command(BaseCommand):
    """`manage.py priors archive NAME ...`, `rule NAME ...`, `list`, `search UID`, `retry`, `remove`."""

    help = "Fetch the earlier studies of a patient from other archives when a study arrives."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        archive = commands.add_parser("archive", help="create or change an archive")
        archive.add_argument("name", help="letters, digits, _ . -")
        archive.add_argument(
            "--dicom", nargs=3, required=True, metavar=("TITLE", "HOST", "PORT"), help="C-FIND, C-MOVE"
        )
        archive.add_argument("--tls", action="store_true", help="DICOM over TLS")
        rule = commands.add_parser("rule", help="fetch priors of the studies that arrive from now on")
        rule.add_argument("name", help="of the archive")
        rule.add_argument("--modality", default="", help="of an arriving image; default: any")
        rule.add_argument("--newest", type=int, default=3, metavar="N", help="at most so many (default: 3)")
        rule.add_argument("--same-modality", action="store_true", help="only priors with a modality of the study")
        commands.add_parser("list", help="list archives, rules, and searches and fetches that are not complete")
        search = commands.add_parser("search", help="search for the priors of a stored study, by every rule")
        search.add_argument("uid", help="its Study Instance UID")
        commands.add_parser("retry", help="fetch quarantined priors again")
        remove = commands.add_parser("remove", help="remove an archive with its rules, or a rule")
        remove.add_argument("what", help="an archive's name, or a rule's number")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        actor = f"person:{getpass.getuser()}"
        try:
            getattr(self, options["command"])(options, actor)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None

    def archive(self, options: dict[str, Any], actor: str) -> None:
        """Create or change an archive."""
        one = Archive.objects.filter(name=options["name"]).first() or Archive(name=options["name"])
        one.title, one.host, one.port = options["dicom"]
        one.tls = options["tls"]
        save_archive(one, actor)

    def rule(self, options: dict[str, Any], actor: str) -> None:
        """Create a rule."""
        rule = Rule(
            archive=find_archive(options["name"]),
            modality=options["modality"],
            newest=options["newest"],
            same_modality=options["same_modality"],
        )
        save_rule(rule, actor)
        self.stdout.write(f"rule {rule.pk}: {rule}")

    def list(self, options: dict[str, Any], actor: str) -> None:  # noqa: ARG002
        """List archives, rules, and searches and fetches that are not complete."""
        for one in Archive.objects.order_by("name"):
            self.stdout.write(f"{one.name}\t{one.address}{'' if one.enabled else ' (disabled)'}")
        for rule in Rule.objects.select_related("archive").order_by("pk"):
            self.stdout.write(f"rule {rule.pk}\t{rule}{'' if rule.enabled else ' (disabled)'}")
        for search in list_searches().exclude(state="done").iterator():
            self.stdout.write(f"search\t{search}\t{search.state}\t{search.reason}".rstrip())
        for prior in list_priors().exclude(state="done").iterator():
            self.stdout.write(f"fetch\t{prior}\t{prior.state}\t{prior.reason}".rstrip())

    def search(self, options: dict[str, Any], actor: str) -> None:
        """Search for the priors of a stored study."""
        study = Study.objects.filter(uid=options["uid"]).first()
        if study is None:
            raise CommandError(f"not stored: {options['uid']}")
        self.stdout.write(f"{search_for(study, actor)} queued")

    def retry(self, options: dict[str, Any], actor: str) -> None:  # noqa: ARG002
        """Fetch quarantined priors again."""
        done = [retry(prior, actor) for prior in list_priors().filter(state="quarantined")]
        self.stdout.write(f"{sum(done)} queued")

    def remove(self, options: dict[str, Any], actor: str) -> None:
        """Remove an archive or a rule."""
        if options["what"].isdecimal():
            rule = Rule.objects.filter(pk=options["what"]).first()
            if rule is None:
                raise CommandError(f"no rule {options['what']}; `priors list` shows them")
            remove_rule(rule, actor)
        else:
            remove_archive(find_archive(options["what"]), actor)


def find_archive(name: str) -> Archive:
    """Return an archive by its name.

    Raises:
        CommandError: it does not exist.

    """
    found = Archive.objects.filter(name=name).first()
    if found is None:
        raise CommandError(f"no archive {name!r}; `priors list` shows them")
    return found
