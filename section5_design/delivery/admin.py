"""Destinations, rules and deliveries in Django's admin; saving goes through the services, which write audit events."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest

from delivery.models import Delivery, Destination, Rule
from delivery.services import (
    list_deliveries,
    preview_rule,
    remove_rule,
    resend,
    save_destination,
    save_rule,
    send_stored,
)


def name_of(request: HttpRequest) -> str:
    """Return the actor, for the audit log."""
    return f"user:{request.user.get_username()}"


class DestinationForm(forms.ModelForm):
    """A destination, with a token that is written and never shown."""

    token = forms.CharField(required=False, widget=forms.PasswordInput, help_text="Bearer token of a STOW-RS service")

    class Meta:
        """Everything but the encrypted secret."""

        model = Destination
        exclude = ("secret",)


@admin.register(Destination)
class DestinationAdmin(admin.ModelAdmin):
    """Destinations."""

    form = DestinationForm
    list_display = ("name", "kind", "address", "enabled", "failures", "paused_until")
    actions = None

    def save_model(self, request: HttpRequest, obj: Destination, form: Any, change: bool) -> None:  # noqa: ARG002
        """Save a destination, and show the key of a new webhook once."""
        if key := save_destination(obj, name_of(request), form.cleaned_data["token"]):
            messages.info(request, f"The key of its signatures, shown once: {key}")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Return False: a destination is disabled, or removed with its deliveries by `manage.py delivery remove`."""
        return False


@admin.register(Rule)
class RuleAdmin(admin.ModelAdmin):
    """Rules; their actions are a dry run, and sending what is stored."""

    list_display = ("__str__", "enabled")
    actions = ("dry_run", "send")

    def save_model(self, request: HttpRequest, obj: Rule, form: Any, change: bool) -> None:  # noqa: ARG002
        """Save a rule."""
        save_rule(obj, name_of(request))

    def delete_model(self, request: HttpRequest, obj: Rule) -> None:
        """Remove a rule."""
        remove_rule(obj, name_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Remove rules."""
        for rule in queryset:
            remove_rule(rule, name_of(request))

    @admin.action(description="Dry run: count what is stored")
    def dry_run(self, request: HttpRequest, queryset: Any) -> None:
        """Show what each rule would send."""
        for rule in queryset:
            found = preview_rule(rule)
            messages.info(request, f"{rule}: {found.selected:,} stored, {found.delivered:,} of them sent or queued")

    @admin.action(description="Send what is stored")
    def send(self, request: HttpRequest, queryset: Any) -> None:
        """Send what is stored by each rule."""
        for rule in queryset:
            messages.info(request, f"{rule}: {send_stored(rule, name_of(request)):,} queued")


@admin.register(Delivery)
class DeliveryAdmin(admin.ModelAdmin):
    """Deliveries; the action is to send them again."""

    list_display = ("instance", "destination", "state", "reason", "attempts", "delivered_at")
    list_filter = ("destination",)
    actions = ("send_again",)

    def get_queryset(self, request: HttpRequest) -> Any:  # noqa: ARG002
        """Return deliveries with the state of their jobs."""
        return list_deliveries()

    def state(self, delivery: Any) -> str:
        """Return the state of the job."""
        return str(delivery.state)

    def reason(self, delivery: Any) -> str:
        """Return the reason of the last failure."""
        return str(delivery.reason)

    def attempts(self, delivery: Any) -> str:
        """Return the number of attempts."""
        return str(delivery.attempts)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Return False: rules create deliveries."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Return False: a delivery changes by its job."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Return False: deliveries go with their instance or destination."""
        return False

    @admin.action(description="Send again", permissions=["view"])
    def send_again(self, request: HttpRequest, queryset: Any) -> None:
        """Send deliveries again."""
        for delivery in queryset:
            resend(delivery, name_of(request))
        messages.info(request, f"{len(queryset):,} queued")
