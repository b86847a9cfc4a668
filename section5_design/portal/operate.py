"""For operators: workers, queues, throughput, what failed and why; and what a person can do about it."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from audit.log import write_event
from portal.access import OPERATE
from portal.api import ask
from portal.plots import bars, table
from processing.claiming import quarantine, requeue
from processing.models import Job, Worker

QUEUES = """
    SELECT queue, count(*) FILTER (WHERE state = 'queued') AS waiting,
        count(*) FILTER (WHERE state = 'running') AS running,
        greatest(0, extract(epoch FROM now() - min(next_run_at) FILTER (WHERE state = 'queued'))) AS oldest
    FROM processing_job WHERE state IN ('queued', 'running') GROUP BY queue ORDER BY queue
"""
MINUTES = 60
THROUGHPUT = """
    SELECT to_char(minute AT TIME ZONE 'UTC', 'HH24:MI UTC') AS name, count(result.at) AS done,
        coalesce(avg(extract(epoch FROM result.at - instance.received_at)), 0) AS waited
    FROM generate_series(date_trunc('minute', now()) - make_interval(mins => %(minutes)s - 1),
        date_trunc('minute', now()), interval '1 minute') AS minute
    LEFT JOIN processing_result AS result ON result.at >= minute AND result.at < minute + interval '1 minute'
    LEFT JOIN archive_instance AS instance ON instance.id = result.instance_id
    GROUP BY minute ORDER BY minute
"""
FAILURES = """
    SELECT reason, count(*) AS count, max(id) AS last FROM processing_job WHERE state = 'quarantined'
    GROUP BY reason ORDER BY count(*) DESC LIMIT 100
"""


@require_GET
@login_required
@permission_required(OPERATE, raise_exception=True)
def operate(request: HttpRequest) -> HttpResponse:
    """How the system is."""
    minutes = ask(THROUGHPUT, {"minutes": MINUTES})
    names, done, waited = ([row[key] for row in minutes] for key in ("name", "done", "waited"))
    waited = [float(seconds) for seconds in waited]
    return render(
        request,
        "portal/operate.html",
        {
            "workers": Worker.objects.exclude(state="gone").order_by("name"),
            "queues": ask(QUEUES, {}),
            "failures": ask(FAILURES, {}),
            "throughput": bars(done, _("Results a minute, of the last hour")),
            "most_done": max(done),
            "throughput_table": table(names, done, (_("Minute"), _("Results"))),
            "waiting": bars(waited, _("Seconds from receipt to result, by minute")),
            "most_waited": max(waited),
            "waiting_table": table(names, waited, (_("Minute"), _("Seconds"))),
        },
    )


def actor(request: HttpRequest) -> str:
    """Who does it, as the log names people."""
    return f"user:{request.user.get_username()}"


@require_POST
@login_required
@permission_required(OPERATE, raise_exception=True)
def again(request: HttpRequest) -> HttpResponse:
    """Another round of tries: for one job, or for all that failed for a reason."""
    jobs = Job.objects.filter(state=Job.State.QUARANTINED)
    job = request.POST.get("job", "")
    chosen = jobs.filter(pk=int(job)) if job.isdecimal() else jobs.filter(reason=request.POST.get("reason"))
    done = sum(requeue(pk, actor(request)) for pk in list(chosen.values_list("pk", flat=True)))
    messages.success(request, ngettext("%d image is tried again.", "%d images are tried again.", done) % done)
    return back(request)


@require_POST
@login_required
@permission_required(OPERATE, raise_exception=True)
def aside(request: HttpRequest) -> HttpResponse:
    """Set an image aside that waits."""
    job = request.POST.get("job", "")
    if job.isdecimal() and quarantine(int(job), actor(request)):
        messages.success(request, _("The image is set aside."))
    else:
        messages.error(request, _("Only an image that waits can be set aside."))
    return back(request)


@require_POST
@login_required
@permission_required(OPERATE, raise_exception=True)
def drain(request: HttpRequest) -> HttpResponse:
    """Ask a worker to end what it does, and then itself."""
    worker = get_object_or_404(Worker, pk=request.POST.get("worker", "").replace("\0", ""))
    with transaction.atomic(), connection.cursor() as cursor:
        Worker.objects.filter(pk=worker.pk).update(drain=True)
        write_event(cursor, "drain", None, actor(request), worker.name)
    messages.success(request, _("The worker ends what it does, and takes nothing new."))
    return redirect("operate")


def back(request: HttpRequest) -> HttpResponse:
    """To the image, where the request came from one."""
    image: Any = request.POST.get("image", "")
    return redirect("instance", int(image)) if image.isdecimal() else redirect("operate")
