"""The app."""

from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class PortalConfig(AppConfig):
    """Where people send images and see what became of them."""

    name = "portal"

    def ready(self) -> None:
        """Make the roles with the tables."""
        from portal import noting  # noqa: F401  # its receivers of signals

        post_migrate.connect(make_roles, sender=self)


def make_roles(**_: Any) -> None:
    """Each role is a group with permissions; whoever is in none may log in and sees nothing but what is shared."""
    from django.contrib.auth.management import create_permissions
    from django.contrib.auth.models import Group, Permission

    from portal.access import ROLES

    # Django does it after this, for its own apps come later.
    create_permissions(apps.get_app_config("portal"), verbosity=0)
    for name, codenames in ROLES.items():
        group, _made = Group.objects.get_or_create(name=name)
        group.permissions.add(*Permission.objects.filter(content_type__app_label="portal", codename__in=codenames))
