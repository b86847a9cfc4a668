"""What is where."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView, TemplateView
from drf_spectacular.views import SpectacularAPIView
from rest_framework.routers import SimpleRouter

from elements.health import Live, Metrics, Ready
from elements.renderers import JSONRenderer
from elements.views import ElementViewSet

router = SimpleRouter()
router.register("elements", ElementViewSet, basename="element")

urlpatterns = [
    path("", RedirectView.as_view(url="/api/docs/")),
    path("api/", include(router.urls)),
    path("api/schema/", SpectacularAPIView.as_view(renderer_classes=[JSONRenderer]), name="schema"),
    path("api/docs/", TemplateView.as_view(template_name="elements/docs.html")),
    path("live", Live.as_view()),
    path("ready", Ready.as_view()),
    path("metrics", Metrics.as_view()),
    path("admin/", admin.site.urls),
]

handler400 = "elements.problems.bad_request"
handler403 = "elements.problems.forbidden"
handler404 = "elements.problems.not_found"
handler500 = "elements.problems.server_error"
