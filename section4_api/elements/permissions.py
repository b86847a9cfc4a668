"""Who may use the API in the production profile: bearer tokens (RFC 6750), and Django's model permissions."""

from typing import ClassVar

from knox.auth import TokenAuthentication  # type: ignore[import-untyped]
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import DjangoModelPermissions
from rest_framework.request import Request


class BearerAuthentication(TokenAuthentication):
    """Tokens of django-rest-knox, of which the database holds only hashes."""

    def authenticate(self, request: Request) -> tuple[object, object] | None:
        """Return the user and the token of a request; None without a header."""
        if "Authorization" in request.headers and not request.headers["Authorization"].lower().startswith("bearer"):
            raise AuthenticationFailed("send a token: Authorization: Bearer ...")
        try:
            found = super().authenticate(request)
        except UnicodeDecodeError:
            raise AuthenticationFailed("the token is not valid") from None
        if found:
            request._request.user_name = found[0].get_username()
        return found

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        """Return the challenge; knox also compares the scheme of the request with it."""
        return "Bearer"


class ModelPermissions(DjangoModelPermissions):
    """Django's permissions of the model; reading needs the permission to view, too."""

    perms_map: ClassVar = DjangoModelPermissions.perms_map | {
        method: ["%(app_label)s.view_%(model_name)s"] for method in ("GET", "HEAD")
    }
