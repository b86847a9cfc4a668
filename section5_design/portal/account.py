"""A person's own account: API tokens, password, language; and whether the session is alive."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from accounts.access import get_teams
from accounts.audit_events import actor_of
from accounts.models import ApiToken
from accounts.services import create_token, revoke_token


@login_required
def show_account(request: HttpRequest) -> HttpResponse:
    """Show the account; POST creates an API token, which this page shows once."""
    token = ""
    if request.method == "POST":
        name = " ".join(request.POST.get("name", "").replace("\0", "").split())[:60]
        try:
            token = create_token(f"{request.user.get_username()}: {name}"[:100], actor_of(request), user=request.user)
        except IntegrityError:
            messages.error(request, _("You have a token of this name already."))
    tokens = ApiToken.objects.filter(user=request.user).order_by("name")
    return render(request, "portal/account.html", {"tokens": tokens, "token": token, "teams": get_teams(request.user)})


@require_POST
@login_required
def revoke(request: HttpRequest) -> HttpResponse:
    """Revoke one of the person's own tokens."""
    token = get_object_or_404(ApiToken, user=request.user, name=request.POST.get("name", "").replace("\0", ""))
    revoke_token(token.name, actor_of(request))
    messages.success(request, _("The token is revoked."))
    return redirect("account")


@require_GET
def session(request: HttpRequest) -> HttpResponse:
    """Answer whether the session is alive: to scripts as a status, to people who logged in again as a page."""
    if request.headers.get("Accept") == "application/json":
        return JsonResponse({}, status=200 if request.user.is_authenticated else 401)
    if not request.user.is_authenticated:
        return redirect_to_login(request.path)
    return render(request, "portal/session.html")
