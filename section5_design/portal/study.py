"""The page of a study, and the page of an image: facts, series, results, attributes, history."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log1p
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import Group
from django.db.models import Count, Max, Min, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from accounts.access import AUDIT, OPERATE, ROLES, visible_instances
from accounts.audit_events import about_instance, about_study, actor_of, client_address, record_access_once
from accounts.models import Share
from accounts.services import share_study, unshare_study
from analysis.models import AnalysisJob, Result, Run
from analysis.services import list_analyses
from archive.models import Instance, Series, Study
from archive.object_store import object_key, open_object
from audit.queries import find_events, find_instance_events
from portal import attributes
from portal.decorators import requires
from portal.labels import FIGURES, label_for
from portal.plots import bars
from portal.plots import table as plot_table
from portal.selectors import get_instance, get_study, images_of
from portal.services import add_label, remove_label
from portal.studies import parse_number
from query.viewer import viewer_url

PAGE = 100
FEW = 20  # images that are listed at once; longer lists open by a click
EVENTS = 50
PROCESSING_KINDS = ("received", "done", "retry", "lost", "quarantined", "requeued")
STRUCTURED_REPORTS = "1.2.840.10008.5.1.4.1.1.88."  # the SOP classes begin with it


@dataclass
class SeriesCard:
    """A series with what the reader may see of it."""

    series: Series
    counts: dict[str, int]  # images by state
    frames: int  # images that can be viewed
    first: int  # ID of an image

    @property
    def ready(self) -> int:
        """Return the number of processed images."""
        return self.counts.get(AnalysisJob.State.DONE, 0)


@require_GET
@login_required
def show_study(request: HttpRequest, study_id: int) -> HttpResponse:
    """Show a study: its facts, series, images, results and labels, and for auditors its history."""
    study = get_study(request, study_id)
    record_access_once(request, "viewed", subject=about_study(study))
    cards = build_cards(request.user, study)
    images = images_of(request.user, [card.series for card in cards]).select_related("job", "series")
    if series := parse_number(request, "series"):
        images = images.filter(series=series)
    if (state := request.GET.get("state", "")) in AnalysisJob.State.values:
        images = images.filter(job__state=state)
    start = parse_number(request, "start") or 0
    rows = list(images[start : start + PAGE + 1])
    address = request.GET.copy()
    address["start"] = str(start + PAGE)
    teams = (
        Group.objects.exclude(name__in=ROLES).order_by("name")
        if request.user.has_perm(OPERATE)
        else Group.objects.none()
    )
    shares = Share.objects.filter(study=study).select_related("group").order_by("group__name")
    context = {
        "study": study,
        "cards": cards,
        "total": add_counts(card.counts for card in cards),
        "rows": [{"image": row, "label": label_for(row.job)} for row in rows[:PAGE]],
        "chosen": next((card.series for card in cards if card.series.pk == series), None),
        "open_images": series or state or start or len(rows) <= FEW,
        "more": address.urlencode() if len(rows) > PAGE else "",
        "results": list_results(request.user, study),
        "runs": list_runs(request.user, study),
        "ohif": viewer_url(study),
        "analyses": list_analyses() if request.user.has_perm(OPERATE) else [],
        "labels": study.labels.order_by("text"),
        "shares": shares,
        "teams": teams.exclude(pk__in=shares.values("group")),
        "events": find_events(None, uids=[study.uid])[:EVENTS] if request.user.has_perm(AUDIT) else None,
    }
    return render(request, "portal/study.html", context)


def build_cards(user: Any, study: Study) -> list[SeriesCard]:
    """Build the cards of the series, in the order of SeriesNumber."""
    cards: dict[int, SeriesCard] = {}
    visible = visible_instances(user).filter(series__study=study).order_by()
    counted = visible.values_list("series", "job__state").annotate(
        count=Count("pk"), frames=Count("rows"), first=Min("pk")
    )
    for series_id, state, count, frames, first in counted:
        card = cards.setdefault(series_id, SeriesCard(Series(pk=series_id), {}, 0, first))
        card.counts[state] = count
        card.frames += frames if state == AnalysisJob.State.DONE else 0
    for series in Series.objects.filter(pk__in=cards).select_related("study"):
        cards[series.pk].series = series
    return sorted(
        cards.values(),
        key=lambda card: (card.series.series_number is None, card.series.series_number or 0, card.series.pk),
    )


def add_counts(counts: Iterator[dict[str, int]]) -> dict[str, int]:
    """Add counts by state."""
    total: dict[str, int] = {}
    for one in counts:
        for state, count in one.items():
            total[state] = total.get(state, 0) + count
    return total


def list_results(user: Any, study: Study) -> QuerySet[Any, dict[str, Any]]:
    """Return the analyses of a study's images, with versions, number of results and the time of the latest."""
    found = Result.objects.filter(instance__in=visible_instances(user).filter(series__study=study))
    grouped = found.order_by().values("analysis", "version")
    return grouped.annotate(count=Count("instance_id"), latest=Max("at")).order_by("analysis", "version")


