"""What is where."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt

from ingest import views as ingest
from portal import api, audit_page, live, operate, pages, tus

PASSWORD = {"template_name": "portal/password.html", "success_url": "/"}

urlpatterns = [
    path("", pages.studies, name="studies"),
    path("login/", auth.LoginView.as_view(template_name="portal/login.html"), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("password/", auth.PasswordChangeView.as_view(**PASSWORD), name="password"),
    path("admin/", admin.site.urls),
    path("studies/<int:study_id>/", pages.study, name="study"),
    path("studies/<int:study_id>/share", pages.share, name="share"),
    re_path(r"^studies/(?P<study_id>\d{1,18})/results\.(?P<kind>json|csv|zip)$", pages.study_taken, name="study-taken"),
    path("images/<int:instance_id>/", pages.instance, name="instance"),
    path("images/<int:instance_id>/picture.png", pages.picture, name="picture"),
    re_path(r"^images/(?P<instance_id>\d{1,18})/result\.(?P<kind>json|csv|png|dcm)$", pages.take_away, name="take"),
    path("compare/", pages.compare, name="compare"),
    path("uploads/", pages.uploads, name="uploads"),
    path("uploads/<int:upload_id>/", pages.upload, name="upload"),
    path("files/", tus.files, name="tus"),
    path("files/<uuid:item_id>", tus.file, name="tus-file"),
    path("operate/", operate.operate, name="operate"),
    path("operate/again", operate.again, name="again"),
    path("operate/aside", operate.aside, name="aside"),
    path("operate/drain", operate.drain, name="drain"),
    path("audit/", audit_page.audit, name="audit"),
    path("events", live.events, name="events"),
    path("dicom-web/studies", csrf_exempt(ingest.stow)),
    path("dicom-web/studies/<str:study_uid>", csrf_exempt(ingest.stow)),
    path("api/instances/", api.instances),
    path("api/studies/", api.studies),
    path("api/results/", api.results),
    path("api/results/<int:instance_id>/preview.png", api.preview),
    path("api/workers/", api.workers),
    path("api/receipts/key.pem", audit_page.receipt_key),
    path("api/receipts/<int:instance_id>", audit_page.receipt),
    path("live", api.live),
    path("ready", api.ready),
]
