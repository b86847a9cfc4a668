"""Set destinations and rules, try a rule on what is stored, list deliveries and send them again."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from delivery.models import Delivery, Destination, Rule
from delivery.services import (
    list_deliveries,
    preview_rule,
    remove_destination,
    remove_rule,
    resend,
    save_destination,
    save_rule,
    send_stored,
)


class Command(BaseCommand):
    """`manage.py delivery to NAME ...`, `rule NAME ...`, `list`, `send RULE`, `resend`, `remove`."""

    help = "Deliveries of stored instances to other systems."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        to = commands.add_parser("to", help="create or change a destination")
        to.add_argument("name", help="letters, digits, _ . -")
        where = to.add_mutually_exclusive_group(required=True)
        where.add_argument("--dicom", nargs=3, metavar=("TITLE", "HOST", "PORT"), help="C-STORE to an AE")
        where.add_argument("--stow", metavar="URL", help="STOW-RS at URL/studies")
        where.add_argument("--webhook", metavar="URL", help="signed events; the key is printed once")
        to.add_argument("--tls", action="store_true", help="DICOM over TLS")
        to.add_argument("--token", default="", help="bearer token of the STOW-RS service")
        rule = commands.add_parser("rule", help="send what is stored from now on and fits")
        rule.add_argument("name", help="of the destination")
        rule.add_argument("--analysis", default="", help="results of this one, or * of any; default: images received")
        rule.add_argument("--modality", default="", help="of the instance")
        rule.add_argument("--sop-class", default="", metavar="UID")
        rule.add_argument("--on", default="", metavar="MODALITY", help="of a series in the same study")
        rule.add_argument("--dry-run", action="store_true", help="only show what is stored and fits")
        send = commands.add_parser("send", help="send what is stored and fits a rule")
        send.add_argument("rule", type=int, help="its number, as listed by `delivery list`")
        commands.add_parser("list", help="list destinations, rules, and deliveries that are not complete")
        again = commands.add_parser("resend", help="send again")
        again.add_argument("ids", nargs="*", type=int, metavar="ID", help="as listed by `delivery list`")
        again.add_argument("--quarantined", metavar="NAME", help="all quarantined deliveries to a destination")
        remove = commands.add_parser("remove", help="remove a destination with its rules and deliveries, or a rule")
        remove.add_argument("what", help="a destination's name, or a rule's number")

    def handle(self, **options: Any) -> None:
        """Run the command."""
        actor = f"person:{getpass.getuser()}"
        try:
            getattr(self, options["command"])(options, actor)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None

    def to(self, options: dict[str, Any], actor: str) -> None:
        """Create or change a destination."""
        one = Destination.objects.filter(name=options["name"]).first() or Destination(name=options["name"])
        one.tls = options["tls"]
        if options["dicom"]:
            one.kind, (one.title, one.host, one.port) = Destination.Kind.DICOM, options["dicom"]
        else:
            one.kind = Destination.Kind.STOW if options["stow"] else Destination.Kind.WEBHOOK
            one.url = options["stow"] or options["webhook"]
        if key := save_destination(one, actor, options["token"]):
            self.stdout.write(f"The key of its signatures, shown once: {key}")

    def rule(self, options: dict[str, Any], actor: str) -> None:
        """Create a rule, or try it."""
        rule = Rule(
            destination=find_destination(options["name"]),
            analysis=options["analysis"],
            modality=options["modality"],
            sop_class=options["sop_class"],
            source_modality=options["on"],
        )
        if options["dry_run"]:
            found = preview_rule(rule)
            for one in found.examples:
                self.stdout.write(f"{one.sop_instance_uid}\t{one.series.modality}\t{one.source}")
            self.stdout.write(f"{rule}: {found.selected:,} stored, {found.delivered:,} of them sent or queued")
            return
        save_rule(rule, actor)
        self.stdout.write(f"rule {rule.pk}: {rule}")

    def send(self, options: dict[str, Any], actor: str) -> None:
        """Send what is stored and fits a rule."""
        rule = Rule.objects.select_related("destination").filter(pk=options["rule"]).first()
        if rule is None:
            raise CommandError(f"no rule {options['rule']}; `delivery list` shows them")
        self.stdout.write(f"{send_stored(rule, actor):,} queued")

    def list(self, options: dict[str, Any], actor: str) -> None:  # noqa: ARG002
        """List destinations, rules, and deliveries that are not complete."""
        for one in Destination.objects.order_by("name"):
            paused = f"\tpaused until {one.paused_until:%Y-%m-%d %H:%M:%S}" if one.paused_until else ""
            self.stdout.write(f"{one.name}\t{one.kind}\t{one.address}{paused}")
        for rule in Rule.objects.select_related("destination").order_by("pk"):
            self.stdout.write(f"rule {rule.pk}\t{rule}{'' if rule.enabled else ' (disabled)'}")
        for delivery in list_deliveries().exclude(state="done").iterator():
            self.stdout.write(f"{delivery.pk}\t{delivery}\t{delivery.state}\t{delivery.reason}".rstrip())

    def resend(self, options: dict[str, Any], actor: str) -> None:
        """Send deliveries again."""
        if options["quarantined"]:
            destination = find_destination(options["quarantined"])
            chosen = list_deliveries().filter(destination=destination, state="quarantined")
        elif options["ids"]:
            chosen = Delivery.objects.filter(pk__in=options["ids"])
        else:
            raise CommandError("name deliveries by their IDs, or a destination with --quarantined")
        for delivery in (found := list(chosen)):
            resend(delivery, actor)
        self.stdout.write(f"{len(found):,} queued")
        if len(found) < len(options["ids"]):
            raise CommandError("the others do not exist; `delivery list` shows those that are not complete")

    def remove(self, options: dict[str, Any], actor: str) -> None:
        """Remove a destination or a rule."""
        if options["what"].isdecimal():
            rule = Rule.objects.filter(pk=options["what"]).first()
            if rule is None:
                raise CommandError(f"no rule {options['what']}; `delivery list` shows them")
            remove_rule(rule, actor)
        else:
            remove_destination(find_destination(options["what"]), actor)


def find_destination(name: str) -> Destination:
    """Return a destination by its name.

    Raises:
        CommandError: it does not exist.

    """
    found = Destination.objects.filter(name=name).first()
    if found is None:
        raise CommandError(f"no destination {name!r}; `delivery list` shows them")
    return found
