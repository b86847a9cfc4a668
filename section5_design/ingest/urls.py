"""Addresses of STOW-RS."""

from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from ingest.stow import stow

urlpatterns = [
    path("studies", csrf_exempt(stow)),
    path("studies/<str:study_uid>", csrf_exempt(stow)),
]
