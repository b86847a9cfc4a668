"""Access rules: people see what they or their teams sent or were given; operators see everything.

Access is granted per instance, not per study: whoever sends one file with a study's UID sees that file, not the study.
"""

from typing import Any

from django.contrib.auth.models import Group
from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models import Share, StudyAccess, Submission
from archive.models import Instance, Study
from archive.ranges import Ranges, in_ranges

SUBMIT, OPERATE, AUDIT = "accounts.submit", "accounts.operate", "accounts.audit"
ADMINISTER = "accounts.administer"
MANY = 1000  # studies
ROLES = {
    "submitters": ["submit"],
    "readers": [],
    "operators": ["operate"],
    "auditors": ["audit"],
    "administrators": ["submit", "operate", "audit", "administer"],
}


def get_teams(user: Any) -> QuerySet[Group]:
    """Return the user's groups that are not roles."""
    groups: QuerySet[Group] = user.groups.exclude(name__in=ROLES)
    return groups


def all_instances(ranges: Ranges | None = None) -> QuerySet[Instance]:  # noqa: ARG001  # as the functions below
    """Return every instance."""
    return Instance.objects.all()


def visible_instances(user: Any, ranges: Ranges | None = None) -> QuerySet[Instance]:
    """Return the instances that a user may see; each is checked on its own, so name few, or ask for a page.

    Of many images, pass the ranges of their IDs, outside of which nothing is found then.
    """
    if user.has_perm(OPERATE):
        return Instance.objects.all()
    teams = list(get_teams(user).values_list("pk", flat=True))
    return granted_instances(Q(user=user) | Q(group__in=teams), Q(group__in=teams), ranges)


def program_instances(source: str, group: Group | None, ranges: Ranges | None = None) -> QuerySet[Instance]:
    """Return the instances that a token or an application entity may see.

    Args:
        source: it, as a sender: it sees what it sent, first or again.
        group: its team, whose instances it sees too, or a role that may operate, which sees everything.
        ranges: as for `visible_instances`.

    """
    if group is None:
        return granted_instances(Q(source=source), Q(pk__in=[]), ranges)
    if "operate" in ROLES.get(group.name, ()):
        return Instance.objects.all()
    return granted_instances(Q(source=source) | Q(group=group), Q(group=group), ranges)


def granted_instances(is_sent: Q, is_shared: Q, ranges: Ranges | None = None) -> QuerySet[Instance]:
    """Return the instances of some submissions, and of the studies of some shares."""
    sent = Submission.objects.filter(is_sent, in_ranges("instance", ranges))
    shared = Share.objects.filter(is_shared)
    return Instance.objects.filter(
        Exists(sent.filter(instance=OuterRef("pk"))) | Exists(shared.filter(study=OuterRef("series__study")))
    )


def visible_studies(user: Any) -> QuerySet[Study]:
    """Return the studies of which a user may see an instance.

    Few are named by their IDs. Of many, each is checked on its own, so that a page takes as long as its rows.
    """
    if user.has_perm(OPERATE):
        return Study.objects.all()
    teams = list(get_teams(user).values_list("pk", flat=True))
    sent = StudyAccess.objects.filter(Q(user=user) | Q(group__in=teams)).values("study")
    shared = Share.objects.filter(group__in=teams).values("study")
    few = [row["study"] for row in sent.union(shared, all=True)[: MANY + 1]]
    if len(few) <= MANY:
        return Study.objects.filter(pk__in=few)
    # A union, since PostgreSQL would build the set of all studies to check a single one.
    here = sent.filter(study=OuterRef("pk")).union(shared.filter(study=OuterRef("pk")), all=True)
    return Study.objects.filter(Exists(here))
