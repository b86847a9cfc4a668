"""Addresses of resumable uploads."""

from django.urls import path

from uploads import tus

urlpatterns = [
    path("files/", tus.files, name="tus"),
    path("files/<uuid:item_id>", tus.file, name="tus-file"),
]
