"""django-ninja, with persistent connections and bulk_create."""

import table

table.configure("ninja_app", [], keep_connections=True)

from datetime import datetime  # noqa: E402

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import models  # noqa: E402
from django.shortcuts import get_object_or_404  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils import timezone  # noqa: E402
from ninja import NinjaAPI, Schema  # noqa: E402


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
        app_label = "ninja_app"
        db_table = "elements_element"
        managed = False


class Summary(Schema):
    id: str
    device_name: str
    average_before_normalization: float
    average_after_normalization: float
    data_size: int
    created_at: datetime
    updated_at: datetime


class Whole(Summary):
    raw_data: list[str]


class New(Schema):
    id: str
    data: list[str]
    deviceName: str  # noqa: N815


def made(new: New) -> Element:
    before, after, size = table.computed(new.data)
    return Element(
        id=new.id,
        device_name=new.deviceName,
        raw_data=new.data,
        average_before_normalization=before,
        average_after_normalization=after,
        data_size=size,
    )


api = NinjaAPI()


@api.get("/elements/", response=list[Summary])
def listed(request, after: str = ""):  # type: ignore[no-untyped-def]
    return list(Element.objects.defer("raw_data").filter(id__gt=after).order_by("id")[:100])


@api.get("/elements/{id_}/", response=Whole)
def one(request, id_: str):  # type: ignore[no-untyped-def]
    return get_object_or_404(Element, pk=id_)


@api.post("/elements/", response={201: list[Summary]})
def create(request, body: dict[str, New] | New):  # type: ignore[no-untyped-def]
    elements = [made(new) for new in (body.values() if isinstance(body, dict) else [body])]
    return 201, Element.objects.bulk_create(elements)


urlpatterns = [path("api/", api.urls)]
application = get_wsgi_application()
