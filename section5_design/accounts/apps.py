"""The app."""

from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    """Who may send, see and operate."""

    name = "accounts"

    def ready(self) -> None:
        """Connect the signal receivers."""
        from accounts import audit_events, services  # noqa: F401  # their receivers

        post_migrate.connect(make_roles, sender=self)


def make_roles(**_: Any) -> None:
    """Create the roles: groups with permissions. A person without a role sees only what is shared with them."""
    from django.contrib.auth.management import create_permissions
    from django.contrib.auth.models import Group, Permission

    from accounts.access import ROLES

    # Django does it after this receiver, since its own apps come later.
    create_permissions(apps.get_app_config("accounts"), verbosity=0)
    for name, codenames in ROLES.items():
        group, _made = Group.objects.get_or_create(name=name)
        group.permissions.add(*Permission.objects.filter(content_type__app_label="accounts", codename__in=codenames))
