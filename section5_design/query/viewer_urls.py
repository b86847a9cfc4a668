"""Addresses of the OHIF viewer."""

from django.urls import path

from query.viewer import viewer

urlpatterns = [path("", viewer, name="viewer"), path("<path:name>", viewer)]
