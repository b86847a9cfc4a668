"""The admin site: look at elements, delete them, rename their device."""

from typing import ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from knox.models import AuthToken  # type: ignore[import-untyped]

from elements.models import Element

admin.site.unregister(AuthToken)  # its form would create a token and never show it; `manage.py token` does


@admin.register(Element)
class ElementAdmin(admin.ModelAdmin):
    """All but the device's name is computed from the data or changed by the API."""

    list_display = ("id", "device_name", "data_size", "average_before_normalization", "created_at")
    search_fields = ("id__startswith", "device_name__exact")
    search_help_text = "The beginning of an id, or the full name of a device"
    show_full_result_count = False
    readonly_fields: ClassVar = [field.name for field in Element._meta.fields if field.name != "device_name"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Element]:
        """Leave the data out of the list; the page of an element reads them."""
        return super().get_queryset(request).defer("raw_data")

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Refuse: the API creates elements, and computes what they need."""
        return False
