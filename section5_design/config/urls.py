"""The URLs of every app, and the accounts' pages."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import include, path

PASSWORD = {"template_name": "portal/password.html", "success_url": "/"}

urlpatterns = [
    path("", include("portal.urls")),
    path("", include("uploads.urls")),
    path("dicom-web/", include("query.urls")),
    path("viewer/", include("query.viewer_urls")),
    path("login/", auth.LoginView.as_view(template_name="portal/login.html"), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("password/", auth.PasswordChangeView.as_view(**PASSWORD), name="password"),
    path("admin/", admin.site.urls),
]
