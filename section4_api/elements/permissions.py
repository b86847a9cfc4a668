"""Who may use the API in the production profile: bearer tokens (RFC 6750), and Django's model permissions."""

from typing import ClassVar

from knox.auth import TokenAuthentication  # type: ignore[import-untyped]
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import DjangoModelPermissions
from rest_framework.request import Request


class BearerAuthentication(TokenAuthentication):
    """Tokens of django-rest-knox, of which the database holds only hashes."""

    def authenticate(self, request: Request) -> tuple[object, object] | None:
        """Return the user and the token of a request; None without a token."""
        try:
            found = super().authenticate(request)
        except UnicodeDecodeError:
            raise AuthenticationFailed from None
        if found:
            request._request.user_name = found[0].get_username()  # for the log
        return found


class ModelPermissions(DjangoModelPermissions):
    """Django's permissions of the model; reading needs the permission to view, too."""

    perms_map: ClassVar = DjangoModelPermissions.perms_map | {
        method: ["%(app_label)s.view_%(model_name)s"] for method in ("GET", "HEAD")
    }
