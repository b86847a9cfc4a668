"""Addresses of the pages and the read API."""

from django.urls import path, re_path

from portal import api, audit, live, operations, pages

STUDY_RESULTS = r"^studies/(?P<study_id>\d{1,18})/results\.(?P<kind>json|csv|zip)$"
INSTANCE_RESULT = r"^images/(?P<instance_id>\d{1,18})/result\.(?P<kind>json|csv|png|dcm)$"

urlpatterns = [
    path("", pages.studies, name="studies"),
    path("studies/<int:study_id>/", pages.study, name="study"),
    path("studies/<int:study_id>/share", pages.share, name="share"),
    re_path(STUDY_RESULTS, pages.download_study, name="download-study"),
    path("images/<int:instance_id>/", pages.instance, name="instance"),
    path("images/<int:instance_id>/picture.png", pages.picture, name="picture"),
    re_path(INSTANCE_RESULT, pages.download_instance, name="download-instance"),
    path("compare/", pages.compare, name="compare"),
    path("uploads/", pages.uploads, name="uploads"),
    path("uploads/<int:upload_id>/", pages.upload, name="upload"),
    path("operations/", operations.show_operations, name="operations"),
    path("operations/requeue", operations.requeue_jobs, name="requeue"),
    path("operations/quarantine", operations.quarantine_job, name="quarantine"),
    path("operations/drain", operations.drain_worker, name="drain"),
    path("audit/", audit.audit, name="audit"),
    path("events", live.events, name="events"),
    path("api/instances/", api.instances),
    path("api/studies/", api.studies),
    path("api/results/", api.results),
    path("api/results/<int:instance_id>/preview.png", api.preview),
    path("api/workers/", api.workers),
    path("api/receipts/key.pem", audit.receipt_key),
    path("api/receipts/<int:instance_id>", audit.receipt),
    path("live", api.live),
    path("ready", api.ready),
]