def list_runs(user: Any, study: Study) -> list[Run]:
    """Return the runs of registered analyses that cover visible images only, the latest of each analysis first."""
    runs = Run.objects.filter(target__study=study).select_related("target")
    if not user.has_perm(OPERATE):
        visible = visible_instances(user).filter(series__study=study)
        runs = runs.filter(inputs__contained_by=list(visible.values_list("pk", flat=True)))
    return list(runs.order_by("target__analysis", "target", "-finished_at")[:PAGE])


@require_POST
@login_required
def change_labels(request: HttpRequest, study_id: int) -> HttpResponse:
    """Add a label to a study, or remove one."""
    study = get_study(request, study_id)
    text = " ".join(request.POST.get("label", "").replace("\0", "").split())[:40]
    if text:
        change = remove_label if request.POST.get("remove") else add_label
        change(study, text, actor_of(request), client_address(request))
    else:
        messages.error(request, _("Enter a label."))
    return redirect("study", study.pk)


@require_POST
@requires(OPERATE)
def share(request: HttpRequest, study_id: int) -> HttpResponse:
    """Share a study with a team, or stop sharing it."""
    study = get_study(request, study_id)
    number = request.POST.get("group", "")
    group = get_object_or_404(Group.objects.exclude(name__in=ROLES), pk=int(number) if number.isdecimal() else 0)
    change = unshare_study if request.POST.get("end") else share_study
    change(study, group, actor_of(request), client_address(request))
    return redirect("study", study.pk)


@require_GET
@login_required
def show_image(request: HttpRequest, instance_id: int) -> HttpResponse:
    """Show an image: state, results, histogram and history."""
    image = get_instance(request, instance_id)
    record_access_once(request, "viewed", subject=about_instance(image))
    result = Result.objects.filter(instance=image).first()
    figures = result.figures if result else {}
    plain = {name: value for name, value in figures.items() if not isinstance(value, list | dict)}
    order = (*FIGURES, *plain)
    context = {
        "image": image,
        "study": image.series.study,
        "label": label_for(image.job),
        "result": result,
        "figures": {name: plain[name] for name in sorted(plain, key=order.index)},
        "events": find_history(request, image),
        **find_position(request.user, image),
    }
    if histogram := figures.get("histogram"):
        context |= build_histogram(histogram)
    if image.sop_class_uid.startswith(STRUCTURED_REPORTS):
        with open_object(object_key(image.sha256)) as file:
            context["report"] = attributes.read_report(file)
    return render(request, "portal/image.html", context)


def find_position(user: Any, image: Instance) -> dict[str, Any]:
    """Return where an image is in its series, with its neighbours."""
    rows = list(images_of(user, image.series).values_list("pk", "job__state", "rows"))
    place = next(place for place, (pk, *_) in enumerate(rows) if pk == image.pk)
    ready = sum(state == AnalysisJob.State.DONE and height is not None for _, state, height in rows[: place + 1])
    return {
        "position": place + 1,
        "count": len(rows),
        "previous": rows[place - 1][0] if place else None,
        "next": rows[place + 1][0] if place + 1 < len(rows) else None,
        "viewer_position": ready,  # of the images that the viewer shows
    }


def build_histogram(histogram: dict[str, Any]) -> dict[str, Any]:
    """Draw a histogram, with a table of its values."""
    counts, low = histogram["counts"], histogram["from"]
    step = (histogram["to"] - low) / len(counts)
    names = [number_format(f"{low + place * step:.6g}") for place in range(len(counts))]
    return {
        "limits": histogram,
        "histogram": bars([log1p(count) for count in counts], _("Histogram of the stored values")),
        "histogram_table": plot_table(names, counts, (_("From (stored value)"), _("Values"))),
    }


def find_history(request: HttpRequest, image: Instance) -> list[dict[str, Any]]:
    """Return the events about an image: its processing for every reader; who viewed it for auditors only."""
    auditor = request.user.has_perm(AUDIT)
    return [event for event in find_instance_events(image.pk) if auditor or event["kind"] in PROCESSING_KINDS]


@require_GET
@login_required
def show_attributes(request: HttpRequest, instance_id: int) -> HttpResponse:
    """Show the attributes of an image as a tree, filtered by tag, keyword or value."""
    image = get_instance(request, instance_id)
    record_access_once(request, "viewed", "attributes", subject=about_instance(image))
    wanted = request.GET.get("q", "").strip()[:100]
    with open_object(object_key(image.sha256)) as file:
        tree = attributes.read_tree(file, wanted)
    context = {"image": image, "study": image.series.study, "tree": tree, "wanted": wanted}
    return render(request, "portal/attributes.html", context)
