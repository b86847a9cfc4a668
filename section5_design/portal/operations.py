"""The operations page: workers, queues, throughput, failures; requeue, quarantine and drain."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from accounts.access import OPERATE
from accounts.audit_events import actor_of
from jobs.models import Job, Worker
from jobs.queue import quarantine, requeue
from jobs.services import request_drain
from portal.api import ask
from portal.plots import bars, table

QUEUES = """
    SELECT queue, count(*) FILTER (WHERE state = 'queued') AS waiting,
        count(*) FILTER (WHERE state = 'running') AS running,
        greatest(0, extract(epoch FROM now() - min(next_run_at) FILTER (WHERE state = 'queued'))) AS oldest
    FROM jobs_job WHERE state IN ('queued', 'running') GROUP BY queue ORDER BY queue
"""
MINUTES = 60
THROUGHPUT = """
    SELECT to_char(minute AT TIME ZONE 'UTC', 'HH24:MI UTC') AS name, count(result.at) AS done,
        coalesce(avg(extract(epoch FROM result.at - instance.received_at)), 0) AS waited
    FROM generate_series(date_trunc('minute', now()) - make_interval(mins => %(minutes)s - 1),
        date_trunc('minute', now()), interval '1 minute') AS minute
    LEFT JOIN analysis_result AS result ON result.at >= minute AND result.at < minute + interval '1 minute'
    LEFT JOIN archive_instance AS instance ON instance.id = result.instance_id
    GROUP BY minute ORDER BY minute
"""
FAILURES = """
    SELECT reason, count(*) AS count, max(id) AS last FROM jobs_job WHERE state = 'quarantined'
    GROUP BY reason ORDER BY count(*) DESC LIMIT 100
"""


@require_GET
@login_required
@permission_required(OPERATE, raise_exception=True)
def show_operations(request: HttpRequest) -> HttpResponse:
    """Show the status of the system."""
    minutes = ask(THROUGHPUT, {"minutes": MINUTES})
    names, done, waited = ([row[key] for row in minutes] for key in ("name", "done", "waited"))
    waited = [float(seconds) for seconds in waited]
    return render(
        request,
        "portal/operations.html",
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


@require_POST
@login_required
@permission_required(OPERATE, raise_exception=True)
def requeue_jobs(request: HttpRequest) -> HttpResponse:
    """Requeue one job, or all that were quarantined for a reason."""
    jobs = Job.objects.filter(state=Job.State.QUARANTINED)
    job = request.POST.get("job", "")
    selected = jobs.filter(pk=int(job)) if job.isdecimal() else jobs.filter(reason=request.POST.get("reason"))
    done = sum(requeue(pk, actor_of(request)) for pk in list(selected.values_list("pk", flat=True)))
    messages.success(request, ngettext("%d image requeued.", "%d images requeued.", done) % done)
    return back(request)


@require_POST
@login_required
@permission_required(OPERATE, raise_exception=True)
def quarantine_job(request: HttpRequest) -> HttpResponse:
    """Quarantine a queued image."""
    job = request.POST.get("job", "")
    if job.isdecimal() and quarantine(int(job), actor_of(request)):
        messages.success(request, _("The image is quarantined."))
    else:
        messages.error(request, _("Only a queued image can be quarantined."))
    return back(request)


@require_POST
@login_required
@permission_required(OPERATE, raise_exception=True)
def drain_worker(request: HttpRequest) -> HttpResponse:
    """Ask a worker to finish its current jobs and stop."""
    worker = get_object_or_404(Worker, pk=request.POST.get("worker", "").replace("\0", ""))
    request_drain(worker.name, actor_of(request))
    messages.success(request, _("The worker finishes its current jobs and takes no new ones."))
    return redirect("operations")


def back(request: HttpRequest) -> HttpResponse:
    """Redirect to the image that the request came from, or to the operations page."""
    image: Any = request.POST.get("image", "")
    return redirect("instance", int(image)) if image.isdecimal() else redirect("operations")
