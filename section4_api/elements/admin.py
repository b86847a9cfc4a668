"""The admin site: elements to look at and to remove, a device to rename."""

from typing import ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from elements.models import Element

COUNTED = 10_000


class ShortCount(Paginator):
    """Pages over the first ten thousand hits; who has more searches. A count of them all takes long."""

    @cached_property
    def count(self) -> int:
        """How many hits there are, up to ten thousand."""
        hits: QuerySet[Element] = self.object_list
        return hits.order_by()[:COUNTED].count()


@admin.register(Element)
class ElementAdmin(admin.ModelAdmin):
    """Everything is computed from the data, so only the device's name can be changed here; the API also renames ids."""

    list_display = ("id", "device_name", "data_size", "average_before_normalization", "created_at")
    search_fields = ("id__startswith", "device_name__exact")
    search_help_text = "the beginning of an id, or the whole name of a device"
    paginator = ShortCount
    show_full_result_count = False
    list_per_page = 100
    readonly_fields: ClassVar = [field.name for field in Element._meta.fields if field.name != "device_name"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Element]:
        """Without the data, of which there may be much."""
        elements = super().get_queryset(request)
        one = request.resolver_match and "object_id" in request.resolver_match.kwargs
        return elements if one else elements.defer("raw_data")

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """New elements come by the API, which computes what they need."""
        return False
