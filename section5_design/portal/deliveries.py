"""The delivery page: destinations, rules with a dry run, and deliveries that can be sent again."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from accounts.access import OPERATE
from accounts.audit_events import actor_of
from delivery.models import Delivery, Destination, Rule
from delivery.services import (
    list_deliveries,
    preview_rule,
    remove_destination,
    remove_rule,
    resend,
    save_destination,
    save_rule,
    send_stored,
)
from jobs.models import Job
from portal.decorators import requires

SHOWN = 50


class DestinationForm(forms.ModelForm):
    """A new destination, with a token that is stored encrypted and never shown."""

    token = forms.CharField(
        label=gettext_lazy("Token of a STOW-RS service"), required=False, widget=forms.PasswordInput, max_length=1000
    )

    class Meta:
        """The fields of the address."""

        model = Destination
        fields = ("name", "kind", "title", "host", "port", "tls", "url")
        labels = {  # noqa: RUF012
            "name": gettext_lazy("Name"),
            "kind": gettext_lazy("Protocol"),
            "title": gettext_lazy("AE title (C-STORE)"),
            "host": gettext_lazy("Host (C-STORE)"),
            "port": gettext_lazy("Port (C-STORE)"),
            "tls": gettext_lazy("TLS (C-STORE)"),
            "url": gettext_lazy("URL (STOW-RS, webhook)"),
        }


class RuleForm(forms.ModelForm):
    """A new rule; an empty field selects everything."""

    class Meta:
        """What a rule selects."""

        model = Rule
        fields = ("destination", "analysis", "modality", "sop_class", "source_modality")
        labels = {  # noqa: RUF012
            "destination": gettext_lazy("Destination"),
            "analysis": gettext_lazy("Results of the analysis (* for any; empty: received images)"),
            "modality": gettext_lazy("Modality"),
            "sop_class": gettext_lazy("SOP Class UID"),
            "source_modality": gettext_lazy("Only if the study has this modality"),
        }


@requires(OPERATE)
def show_deliveries(request: HttpRequest) -> HttpResponse:
    """Show destinations, rules and the latest deliveries; POST adds a destination or a rule."""
    kind = request.POST.get("form")
    destination = DestinationForm(request.POST if kind == "destination" else None, label_suffix="")
    rule = RuleForm(request.POST if kind == "rule" else None, label_suffix="")
    key = ""
    if kind == "destination" and destination.is_valid():
        key = save_destination(destination.instance, actor_of(request), destination.cleaned_data["token"])
        if not key:
            return redirect("deliveries")
        destination = DestinationForm()
    elif kind == "rule" and rule.is_valid():
        save_rule(rule.instance, actor_of(request))
        return redirect("deliveries")
    deliveries = list_deliveries()
    if request.GET.get("state") in Job.State.values:
        deliveries = deliveries.filter(state=request.GET["state"])
    context: dict[str, Any] = {
        "destinations": Destination.objects.annotate(total=Count("deliveries")).order_by("name"),
        "rules": Rule.objects.select_related("destination").order_by("pk"),
        "deliveries": deliveries[:SHOWN],
        "states": Job.State.values,
        "destination_form": destination,
        "rule_form": rule,
        "key": key,
    }
    return render(request, "portal/deliveries.html", context)


@require_POST
@requires(OPERATE)
def change_rule(request: HttpRequest, rule_id: int) -> HttpResponse:
    """Try a rule on the stored images, send what it selects, or remove it."""
    rule = get_object_or_404(Rule, pk=min(rule_id, 2**62))
    action = request.POST.get("action")
    if action == "try":
        found = preview_rule(rule)
        text = _("Rule %(rule)d: %(selected)d stored images match; %(delivered)d of them are sent or queued already.")
        messages.info(request, text % {"rule": rule.pk, "selected": found.selected, "delivered": found.delivered})
    elif action == "send":
        count = send_stored(rule, actor_of(request))
        messages.success(request, _("Rule %(rule)d: %(count)d images queued.") % {"rule": rule.pk, "count": count})
    elif action == "remove":
        remove_rule(rule, actor_of(request))
        messages.success(request, _("The rule is removed; its deliveries continue."))
    return redirect("deliveries")


@require_POST
@requires(OPERATE)
def change_destination(request: HttpRequest, destination_id: int) -> HttpResponse:
    """Pause, resume or remove a destination."""
    destination = get_object_or_404(Destination, pk=min(destination_id, 2**62))
    if request.POST.get("action") == "remove":
        remove_destination(destination, actor_of(request))
        messages.success(request, _("The destination is removed, with its rules and deliveries."))
    else:
        destination.enabled = request.POST.get("action") == "resume"
        save_destination(destination, actor_of(request))
    return redirect("deliveries")


@require_POST
@requires(OPERATE)
def resend_delivery(request: HttpRequest, delivery_id: int) -> HttpResponse:
    """Send an image again."""
    resend(get_object_or_404(Delivery, pk=min(delivery_id, 2**62)), actor_of(request))
    messages.success(request, _("Queued again."))
    return redirect("deliveries")
