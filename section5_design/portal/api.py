"""What is read back over HTTP: studies, instances, results, workers; JSON or CSV, the preview as PNG."""

import csv
import io
from typing import Any

import orjson
from django.db import InterfaceError, OperationalError, connection
from django.http import FileResponse, HttpRequest, HttpResponse

from archive.object_store import store

MOST = 1000

STUDIES = """
    SELECT study.id, study.uid AS study_instance_uid, study.study_date, count(instance.id) AS instances,
        count(*) FILTER (WHERE job.state = 'done') AS done,
        count(*) FILTER (WHERE job.state = 'quarantined') AS quarantined
    FROM (
        SELECT * FROM archive_study WHERE id > %(after)s AND (%(uid)s = '' OR uid = %(uid)s) ORDER BY id LIMIT %(most)s
    ) AS study
    LEFT JOIN archive_series AS series ON series.study_id = study.id
    LEFT JOIN archive_instance AS instance ON instance.series_id = series.id
    LEFT JOIN processing_job AS job ON job.instance_id = instance.id
    GROUP BY study.id, study.uid, study.study_date ORDER BY study.id
"""
INSTANCES = """
    SELECT instance.id, sop_instance_uid, study.uid AS study_instance_uid, series.uid AS series_instance_uid, modality,
        sop_class_uid, transfer_syntax_uid, sha256, size, source, conflict, received_at,
        job.state, job.attempts, job.reason
    FROM archive_instance AS instance
    JOIN archive_series AS series ON series.id = series_id
    JOIN archive_study AS study ON study.id = study_id
    JOIN processing_job AS job ON job.instance_id = instance.id
    WHERE instance.id > %(after)s AND (%(uid)s = '' OR sop_instance_uid = %(uid)s)
    ORDER BY instance.id LIMIT %(most)s
"""
RESULTS = """
    SELECT instance.id, sop_instance_uid, result.at, figures, preview <> '' AS preview
    FROM archive_instance AS instance JOIN processing_result AS result ON result.instance_id = instance.id
    WHERE instance.id > %(after)s AND (%(uid)s = '' OR sop_instance_uid = %(uid)s)
    ORDER BY instance.id LIMIT %(most)s
"""
WORKERS = """
    SELECT name, queues, state, started_at, beat_at, cpu_percent, memory_percent, doing
    FROM processing_worker ORDER BY name
"""
NOT_IN_CSV = ("histogram", "frames", "figures")


def ask(statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a statement by their columns' names."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def listed(request: HttpRequest, statement: str, uid: str) -> HttpResponse:
    """A page behind `after`, as JSON or, with `format=csv`, as CSV."""
    try:
        after = int(request.GET.get("after", "0"))
        most = min(MOST, max(1, int(request.GET.get("page_size", "100"))))
    except ValueError:
        return json({"detail": "after and page_size must be whole numbers"}, 400)
    rows = ask(
        statement, {"after": min(after, 2**62), "most": most, "uid": request.GET.get(uid, "")[:64].replace("\0", "")}
    )
    for row in rows:
        if "figures" in row:
            row["figures"] = orjson.loads(row["figures"])
    if request.GET.get("format") == "csv":
        return as_csv(rows)
    return json({"next_after": rows[-1]["id"] if len(rows) == most else None, "results": rows})


def studies(request: HttpRequest) -> HttpResponse:
    """Studies with the states of their instances; `study_instance_uid=` finds one."""
    return listed(request, STUDIES, "study_instance_uid")


def instances(request: HttpRequest) -> HttpResponse:
    """Instances with their states; `sop_instance_uid=` finds one."""
    return listed(request, INSTANCES, "sop_instance_uid")


def results(request: HttpRequest) -> HttpResponse:
    """Results; `sop_instance_uid=` finds one."""
    return listed(request, RESULTS, "sop_instance_uid")


def preview(request: HttpRequest, instance_id: int) -> HttpResponse | FileResponse:  # noqa: ARG001
    """The picture of a result."""
    found = ask("SELECT preview FROM processing_result WHERE instance_id = %(id)s", {"id": min(instance_id, 2**62)})
    if not found or not found[0]["preview"]:
        return json({"detail": "there is no preview of this instance"}, 404)
    return FileResponse(store().open(found[0]["preview"]), content_type="image/png")


def workers(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
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
