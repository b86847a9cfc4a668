"""The list of studies: filters, sorting, labels, and actions on several studies."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import Group
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Count, Exists, F, FilteredRelation, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from accounts.access import OPERATE, ROLES, visible_instances, visible_studies
from accounts.audit_events import actor_of, client_address, record_access_once
from accounts.services import share_study
from analysis.models import AnalysisJob
from analysis.services import list_analyses, run_again
from archive.models import Instance, Series, Study
from archive.ranges import find_ranges, in_ranges
from core.standby import read_from_standby
from delivery.models import Destination
from delivery.services import send_studies
from portal.downloads import send_zip
from portal.models import StudyLabel
from portal.services import add_label

PAGE = 50
MAX_SELECTED = 200
Filter = Callable[[QuerySet[Study], QuerySet[Instance], str], QuerySet[Study]]


def _in_study(visible: QuerySet[Instance], **what: Any) -> Exists:
    return Exists(visible.filter(series__study=OuterRef("pk"), **what))


def parse_day(text: str) -> datetime:
    """Return the beginning of a day."""
    try:
        return datetime.combine(date.fromisoformat(text), time(), timezone.get_current_timezone())
    except ValueError:
        raise BadRequest("dates must be YYYY-MM-DD") from None


def is_reversed(wanted: dict[str, str]) -> bool:
    """Return whether a range of dates, `from` and `to`, ends before it begins."""
    return bool(wanted["from"] and wanted["to"]) and parse_day(wanted["from"]) > parse_day(wanted["to"])


def _date(text: str) -> str:
    return parse_day(text).strftime("%Y%m%d")  # as DICOM has it


FILTERS: dict[str, Filter] = {
    "patient": lambda found, _v, text: found.filter(Q(patient_name__icontains=text) | Q(patient_id__icontains=text)),
    "accession": lambda found, _v, text: found.filter(accession_number__istartswith=text),
    "description": lambda found, _v, text: found.filter(study_description__icontains=text),
    "modality": lambda found, _v, text: found.filter(
        Exists(Series.objects.filter(study=OuterRef("pk"), modality=text.upper()))
    ),
    "from": lambda found, _v, text: found.filter(study_date__gte=_date(text)),
    "to": lambda found, _v, text: found.filter(study_date__lte=_date(text)).exclude(study_date=""),
    "received": lambda found, _v, text: found.filter(created_at__gte=parse_day(text)),
    "state": lambda found, visible, text: found.filter(_in_study(visible, job__state=text)),
    "label": lambda found, _v, text: found.filter(Exists(StudyLabel.objects.filter(study=OuterRef("pk"), text=text))),
    "sender": lambda found, visible, text: found.filter(_in_study(visible, source__icontains=text)),
}
SORTS = {
    "patient": "patient_name",
    "accession": "accession_number",
    "description": "study_description",
    "date": "study_date",
    "received": "created_at",
}


@dataclass
class Row:
    """A study in the list, with what the reader may see of it."""

    study: Study
    counts: dict[str, int] = field(default_factory=dict)  # images by state
    pixels: int = 0  # processed images that have a thumbnail
    series: set[int] = field(default_factory=set)
    modalities: set[str] = field(default_factory=set)
    labels: list[str] = field(default_factory=list)

    @property
    def sorted_modalities(self) -> list[str]:
        """Return the modalities, always in the same order."""
        return sorted(self.modalities)


@require_GET
@login_required
def show_studies(request: HttpRequest) -> HttpResponse:
    """List the visible studies, the newest first; filters and sorting are in the address."""
    wanted = {name: request.GET.get(name, "").replace("\0", "").strip()[:100] for name in FILTERS}
    if used := [name for name, text in wanted.items() if text]:
        record_access_once(request, "queried", "by " + ", ".join(used))  # not the texts: they may name patients
    sort, after = request.GET.get("sort", ""), parse_number(request, "after")
    rows, more, label_names = read_from_standby(actor_of(request), lambda: read_list(request.user, wanted, sort, after))
    address = request.GET.copy()
    address.pop("after", None)
    context = {
        "rows": rows,
        "wanted": wanted,
        "quick": build_quick_filters(label_names, wanted),
        "columns": build_columns(sort, address),
        "next": f"{address.urlencode()}&after={rows[-1].study.pk}".lstrip("&") if more else "",
        "first": f"?{address.urlencode()}" if request.GET.get("after") else "",
        "teams": Group.objects.exclude(name__in=ROLES).order_by("name") if request.user.has_perm(OPERATE) else [],
        "analyses": list_analyses() if request.user.has_perm(OPERATE) else [],
        "destinations": list_destinations(request.user),
        "label_names": label_names,
        "states": AnalysisJob.State.values,
        "more_filters": any(wanted[name] for name in ("accession", "description", "sender")),
        "reversed": is_reversed(wanted),
        "filtered": bool(used) or "after" in request.GET,
        **build_first_run(request),
    }
    return render(request, "portal/studies.html", context)


def read_list(user: Any, wanted: dict[str, str], sort: str, after: int | None) -> tuple[list[Row], bool, list[str]]:
    """Return a page of the list, whether more follow, and the labels of all visible studies."""
    studies, more = page_of(filter_studies(user, wanted), sort, after)
    return build_rows(user, studies), more, list_labels(user)


def build_first_run(request: HttpRequest) -> dict[str, Any]:
    """Return the addresses that a modality or a program needs."""
    host = request.get_host()
    return {
        "dicom_host": host.rpartition(":")[0] or host,
        "dicom_port": settings.DICOM_PORT,
        "dicom_web": request.build_absolute_uri("/dicom-web"),
    }


def filter_studies(user: Any, wanted: dict[str, str]) -> QuerySet[Study]:
    """Return the visible studies that match every filter."""
    found, visible = visible_studies(user), visible_instances(user)
    for name, text in wanted.items():
        if text:
            found = FILTERS[name](found, visible, text)
    return found


def page_of(found: QuerySet[Study], sort: str, after: int | None) -> tuple[list[Study], bool]:
    """Return a page of studies behind the study `after`, and whether more follow.

    Args:
        found: the studies.
        sort: a name of SORTS, with `-` in front for descending order; otherwise the newest come first.
        after: ID of the last study of the page before.

    """
    name, descending = sort.lstrip("-"), sort.startswith("-") or sort.lstrip("-") not in SORTS
    column = SORTS.get(name, "created_at")
    way = "lt" if descending else "gt"
    if after is not None:
        last = Study.objects.filter(pk=min(after, 2**62)).values_list(column, flat=True).first()
        if last is not None:
            found = found.filter(
                Q(**{f"{column}__{way}": last}) | Q(**{column: last, f"pk__{way}": after}),
                **{f"{column}__{way}e": last},  # for the index
            )
    order = F(column).desc() if descending else F(column).asc()
    rows = list(found.order_by(order, "-pk" if descending else "pk")[: PAGE + 1])
    return rows[:PAGE], len(rows) > PAGE


def build_rows(user: Any, studies: list[Study]) -> list[Row]:
    """Count the visible images of studies by state, and collect series, modalities and labels."""
    rows = {study.pk: Row(study) for study in studies}
    # By the series' IDs, since PostgreSQL would read all instances to join them with many series.
    series = list(Series.objects.filter(study__in=studies).values_list("pk", flat=True))
    ranges = find_ranges(series)
    visible = visible_instances(user, ranges).filter(series__in=series).order_by()
    with_jobs = visible.annotate(of=FilteredRelation("job", condition=in_ranges("job__instance", ranges)))
    counted = with_jobs.values_list("series__study", "series", "series__modality", "of__state")
    for study, series, modality, state, count, pixels in counted.annotate(count=Count("pk"), pixels=Count("rows")):
        if state is None:  # it arrived since the ranges were found
            continue
        row = rows[study]
        row.pixels += pixels if state == AnalysisJob.State.DONE else 0
        row.counts[state] = row.counts.get(state, 0) + count
        row.series.add(series)
        row.modalities.add(modality or "?")
    for study, text in StudyLabel.objects.filter(study__in=studies).order_by("text").values_list("study", "text"):
        rows[study].labels.append(text)
    return list(rows.values())


def build_columns(sort: str, address: Any) -> list[dict[str, str]]:
    """Build the headers that sort, each with the address that it leads to."""
    names = {
        "patient": _("Patient"),
        "description": _("Description"),
        "accession": _("Accession number"),
        "date": _("Study date"),
        "received": _("Received"),
    }
    columns = []
    for name, label in names.items():
        descending = sort == f"-{name}" or (not sort and name == "received")
        address["sort"] = name if descending or (sort != name and name not in ("date", "received")) else f"-{name}"
        order = "descending" if descending else "ascending" if sort == name else ""
        columns.append({"name": name, "label": label, "address": address.urlencode(), "order": order})
    return columns


def build_quick_filters(label_names: list[str], wanted: dict[str, str]) -> list[dict[str, Any]]:
    """Build the filters that one click sets."""
    today = timezone.localdate()
    quick: list[tuple[str, dict[str, str]]] = [
        (_("All"), {}),
        (_("Received today"), {"received": today.isoformat()}),
        (_("Last 7 days"), {"received": (today - timezone.timedelta(days=6)).isoformat()}),
        *((modality, {"modality": modality}) for modality in ("CT", "MR", "US")),
        (_("Processing"), {"state": "running"}),
        (_("Quarantined"), {"state": "quarantined"}),
        *((text, {"label": text}) for text in label_names[:8]),
    ]
    active = {name: text for name, text in wanted.items() if text}
    return [{"label": label, "values": values, "current": values == active} for label, values in quick]


def list_labels(user: Any) -> list[str]:
    """Return the labels of the visible studies."""
    found = StudyLabel.objects.filter(study__in=visible_studies(user))
    return list(found.order_by("text").values_list("text", flat=True).distinct()[:50])


def list_destinations(user: Any) -> list[Destination]:
    """Return the active destinations, for those who may send."""
    return list(Destination.objects.filter(enabled=True).order_by("name")) if user.has_perm(OPERATE) else []


def parse_number(request: HttpRequest, name: str) -> int | None:
    """Parse an optional non-negative integer of the address."""
    text = request.GET.get(name, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadRequest(f"{name} must be an integer")
    return int(text) if text else None


@require_POST
@login_required
def act_on_studies(request: HttpRequest) -> HttpResponseBase:
    """Download, label, share or send the selected studies, or run an analysis on them."""
    ids = [int(text) for text in request.POST.getlist("study")[:MAX_SELECTED] if text.isdecimal() and len(text) < 19]
    studies = list(visible_studies(request.user).filter(pk__in=ids).order_by("pk"))
    action, back = request.POST.get("action"), request.POST.get("back", "")
    if not studies:
        messages.error(request, _("Select at least one study."))
    elif action == "download":
        return send_zip(request, studies)
    elif action == "label":
        label_studies(request, studies)
    elif action == "share":
        share_studies(request, studies)
    elif action == "run":
        run_analysis(request, studies)
    elif action == "send":
        send_to_destination(request, studies)
    safe = url_has_allowed_host_and_scheme(back, {request.get_host()})
    return redirect(back if safe else "studies")


def label_studies(request: HttpRequest, studies: list[Study]) -> None:
    """Add a label to studies."""
    text = " ".join(request.POST.get("label", "").replace("\0", "").split())[:40]
    if not text:
        messages.error(request, _("Enter a label."))
        return
    for study in studies:
        add_label(study, text, actor_of(request), client_address(request))
    done = ngettext("%d study labelled.", "%d studies labelled.", len(studies))
    messages.success(request, done % len(studies))


def share_studies(request: HttpRequest, studies: list[Study]) -> None:
    """Share studies with a team."""
    if not request.user.has_perm(OPERATE):
        raise PermissionDenied("operators")
    number = request.POST.get("group", "")
    group = get_object_or_404(Group.objects.exclude(name__in=ROLES), pk=int(number) if number.isdecimal() else 0)
    for study in studies:
        share_study(study, group, actor_of(request), client_address(request))
    done = ngettext("%(count)d study shared with %(team)s.", "%(count)d studies shared with %(team)s.", len(studies))
    messages.success(request, done % {"count": len(studies), "team": group.name})


def send_to_destination(request: HttpRequest, studies: list[Study]) -> None:
    """Send all images of studies to a destination."""
    if not request.user.has_perm(OPERATE):
        raise PermissionDenied("operators")
    number = request.POST.get("destination", "")
    active = Destination.objects.filter(enabled=True)
    destination = get_object_or_404(active, pk=int(number) if number.isdecimal() and len(number) < 19 else 0)
    images = Instance.objects.filter(series__study__in=studies)
    count = send_studies(images, destination, actor_of(request), client_address(request))
    if count:
        done = ngettext("%(count)d image queued for %(name)s.", "%(count)d images queued for %(name)s.", count)
        messages.success(request, done % {"count": count, "name": destination.name})
    else:
        text = _("Every image of these studies is sent to %(name)s or queued already. See Operations, Delivery.")
        messages.info(request, text % {"name": destination.name})


def run_analysis(request: HttpRequest, studies: list[Study]) -> None:
    """Run an analysis on studies again."""
    if not request.user.has_perm(OPERATE):
        raise PermissionDenied("operators")
    chosen = Study.objects.filter(pk__in=[study.pk for study in studies])
    try:
        jobs = run_again(chosen, request.POST.get("analysis", ""), actor_of(request))
    except KeyError:
        messages.error(request, _("Choose an analysis."))
        return
    messages.success(request, ngettext("%d job queued.", "%d jobs queued.", jobs) % jobs)
