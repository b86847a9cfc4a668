"""The URLs of every app, and the accounts' pages."""

from django.contrib.auth import views as auth
from django.urls import include, path
from django.views.i18n import set_language

PASSWORD = {"template_name": "portal/password.html", "success_url": "/account/"}

urlpatterns = [
    path("", include("portal.urls")),
    path("", include("uploads.urls")),
    path("dicom-web/", include("query.urls")),
    path("viewer/", include("query.viewer_urls")),
    path("login/", auth.LoginView.as_view(template_name="portal/login.html"), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("password/", auth.PasswordChangeView.as_view(**PASSWORD), name="password"),
    path("language/", set_language, name="set_language"),
]
