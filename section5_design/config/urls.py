"""What is where."""

from django.urls import path

from ingest import views as ingest
from portal import api

urlpatterns = [
    path("dicom-web/studies", ingest.stow),
    path("dicom-web/studies/<str:study_uid>", ingest.stow),
    path("api/instances/", api.instances),
    path("api/studies/", api.studies),
    path("api/results/", api.results),
    path("api/results/<int:instance_id>/preview.png", api.preview),
    path("api/workers/", api.workers),
    path("live", api.live),
    path("ready", api.ready),
]
