"""Say which DICOM application entities may send, and from where."""

import getpass
import ipaddress
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from archive.models import Peer
from audit.log import note


class Command(BaseCommand):
    """`manage.py peer add TITLE ADDRESS [--port N]`, `manage.py peer list`, `manage.py peer remove TITLE`."""

    help = "DICOM peers, by AE title and address. As soon as there is one, nobody else may send."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command line."""
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        add = commands.add_parser("add", help="let an entity send, or change what is known of it")
        add.add_argument("title", help="its AE title, 16 characters at most")
        add.add_argument("address", help="an address, or a network as 10.1.0.0/16")
        add.add_argument("--port", type=int, help="where it is called back with storage commitments")
        commands.add_parser("list", help="each with its address and port")
        commands.add_parser("remove", help="let it send no more").add_argument("title")

    def handle(self, **options: Any) -> None:
        """Do it; a receiver that runs knows within seconds."""
        actor = f"person:{getpass.getuser()}"
        match options["command"]:
            case "add":
                title, port = options["title"].strip(), options["port"]
                if not 0 < len(title) <= 16 or not title.isascii() or "\\" in title:
                    raise CommandError("an AE title has 1 to 16 characters of ASCII (PS3.5, 6.2)")
                if port is not None and not 0 < port < 65536:
                    raise CommandError("a port is a whole number from 1 to 65535")
                try:
                    network = ipaddress.ip_network(options["address"])
                except ValueError:
                    raise CommandError(f"{options['address']} is no address and no network") from None
                if port and network.num_addresses > 1:
                    raise CommandError("who is called back must have one address")
                known = str(network.network_address if network.num_addresses == 1 else network)
                Peer.objects.update_or_create(pk=title, defaults={"network": known, "port": port})
                note("peer", actor, f"{title} may send from {known}")
            case "remove":
                if not Peer.objects.filter(pk=options["title"]).delete()[0]:
                    raise CommandError(f"there is no peer {options['title']!r}; `peer list` shows those there are")
                note("peer", actor, f"{options['title']} may send no more")
            case "list":
                for peer in Peer.objects.order_by("title"):
                    self.stdout.write(f"{peer.title}\t{peer.network}\t{peer.port or '-'}")
