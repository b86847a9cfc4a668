"""Manage the DICOM application entities that may send."""

import getpass
import ipaddress
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError

from accounts.models import ApplicationEntity
from accounts.services import remove_application_entity, save_application_entity

GROUP_HELP = "the team whose images it reads, beside those it sent; `operators`: it reads all"


def find_group(name: str | None) -> Group | None:
    """Return a group by its name, None without a name."""
    group: Group | None = Group.objects.filter(name=name).first()
    if name and group is None:
        raise CommandError(f"no group named {name!r}; the portal's People page creates teams")
    return group


class Command(BaseCommand):
    """`manage.py ae add TITLE ADDRESS [--port N] [--group NAME]`, `manage.py ae list`, `manage.py ae remove TITLE`."""

    help = "DICOM application entities, by AE title and address. Once one is registered, only registered ones may send."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        add = commands.add_parser("add", help="register or change an entity")
        add.add_argument("title", help="its AE title, at most 16 characters")
        add.add_argument("address", help="an address, or a network such as 10.1.0.0/16")
        add.add_argument("--port", type=int, help="where it receives storage commitments and C-MOVEs")
        add.add_argument("--group", help=GROUP_HELP)
        commands.add_parser("list", help="list the entities with address, port and group")
        commands.add_parser("remove", help="remove an entity").add_argument("title")

    def handle(self, **options: Any) -> None:
        """Run the command; a running receiver applies it within seconds."""
        actor = f"person:{getpass.getuser()}"
        match options["command"]:
            case "add":
                self.add(options["title"].strip(), options["address"], options["port"], options["group"], actor)
            case "remove":
                if not remove_application_entity(options["title"], actor):
                    raise CommandError(f"unknown AE title {options['title']!r}; `ae list` shows the registered ones")
            case "list":
                for entity in ApplicationEntity.objects.select_related("group").order_by("title"):
                    self.stdout.write(f"{entity.title}\t{entity.network}\t{entity.port or '-'}\t{entity.group or '-'}")

    def add(self, title: str, address: str, port: int | None, group: str | None, actor: str) -> None:
        """Check and save an entity."""
        if not 0 < len(title) <= 16 or not title.isascii() or "\\" in title:
            raise CommandError("an AE title has 1 to 16 ASCII characters (PS3.5, 6.2)")
        if port is not None and not 0 < port < 65536:
            raise CommandError("a port is an integer from 1 to 65535")
        try:
            network = ipaddress.ip_network(address)
        except ValueError:
            raise CommandError(f"{address}: not an address or a network") from None
        if port and network.num_addresses > 1:
            raise CommandError("an entity with a port needs a single address")
        known = str(network.network_address if network.num_addresses == 1 else network)
        save_application_entity(title, known, port, actor, find_group(group))
