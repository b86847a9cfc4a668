"""URLs of the project."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_orjson_renderer.renderers import ORJSONRenderer  # type: ignore[import-untyped]
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from elements import health
from elements.views import ElementViewSet

router = SimpleRouter()
router.register("elements", ElementViewSet, basename="element")

urlpatterns = [
    path("", RedirectView.as_view(url="/api/docs/")),
    path("api/", include(router.urls)),
    path("api/schema/", SpectacularAPIView.as_view(renderer_classes=[ORJSONRenderer]), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(), name="docs"),
    path("live", health.live),
    path("ready", health.ready),
    path("metrics", health.metrics),
    path("admin/", admin.site.urls),
]

handler400 = "elements.exceptions.bad_request"
handler404 = "elements.exceptions.page_not_found"
handler500 = "elements.exceptions.server_error"
