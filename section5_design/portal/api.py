"""What is read back over HTTP: studies, instances, results, workers; JSON or CSV, the preview as PNG."""

import csv
import io
from collections.abc import Callable
from functools import wraps
from typing import Any

import orjson
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase

from archive.models import Instance, Sender, Study
from archive.object_store import open_object
from ingest.senders import UnknownSenderError, sender_of
from portal.access import instances_of
from portal.noting import note

MOST = 1000

INSTANCES = """
    SELECT instance.id, sop_instance_uid, study.uid AS study_instance_uid, series.uid AS series_instance_uid, modality,
        sop_class_uid, transfer_syntax_uid, sha256, size, source, conflict, received_at,
        job.state, job.attempts, job.reason
    FROM archive_instance AS instance
    JOIN archive_series AS series ON series.id = series_id
    JOIN archive_study AS study ON study.id = study_id
    JOIN processing_job AS job ON job.instance_id = instance.id
    WHERE instance.id = ANY(%(ids)s) ORDER BY instance.id
"""
RESULTS = """
    SELECT instance.id, sop_instance_uid, result.at, figures, preview <> '' AS preview
    FROM archive_instance AS instance JOIN processing_result AS result ON result.instance_id = instance.id
    WHERE instance.id = ANY(%(ids)s) ORDER BY instance.id
"""
WORKERS = """
    SELECT name, queues, state, started_at, beat_at, cpu_percent, memory_percent, doing
    FROM processing_worker ORDER BY name
"""
BY_UID = ("sop_instance_uid", "sop_instance_uid")
NOT_IN_CSV = ("histogram", "frames", "figures")


def ask(statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a statement by their columns' names."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


class UnknownReaderError(Exception):
    """Who asks is not known."""


def readable_by(request: HttpRequest) -> QuerySet[Instance]:
    """What who asks may read: a person what the portal shows, a sender by token what it sent.

    Raises:
        UnknownReaderError: neither; on a machine that serves itself alone, until there is an account, anybody may read.

    """
    if request.user.is_authenticated:
        return instances_of(request.user)
    if request.headers.get("Authorization"):
        return Instance.objects.filter(source=sender_of(request))
    if settings.FOR_OTHERS or get_user_model().objects.exists() or Sender.objects.exists():
        raise UnknownReaderError
    return Instance.objects.all()


def reader_of(request: HttpRequest) -> str:
    """Who reads, as the log names them; on a machine that serves itself alone it may be anybody."""
    if request.user.is_authenticated:
        return f"user:{request.user.get_username()}"
    return sender_of(request) if request.headers.get("Authorization") else "http:anybody"


def reads(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A view that is given what who asks may read."""

    @wraps(view)
    def checked(request: HttpRequest, **values: Any) -> HttpResponseBase:
        if request.method not in ("GET", "HEAD"):
            return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
        try:
            return view(request, readable_by(request), **values)
        except (UnknownReaderError, UnknownSenderError):
            told = json({"detail": "log in, or send a token: Authorization: Bearer ..."}, 401)
            told.headers["WWW-Authenticate"] = 'Bearer realm="results"'
            return told

    return checked


Rows = Callable[[list[int]], list[dict[str, Any]]]


def listed(request: HttpRequest, found: QuerySet[Any], uid: tuple[str, str], rows_of: Rows) -> HttpResponse:
    """A page behind `after`, as JSON or, with `format=csv`, as CSV. `uid` names a parameter and its column."""
    try:
        after = int(request.GET.get("after", "0"))
        most = min(MOST, max(1, int(request.GET.get("page_size", "100"))))
    except ValueError:
        return json({"detail": "after and page_size must be whole numbers"}, 400)
    if text := request.GET.get(uid[0], "")[:64].replace("\0", ""):
        found = found.filter(**{uid[1]: text})
    ids = list(found.filter(pk__gt=min(after, 2**62)).order_by("pk").values_list("pk", flat=True)[:most])
    note(request, "queried", f"{request.path}: {len(ids)} rows", actor=reader_of(request))
    rows = rows_of(ids)
    for row in rows:
        if "figures" in row:
            row["figures"] = orjson.loads(row["figures"])
    if request.GET.get("format") == "csv":
        return as_csv(rows)
    return json({"next_after": ids[-1] if len(ids) == most else None, "results": rows})


@reads
def studies(request: HttpRequest, mine: QuerySet[Instance]) -> HttpResponse:
    """Studies with the states of their instances; `study_instance_uid=` finds one."""
    found = Study.objects.filter(Exists(mine.filter(series__study=OuterRef("pk"))))

    def rows(ids: list[int]) -> list[dict[str, Any]]:
        counts = {f"{state}_": Count("pk", filter=Q(job__state=state)) for state in ("done", "quarantined")}
        counted = mine.filter(series__study__in=ids).order_by("series__study").values("series__study")
        by_id = {row.pop("series__study"): row for row in counted.annotate(instances=Count("pk"), **counts)}
        named = Study.objects.filter(pk__in=ids).order_by("pk")
        return [
            {"id": one.pk, "study_instance_uid": one.uid, "study_date": one.study_date}
            | {name.rstrip("_"): count for name, count in by_id[one.pk].items()}
            for one in named
        ]

    return listed(request, found, ("study_instance_uid", "uid"), rows)


@reads
def instances(request: HttpRequest, mine: QuerySet[Instance]) -> HttpResponse:
    """Instances with their states; `sop_instance_uid=` finds one."""
    return listed(request, mine, BY_UID, lambda ids: ask(INSTANCES, {"ids": ids}))


@reads
def results(request: HttpRequest, mine: QuerySet[Instance]) -> HttpResponse:
    """Results; `sop_instance_uid=` finds one."""
    return listed(request, mine.filter(job__state="done"), BY_UID, lambda ids: ask(RESULTS, {"ids": ids}))


@reads
def preview(request: HttpRequest, mine: QuerySet[Instance], instance_id: int) -> HttpResponse | FileResponse:
    """The picture of a result."""
    ids = list(mine.filter(pk=min(instance_id, 2**62)).values_list("pk", flat=True))
    found = ask("SELECT preview FROM processing_result WHERE instance_id = ANY(%(ids)s)", {"ids": ids})
    if not found or not found[0]["preview"]:
        return json({"detail": "there is no preview of this instance"}, 404)
    note(request, "exported", "preview", actor=reader_of(request), instance_id=instance_id)
    return FileResponse(open_object(found[0]["preview"]), content_type="image/png")


@reads
def workers(request: HttpRequest, mine: QuerySet[Instance]) -> HttpResponse:  # noqa: ARG001
    """Workers as they last said of themselves."""
    return json({"results": ask(WORKERS, {})})


def live(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """The process answers."""
    return json({"status": "live"})


def ready(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """The database answers."""
    try:
        ask("SELECT 1 AS one", {})
    except (OperationalError, InterfaceError):
        return json({"status": "the database does not answer"}, 503)
    return json({"status": "ready"})


def as_csv(rows: list[dict[str, Any]]) -> HttpResponse:
    """Rows as CSV; the figures each in a column of its own, without histogram and frames."""
    flat = [row | row.pop("figures", {}) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row if name not in NOT_IN_CSV))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(flat)
    return HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")


def json(document: Any, status: int = 200) -> HttpResponse:
    """A JSON answer."""
    body = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS)
    return HttpResponse(body, status=status, content_type="application/json")
