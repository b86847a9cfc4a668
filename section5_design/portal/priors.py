"""The page of priors: archives, rules, and the latest searches and fetches."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from accounts.access import OPERATE
from accounts.audit_events import actor_of
from portal.decorators import requires
from priors.models import Archive, Prior, Rule
from priors.services import (
    list_priors,
    list_searches,
    remove_archive,
    remove_rule,
    retry,
    save_archive,
    save_rule,
)

SHOWN = 25


class ArchiveForm(forms.ModelForm):
    """A new archive."""

    class Meta:
        """The fields of the address."""

        model = Archive
        fields = ("name", "title", "host", "port", "tls")
        labels = {  # noqa: RUF012
            "name": gettext_lazy("Name"),
            "title": gettext_lazy("AE title"),
            "host": gettext_lazy("Host"),
            "port": gettext_lazy("Port"),
            "tls": "TLS",
        }


class PriorRuleForm(forms.ModelForm):
    """A new rule."""

    class Meta:
        """What a rule asks for."""

        model = Rule
        fields = ("archive", "modality", "newest", "same_modality")
        labels = {  # noqa: RUF012
            "archive": gettext_lazy("Archive"),
            "modality": gettext_lazy("Modality of the arriving study (empty: any)"),
            "newest": gettext_lazy("At most so many priors"),
            "same_modality": gettext_lazy("Only priors of the same modality"),
        }


@requires(OPERATE)
def show_priors(request: HttpRequest) -> HttpResponse:
    """Show archives, rules, searches and fetches; POST adds an archive or a rule."""
    kind = request.POST.get("form")
    archive = ArchiveForm(request.POST if kind == "archive" else None, label_suffix="")
    rule = PriorRuleForm(request.POST if kind == "rule" else None, label_suffix="")
    if kind == "archive" and archive.is_valid():
        save_archive(archive.instance, actor_of(request))
        return redirect("priors")
    if kind == "rule" and rule.is_valid():
        save_rule(rule.instance, actor_of(request))
        return redirect("priors")
    context: dict[str, Any] = {
        "archives": Archive.objects.order_by("name"),
        "rules": Rule.objects.select_related("archive").order_by("pk"),
        "searches": list_searches()[:SHOWN],
        "priors": list_priors()[:SHOWN],
        "archive_form": archive,
        "rule_form": rule,
    }
    return render(request, "portal/priors.html", context)


@require_POST
@requires(OPERATE)
def change_archive(request: HttpRequest, archive_id: int) -> HttpResponse:
    """Pause, resume or remove an archive."""
    archive = get_object_or_404(Archive, pk=min(archive_id, 2**62))
    if request.POST.get("action") == "remove":
        remove_archive(archive, actor_of(request))
        messages.success(request, _("The archive is removed, with its rules. What was fetched stays."))
    else:
        archive.enabled = request.POST.get("action") == "resume"
        save_archive(archive, actor_of(request))
    return redirect("priors")


@require_POST
@requires(OPERATE)
def remove_prior_rule(request: HttpRequest, rule_id: int) -> HttpResponse:
    """Remove a rule."""
    remove_rule(get_object_or_404(Rule, pk=min(rule_id, 2**62)), actor_of(request))
    messages.success(request, _("The rule is removed."))
    return redirect("priors")


@require_POST
@requires(OPERATE)
def retry_prior(request: HttpRequest, prior_id: int) -> HttpResponse:
    """Fetch a quarantined prior again."""
    if retry(get_object_or_404(Prior, pk=min(prior_id, 2**62)), actor_of(request)):
        messages.success(request, _("Queued again."))
    return redirect("priors")
