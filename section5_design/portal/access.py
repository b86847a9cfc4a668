"""Who may see what: their own, what was sent for a group of theirs, what was shared with one; operators all.

Access hangs on instances, not on studies: who sends one file with the UID of a study sees that file, not the study.
"""

from typing import Any

from django.contrib.auth.models import Group
from django.db.models import Exists, OuterRef, Q, QuerySet

from archive.models import Instance, Study
from portal.models import Item, Share, Upload

SUBMIT, OPERATE, AUDIT = "portal.add_upload", "portal.operate", "portal.audit"
ROLES = {
    "submitters": ["add_upload"],
    "readers": [],
    "operators": ["operate"],
    "auditors": ["audit"],
    "administrators": ["add_upload", "operate", "audit"],
}


def teams_of(user: Any) -> QuerySet[Group]:
    """The user's groups that are no roles."""
    groups: QuerySet[Group] = user.groups.exclude(name__in=ROLES)
    return groups


def instances_of(user: Any, *, few: bool = False) -> QuerySet[Instance]:
    """The instances that a user may see. `few`: a handful is looked at, and each is asked for by itself.

    Else PostgreSQL makes the set once, where asking anew for each of 100,000 images took six times as long.
    """
    if user.has_perm(OPERATE):
        return Instance.objects.all()
    teams = teams_of(user)
    sent = Item.objects.filter(Q(upload__user=user) | Q(upload__group__in=teams), instance__isnull=False)
    shared = Share.objects.filter(group__in=teams)
    if few:
        return Instance.objects.filter(
            Exists(sent.filter(instance=OuterRef("pk"))) | Exists(shared.filter(study=OuterRef("series__study")))
        )
    return Instance.objects.filter(Q(pk__in=sent.values("instance")) | Q(series__study__in=shared.values("study")))


def studies_of(user: Any) -> QuerySet[Study]:
    """The studies of which a user may see something."""
    if user.has_perm(OPERATE):
        return Study.objects.all()
    return Study.objects.filter(Exists(instances_of(user).filter(series__study=OuterRef("pk"))))


def uploads_of(user: Any) -> QuerySet[Upload]:
    """The uploads that a user may see."""
    if user.has_perm(OPERATE):
        return Upload.objects.all()
    return Upload.objects.filter(Q(user=user) | Q(group__in=teams_of(user)))
