"""The operations page: workers, queues, throughput, failures; requeue, quarantine and drain."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from accounts.access import OPERATE
from accounts.audit_events import actor_of
from jobs.models import Job, Worker
from jobs.queue import quarantine, requeue
from jobs.services import request_drain
from portal.api import ask
from portal.decorators import requires
from portal.plots import bars, table

QUEUES = """
    SELECT queue, kind, count(*) FILTER (WHERE state = 'queued') AS waiting,
        count(*) FILTER (WHERE state = 'queued' AND attempts > 0) AS retried,
        count(*) FILTER (WHERE state = 'running') AS running,
        greatest(0, extract(epoch FROM now() - min(next_run_at) FILTER (WHERE state = 'queued'))) AS oldest
    FROM jobs_job WHERE state IN ('queued', 'running') GROUP BY queue, kind ORDER BY queue, kind
"""
MINUTES = 60
RECENT_MINUTES = 10  # how long a stopped worker is still shown
THROUGHPUT = """
    SELECT to_char(minute AT TIME ZONE 'UTC', 'HH24:MI UTC') AS name, count(result.at) AS done,
        coalesce(avg(extract(epoch FROM result.at - instance.received_at)), 0) AS waited
    FROM generate_series(date_trunc('minute', now()) - make_interval(mins => %(minutes)s - 1),
        date_trunc('minute', now()), interval '1 minute') AS minute
    LEFT JOIN analysis_result AS result ON result.at >= minute AND result.at < minute + interval '1 minute'
    LEFT JOIN archive_instance AS instance ON instance.id = result.instance_id
    GROUP BY minute ORDER BY minute
"""
DELIVERIES = """
    SELECT to_char(minute AT TIME ZONE 'UTC', 'HH24:MI UTC') AS name, count(delivered_at) AS done
    FROM generate_series(date_trunc('minute', now()) - make_interval(mins => %(minutes)s - 1),
        date_trunc('minute', now()), interval '1 minute') AS minute
    LEFT JOIN delivery_delivery ON delivered_at >= minute AND delivered_at < minute + interval '1 minute'
    GROUP BY minute ORDER BY minute
"""
LATENCY = """
    SELECT count(*) AS count, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS slow
    FROM (SELECT extract(epoch FROM result.at - instance.received_at) AS seconds
        FROM analysis_result AS result JOIN archive_instance AS instance ON instance.id = result.instance_id
        WHERE result.at > now() - make_interval(mins => %(minutes)s)) AS waits
"""
FAILURES = """
    SELECT kind, reason, count(*) AS count FROM jobs_job WHERE state = 'quarantined'
    GROUP BY kind, reason ORDER BY count(*) DESC LIMIT 100
"""


@require_GET
@requires(OPERATE)
def show_operations(request: HttpRequest) -> HttpResponse:
    """Show the status of the system."""
    minutes = ask(THROUGHPUT, {"minutes": MINUTES})
    names, done, waited = ([row[key] for row in minutes] for key in ("name", "done", "waited"))
    waited = [float(seconds) for seconds in waited]
    deliveries = ask(DELIVERIES, {"minutes": MINUTES})
    delivered = [row["done"] for row in deliveries]
    recently = Q(state="gone", heartbeat_at__gt=Now() - timedelta(minutes=RECENT_MINUTES))
    context = {
        "workers": Worker.objects.filter(~Q(state="gone") | recently).order_by("started_at", "name"),
        "queues": ask(QUEUES, {}),
        "failures": ask(FAILURES, {}),
        "latency": ask(LATENCY, {"minutes": MINUTES})[0],
        "throughput": bars(done, _("Results per minute in the last hour")),
        "most_done": max(done),
        "throughput_table": table(names, done, (_("Minute"), _("Results"))),
        "waiting": bars(waited, _("Mean seconds from receipt to result, by minute")),
        "most_waited": max(waited),
        "waiting_table": table(names, waited, (_("Minute"), _("Seconds"))),
        "delivered": sum(delivered),
        "deliveries": bars(delivered, _("Deliveries per minute in the last hour")),
        "most_delivered": max(delivered),
        "deliveries_table": table(names, delivered, (_("Minute"), _("Deliveries"))),
        "now": timezone.now(),
    }
    return render(request, "portal/operations.html", context)


@require_POST
@requires(OPERATE)
def requeue_jobs(request: HttpRequest) -> HttpResponse:
    """Requeue one job, or all of a kind that were quarantined for a reason."""
    jobs = Job.objects.filter(state=Job.State.QUARANTINED)
    job = request.POST.get("job", "")
    alike = jobs.filter(kind=request.POST.get("kind", ""), reason=request.POST.get("reason", "").replace("\0", ""))
    selected = jobs.filter(pk=int(job)) if job.isdecimal() and len(job) < 19 else alike
    done = sum(requeue(pk, actor_of(request)) for pk in list(selected.values_list("pk", flat=True)))
    messages.success(request, ngettext("%d job requeued.", "%d jobs requeued.", done) % done)
    return back(request)


@require_POST
@requires(OPERATE)
def quarantine_job(request: HttpRequest) -> HttpResponse:
    """Quarantine a queued image."""
    job = request.POST.get("job", "")
    if job.isdecimal() and quarantine(int(job), actor_of(request)):
        messages.success(request, _("The image is quarantined."))
    else:
        messages.error(request, _("Only a queued image can be quarantined."))
    return back(request)


@requires(OPERATE)
def drain_worker(request: HttpRequest) -> HttpResponse:
    """Ask for confirmation; POST asks the worker to finish its current jobs and stop."""
    name = request.POST.get("worker") or request.GET.get("worker", "")
    worker = get_object_or_404(Worker, pk=name.replace("\0", ""))
    if request.method != "POST":
        others = Worker.objects.exclude(pk=worker.pk).exclude(state="gone").filter(drain=False)
        return render(request, "portal/drain.html", {"worker": worker, "others": others.count()})
    request_drain(worker.name, actor_of(request))
    messages.success(request, _("Worker %(name)s takes no new jobs and stops.") % {"name": worker.name})
    return redirect("operations")


def back(request: HttpRequest) -> HttpResponse:
    """Redirect to the image that the request came from, or to the operations page."""
    image: Any = request.POST.get("image", "")
    return redirect("image", int(image)) if image.isdecimal() else redirect("operations")
