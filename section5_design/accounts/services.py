"""Changes to application entities, tokens and shares, each with its audit event in one transaction."""

import secrets
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.dispatch import receiver

from accounts.api_tokens import hash_token
from accounts.models import ApiToken, ApplicationEntity, Share
from archive.models import Study
from archive.signals import instances_erased
from audit.events import Subject, record_event


@transaction.atomic
def create_token(name: str, actor: str) -> str:
    """Create an API token and return it; it cannot be read again.

    Raises:
        IntegrityError: the name is in use.

    """
    token = secrets.token_urlsafe(32)
    ApiToken.objects.create(digest=hash_token(token), name=name)
    record_event("token", actor, f"token of {name} created")
    return token


@transaction.atomic
def revoke_token(name: str, actor: str) -> bool:
    """Revoke an API token; False if there is none of this name."""
    if not ApiToken.objects.filter(name=name).delete()[0]:
        return False
    record_event("token", actor, f"token of {name} revoked")
    return True


@transaction.atomic
def save_application_entity(title: str, network: str, port: int | None, actor: str) -> None:
    """Create or change an application entity."""
    ApplicationEntity.objects.update_or_create(pk=title, defaults={"network": network, "port": port})
    record_event("application entity", actor, f"{title} may send from {network}")


@transaction.atomic
def remove_application_entity(title: str, actor: str) -> bool:
    """Remove an application entity; False if it is unknown."""
    if not ApplicationEntity.objects.filter(pk=title).delete()[0]:
        return False
    record_event("application entity", actor, f"{title} may no longer send")
    return True


@transaction.atomic
def share_study(study: Study, group: Group, actor: str, address: str = "") -> None:
    """Share a study with a team."""
    Share.objects.get_or_create(study=study, group=group)
    subject = Subject(study_uid=study.uid)
    record_event("shared", actor, f"with {group.name}", subject=subject, address=address)


@transaction.atomic
def unshare_study(study: Study, group: Group, actor: str, address: str = "") -> None:
    """Stop sharing a study with a team."""
    Share.objects.filter(study=study, group=group).delete()
    subject = Subject(study_uid=study.uid)
    record_event("unshared", actor, f"with {group.name}", subject=subject, address=address)


def share_with_senders(instance_ids: Sequence[int], source_ids: Sequence[int]) -> None:
    """Let those who sent every one of some instances see others that were made of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_submission (instance_id, source, user_id, group_id, submitted_at)"
            " SELECT made.id, source, user_id, group_id, now()"
            " FROM accounts_submission AS sent, unnest(%(made)s::bigint[]) AS made (id)"
            " WHERE sent.instance_id = ANY(%(sources)s) GROUP BY made.id, source, user_id, group_id"
            " HAVING count(DISTINCT sent.instance_id) = cardinality(%(sources)s) ON CONFLICT DO NOTHING",
            {"made": list(instance_ids), "sources": list(source_ids)},
        )


@receiver(instances_erased)
def delete_shares(study: Study, **_: Any) -> None:
    """Delete the shares of an erased study; submissions go with their instances."""
    Share.objects.filter(study=study).delete()
