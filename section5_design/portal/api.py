"""The read API: studies, instances, results, workers, as JSON or CSV; previews as PNG."""

import csv
import io
from collections.abc import Callable
from typing import Any

import orjson
from django.db import InterfaceError, OperationalError
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse

from accounts.audit_events import about_instance, record_access
from accounts.readers import Reader, reads
from analysis.models import Result
from archive.models import Study
from archive.object_store import open_object
from core.standby import read_from_standby, reading_connection

MAX_ROWS = 1000

INSTANCES = """
    SELECT instance.id, sop_instance_uid, study.uid AS study_instance_uid, series.uid AS series_instance_uid, modality,
        sop_class_uid, transfer_syntax_uid, sha256, size, source, conflict, received_at,
        job.state, job.attempts, job.reason
    FROM archive_instance AS instance
    JOIN archive_series AS series ON series.id = series_id
    JOIN archive_study AS study ON study.id = series.study_id
    JOIN analysis_job AS job ON job.instance_id = instance.id
    WHERE instance.id = ANY(%(ids)s) ORDER BY instance.id
"""
RESULTS = """
    SELECT instance.id, sop_instance_uid, result.at, figures, preview <> '' AS preview
    FROM archive_instance AS instance JOIN analysis_result AS result ON result.instance_id = instance.id
    WHERE instance.id = ANY(%(ids)s) AND NOT superseded ORDER BY instance.id
"""
WORKERS = """
    SELECT name, queues, state, started_at, heartbeat_at, cpu_percent, memory_percent, current_jobs
    FROM jobs_worker ORDER BY name
"""
BY_UID = ("sop_instance_uid", "sop_instance_uid")
NOT_IN_CSV = ("histogram", "frames", "figures")


def ask(statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a query and return its rows as dictionaries."""
    with reading_connection().cursor() as cursor:
        cursor.execute(statement, values)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


Rows = Callable[[list[int]], list[dict[str, Any]]]


def list_rows(
    request: HttpRequest, reader: Reader, found: QuerySet[Any], uid: tuple[str, str], rows_of: Rows
) -> HttpResponse:
    """Answer a page of rows after ID `after`, as JSON or CSV; `uid` names a filter parameter and its column."""
    try:
        after = int(request.GET.get("after", "0"))
        limit = min(MAX_ROWS, max(1, int(request.GET.get("page_size", "100"))))
    except ValueError:
        return json({"detail": "after and page_size must be integers"}, 400)
    if text := request.GET.get(uid[0], "")[:64].replace("\0", ""):
        found = found.filter(**{uid[1]: text})
    page = found.filter(pk__gt=min(after, 2**62)).order_by("pk").values_list("pk", flat=True)[:limit]

    def read() -> tuple[list[int], list[dict[str, Any]]]:
        ids = list(page.all())
        return ids, rows_of(ids)

    ids, rows = read_from_standby(reader.name, read)
    record_access(request, "queried", f"{request.path}: {len(ids)} rows", actor=reader.name)
    for row in rows:
        if "figures" in row:
            row["figures"] = orjson.loads(row["figures"])
    if request.GET.get("format") == "csv":
        return as_csv(rows)
    return json({"next_after": ids[-1] if len(ids) == limit else None, "results": rows})


@reads
def studies(request: HttpRequest, reader: Reader) -> HttpResponse:
    """List studies with the states of their instances; filter with `study_instance_uid=`."""
    visible = reader.instances()
    has_visible = Exists(visible.filter(series__study=OuterRef("pk")))
    found = reader.studies() if reader.studies else Study.objects.filter(has_visible)

    def rows(ids: list[int]) -> list[dict[str, Any]]:
        counts = {f"{state}_": Count("pk", filter=Q(job__state=state)) for state in ("done", "quarantined")}
        counted = visible.filter(series__study__in=ids).order_by("series__study").values("series__study")
        by_id = {row.pop("series__study"): row for row in counted.annotate(instances=Count("pk"), **counts)}
        named = Study.objects.filter(pk__in=ids).order_by("pk")
        return [
            {"id": one.pk, "study_instance_uid": one.uid, "study_date": one.study_date}
            | {name.rstrip("_"): count for name, count in by_id[one.pk].items()}
            for one in named
            if one.pk in by_id
        ]

    return list_rows(request, reader, found, ("study_instance_uid", "uid"), rows)


@reads
def instances(request: HttpRequest, reader: Reader) -> HttpResponse:
    """List instances with their states; filter with `sop_instance_uid=`."""
    return list_rows(request, reader, reader.find_instances(), BY_UID, lambda ids: ask(INSTANCES, {"ids": ids}))


@reads
def results(request: HttpRequest, reader: Reader) -> HttpResponse:
    """List results; filter with `sop_instance_uid=`."""
    return list_rows(
        request,
        reader,
        reader.find_instances().filter(job__state="done"),
        BY_UID,
        lambda ids: ask(RESULTS, {"ids": ids}),
    )


@reads
def preview(request: HttpRequest, reader: Reader, instance_id: int) -> HttpResponse | FileResponse:
    """Return the preview of a result."""
    one = reader.instances().filter(pk=min(instance_id, 2**62)).select_related("series__study").first()
    result = Result.objects.filter(instance=one).first() if one else None
    if one is None or result is None or not result.preview:
        return json({"detail": "this instance has no preview"}, 404)
    record_access(request, "exported", "preview", actor=reader.name, subject=about_instance(one))
    return FileResponse(open_object(result.preview), content_type="image/png")


@reads
def workers(request: HttpRequest, reader: Reader) -> HttpResponse:  # noqa: ARG001
    """List workers as of their last heartbeat."""
    return json({"results": ask(WORKERS, {})})


def live(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Answer if the process responds."""
    return json({"status": "live"})


def ready(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Answer if the database responds."""
    try:
        ask("SELECT 1 AS one", {})
    except (OperationalError, InterfaceError):
        return json({"status": "the database does not respond"}, 503)
    return json({"status": "ready"})


def as_csv(rows: list[dict[str, Any]]) -> HttpResponse:
    """Format rows as CSV, each figure in a column of its own, without histogram and frames."""
    flat = [row | row.pop("figures", {}) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row if name not in NOT_IN_CSV))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(flat)
    return HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")


def json(document: Any, status: int = 200) -> HttpResponse:
    """Build a JSON response."""
    body = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS)
    return HttpResponse(body, status=status, content_type="application/json")
