"""Addresses of the pages and the read API."""

from django.urls import path, re_path

from portal import account, api, audit, design, downloads, live, operations, people, studies, study, uploads, viewer

STUDY_RESULTS = r"^studies/(?P<study_id>\d{1,18})/results\.(?P<kind>json|csv|zip)$"
INSTANCE_RESULT = r"^images/(?P<instance_id>\d{1,18})/result\.(?P<kind>json|csv|png|dcm)$"

urlpatterns = [
    path("", studies.show_studies, name="studies"),
    path("studies/actions", studies.act_on_studies, name="act-on-studies"),
    path("studies/<int:study_id>/", study.show_study, name="study"),
    path("studies/<int:study_id>/labels", study.change_labels, name="change-labels"),
    path("studies/<int:study_id>/share", study.share, name="share"),
    path("studies/<int:study_id>/thumbnail.png", viewer.study_thumbnail, name="study-thumbnail"),
    re_path(STUDY_RESULTS, downloads.download_study, name="download-study"),
    path("series/<int:series_id>/", viewer.show_viewer, name="viewer"),
    path("series/<int:series_id>/thumbnail.png", viewer.series_thumbnail, name="series-thumbnail"),
    path("images/<int:instance_id>/", study.show_image, name="image"),
    path("images/<int:instance_id>/attributes/", study.show_attributes, name="attributes"),
    path("images/<int:instance_id>/picture.png", viewer.picture, name="picture"),
    re_path(INSTANCE_RESULT, downloads.download_instance, name="download-instance"),
    path("runs/<int:run_id>/files/<int:index>", downloads.download_run, name="download-run"),
    path("uploads/", uploads.show_uploads, name="uploads"),
    path("uploads/<int:upload_id>/", uploads.show_upload, name="upload"),
    path("operations/", operations.show_operations, name="operations"),
    path("operations/requeue", operations.requeue_jobs, name="requeue"),
    path("operations/quarantine", operations.quarantine_job, name="quarantine"),
    path("operations/drain", operations.drain_worker, name="drain"),
    path("audit/", audit.show_audit, name="audit"),
    path("audit/export.csv", audit.export_audit, name="export-audit"),
    path("account/", account.show_account, name="account"),
    path("account/tokens/revoke", account.revoke, name="revoke-token"),
    path("people/", people.show_people, name="people"),
    path("people/<int:person_id>/", people.show_person, name="person"),
    path("people/teams", people.add_team, name="add-team"),
    path("design/", design.show_design),
    path("session", account.session, name="session"),
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
