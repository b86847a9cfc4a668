"""Serializers: an element or a keyed map as input, a change, and the output.

The fields come from the model, so that a new model field is accepted, changed, listed and exported without a line here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.db import models
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from elements import services
from elements.exceptions import Conflict
from elements.measurements import PORTABLE_NUMBER, NumberError, measure
from elements.models import MAX_NUMBERS, Element, validate_id, validate_name
from elements.parsers import ContentTooLarge

MAX_ELEMENTS = 10_000
NOT_A_FIELD = "is not a field of an element"
EXPLAINED = dict.fromkeys(Element.COMPUTED, "is computed by the server") | {
    "device_name": "send the name as deviceName",
    "deviceName": "send the name as device_name",
    "raw_data": "send the rows as data",
}
NOT_AN_ELEMENT = 'must be an element, or a map {"1": {...}, "2": {...}} of elements'


class StringField(serializers.CharField):
    """A JSON string; Django REST framework would also accept numbers, and trim."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs | {"trim_whitespace": False})

    def to_internal_value(self, data: Any) -> str:
        """Return the string."""
        if not isinstance(data, str):
            self.fail("invalid")
        return data


@extend_schema_field(
    {
        "type": "array",
        "items": {"type": "string", "pattern": rf"^[ \t]*({PORTABLE_NUMBER}([ \t]+|$))*$"},
        "contains": {"type": "string", "pattern": "[0-9]"},
    }
)
class RowsField(serializers.ListField):
    """The rows of numbers, with what the server computes from them."""

    child = serializers.CharField()

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the model's fields for a list of rows; each number is finite and not negative."""
        if not isinstance(data, list) or not all(isinstance(row, str) for row in data):
            raise serializers.ValidationError('must be a list of strings such as ["54 26 34", "75 87 75"]')
        try:
            measurements = measure(data, MAX_NUMBERS)
        except NumberError as error:
            detail: Any = [str(error)] if error.row is None else {error.row: [str(error)]}
            raise serializers.ValidationError(detail, code="unprocessable") from None
        return measurements._asdict() | {"raw_data": data}


class ElementSerializer(serializers.ModelSerializer):
    """An element as it is stored; `fields` of the query string selects among its fields."""

    raw_data = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        """Every field of the model; read-only, so that none is required in the description."""

        model = Element
        fields = "__all__"
        read_only_fields = tuple(field.name for field in Element._meta.concrete_fields)


class StrictSerializer(serializers.ModelSerializer):
    """A model serializer for input that refuses unknown fields instead of ignoring them."""

    serializer_field_mapping: ClassVar = serializers.ModelSerializer.serializer_field_mapping | {
        models.CharField: StringField
    }

    @property
    def fields(self) -> Any:
        """Return the fields, built once per class: building them from the model takes longer than the request."""
        cls = type(self)
        if "shared_fields" not in cls.__dict__:
            cls.shared_fields = serializers.ModelSerializer.fields.func(self)
        return cls.shared_fields

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the validated fields."""
        if not isinstance(data, dict):
            raise serializers.ValidationError({"non_field_errors": [NOT_AN_ELEMENT]})
        if unknown := data.keys() - set(self.fields):
            raise serializers.ValidationError({name: [EXPLAINED.get(name, NOT_A_FIELD)] for name in sorted(unknown)})
        return super().to_internal_value(data)


class KeyedMapSerializer(serializers.ListSerializer):
    """The keyed map of section 3: `{"1": {...}, "2": {...}}`, all or nothing unless the context has `partial`."""

    def to_internal_value(self, data: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the valid elements in order; `failures` holds the errors of the others by key."""
        if len(data) > MAX_ELEMENTS:
            raise ContentTooLarge(f"the map holds {len(data):,} elements; send at most {MAX_ELEMENTS:,} at a time")
        self.failures: dict[str, Any] = {}
        self.keys: dict[str, str] = {}  # of the valid elements, by id
        elements = []
        for key, element in data.items():
            try:
                value = self.child.run_validation(element)
                if (first := self.keys.setdefault(value["id"], key)) is not key:
                    detail = {"id": [f"is also the id of the element {first}"]}
                    raise serializers.ValidationError(detail, code="unprocessable")
                elements.append(value)
            except serializers.ValidationError as error:
                self.failures[key] = error.detail
        if self.failures and not self.context.get("partial"):
            raise serializers.ValidationError(self.failures)
        return elements

    def create(self, validated_data: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Store the elements; returns the new ones by id, and adds the others to `failures`."""
        partial = self.context.get("partial", False)
        stored = services.insert_elements(validated_data, all_or_nothing=not partial)
        for id_, key in self.keys.items():
            if id_ not in stored:
                self.failures[key] = Conflict({"id": [f"{id_} is already stored"]}).detail
        if self.failures and not partial:
            raise Conflict(self.failures)
        return stored


class NewElementSerializer(StrictSerializer):
    """An element as a client sends it."""

    deviceName = StringField(  # noqa: N815  # the name of the test's files
        source="device_name", max_length=200, validators=[validate_name]
    )
    data = RowsField(source="*", write_only=True, help_text='Rows of numbers, such as ["54 26 34", "75 87 75"].')

    class Meta:
        """The fields that clients set."""

        model = Element
        exclude = ("device_name", *Element.COMPUTED)
        validators = ()  # the model has no unique_together; looking for it costs 4 % of a new element
        extra_kwargs: ClassVar = {"id": {"validators": [validate_id]}}
        list_serializer_class = KeyedMapSerializer

    def create(self, validated_data: dict[str, Any]) -> dict[str, Any]:
        """Store the element."""
        stored = services.insert_elements([validated_data], all_or_nothing=True)
        if not stored:
            raise Conflict({"id": [f"{validated_data['id']} is already stored"]})
        return stored[validated_data["id"]]


class ChangeSerializer(StrictSerializer):
    """The fields to change. A client may send back the others as they are stored, but not change them."""

    class Meta:
        """The fields that clients may change."""

        model = Element
        exclude = Element.COMPUTED
        validators = ()
        extra_kwargs: ClassVar = {
            "id": {"validators": [validate_id], "required": False},
            "device_name": {"required": False},
        }

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Return the validated fields; `expected` holds what the client sent of the others."""
        if not isinstance(data, dict) or not data:
            raise serializers.ValidationError(
                {"non_field_errors": ['name the fields to change: {"device_name": "RX 2"}']}
            )
        self.expected = {name: data[name] for name in Element.COMPUTED if name in data}
        return super().to_internal_value({name: value for name, value in data.items() if name not in self.expected})

    def check_expected(self, stored: Element) -> None:
        """Raise ValidationError where a computed field is not as stored."""
        representation = ElementSerializer(stored).data if self.expected else {}
        wrong = [
            name for name, value in self.expected.items() if value != representation[name] or isinstance(value, bool)
        ]
        if wrong:
            raise serializers.ValidationError({name: ["is computed by the server"] for name in wrong})


def is_keyed_map(document: Any) -> bool:
    """Return whether a body is a keyed map, not one element."""
    if not isinstance(document, dict) or not document:
        return False
    objects = [isinstance(value, dict) for value in document.values()]
    return all(objects) or (any(objects) and not document.keys() & {"id", "data"})
