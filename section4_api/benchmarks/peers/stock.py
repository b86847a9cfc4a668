"""Stock Django REST framework: a ModelSerializer, a ModelViewSet, pages of 100."""

import os

import table

table.configure("stock", ["rest_framework"], keep_connections=os.environ.get("KEEP_CONNECTIONS") == "1")

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import models  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.utils import timezone  # noqa: E402
from rest_framework import pagination, routers, serializers, viewsets  # noqa: E402


class Element(models.Model):
    id = models.CharField(primary_key=True, max_length=64)
    device_name = models.CharField(max_length=200)
    average_before_normalization = models.FloatField()
    average_after_normalization = models.FloatField()
    data_size = models.IntegerField()
    raw_data = models.JSONField()
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        app_label = "stock"
        db_table = "elements_element"
        managed = False


class ElementSerializer(serializers.ModelSerializer):
    data = serializers.ListField(child=serializers.CharField(), write_only=True)
    deviceName = serializers.CharField(source="device_name", write_only=True)  # noqa: N815

    class Meta:
        model = Element
        fields = [*table.WITHOUT_DATA, "data", "deviceName"]
        read_only_fields = [name for name in table.WITHOUT_DATA if name != "id"]

    def create(self, validated_data):  # type: ignore[no-untyped-def]
        rows = validated_data.pop("data")
        before, after, size = table.computed(rows)
        return Element.objects.create(
            **validated_data,
            raw_data=rows,
            average_before_normalization=before,
            average_after_normalization=after,
            data_size=size,
        )


class Pages(pagination.CursorPagination):
    page_size = 100
    ordering = "id"


class ElementViewSet(viewsets.ModelViewSet):
    queryset = Element.objects.defer("raw_data")
    serializer_class = ElementSerializer
    pagination_class = Pages

    def get_serializer(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        data = kwargs.get("data")
        if isinstance(data, dict) and data and all(isinstance(value, dict) for value in data.values()):
            kwargs |= {"data": list(data.values()), "many": True}
        return super().get_serializer(*args, **kwargs)


router = routers.DefaultRouter()
router.register("elements", ElementViewSet)
urlpatterns = [path("api/", include(router.urls))]
application = get_wsgi_application()
