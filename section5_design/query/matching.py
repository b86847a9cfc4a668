"""Match attributes as PS3.4, C.2.2.2 says: single value, list, wildcard and range; an empty key matches everything."""

import re
from collections.abc import Mapping
from typing import Any

from django.db.models import CharField, F, JSONField, Lookup, Q
from django.db.models.functions import Collate
from django.db.models.lookups import GreaterThanOrEqual, LessThanOrEqual

from ingest.header import is_uid, strip_delimiters
from query.attributes import vr_of
from query.errors import InvalidRequestError

MAX_KEY_LENGTH, MAX_LIST_LENGTH = 324, 100_000  # characters: a name; a list of UIDs
DATE, TIME = re.compile(r"[0-9]{8}\Z"), re.compile(r"[0-9]{2}([0-9]{2}([0-9]{2}(\.[0-9]{1,6})?)?)?\Z")
NUMBER = re.compile(r"[+-]?[0-9]{1,9}\Z")


@CharField.register_lookup
class Like(Lookup):
    """SQL's LIKE, with the pattern as it is."""

    lookup_name = "like"
    operator = "LIKE"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """Return the condition."""
        left, left_parameters = self.process_lhs(compiler, connection)
        right, right_parameters = self.process_rhs(compiler, connection)
        return f"{left} {self.operator} {right}", [*left_parameters, *right_parameters]


@CharField.register_lookup
class CaseInsensitiveLike(Like):
    """PostgreSQL's ILIKE."""

    lookup_name = "ilike"
    operator = "ILIKE"


@JSONField.register_lookup
class HasItem(Lookup):
    """An item of a JSON array of which each of some values matches its pattern (PS3.4, C.2.2.2.6)."""

    lookup_name = "has_item"
    prepare_rhs = False

    def get_db_prep_lookup(self, value: Any, connection: Any) -> tuple[str, list[Any]]:  # noqa: ARG002
        """Return the keys and patterns as they are."""
        return "", [text for pair in value.items() for text in pair]

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """Return the condition."""
        left, left_parameters = self.process_lhs(compiler, connection)
        _, parameters = self.process_rhs(compiler, connection)
        each = " AND ".join(["item ->> %s LIKE %s"] * (len(parameters) // 2))
        return f"EXISTS (SELECT FROM jsonb_array_elements({left}) AS item WHERE {each})", [
            *left_parameters,
            *parameters,
        ]


def match_item(path: str, keys: Mapping[str, str]) -> Q:
    """Build the condition that an item of a column has what keys say, by the keyword of its value.

    Raises:
        InvalidRequestError: a key is too long, or contains a NUL.

    """
    patterns = {name: text.strip() for name, text in keys.items() if text.strip() not in ("", "*")}
    if any(len(text) > MAX_KEY_LENGTH or "\0" in text for text in patterns.values()):
        raise InvalidRequestError("a value is too long, or contains a NUL")
    return Q(**{f"{path}__has_item": {name: like(text) for name, text in patterns.items()}}) if patterns else Q()


def like(pattern: str) -> str:
    """Return the pattern of SQL for one with the wildcards * and ?."""
    escaped = re.sub(r"([\\%_])", r"\\\1", re.sub(r"\*+", "*", pattern))
    return escaped.replace("*", "%").replace("?", "_")


def match(keyword: str, path: str, text: str) -> Q:
    """Build the condition for one key.

    Args:
        keyword: the attribute.
        path: its column.
        text: the key's value; empty matches everything.

    Raises:
        InvalidRequestError: the value does not fit the attribute.

    """
    text, vr = text.strip(), vr_of(keyword)
    if not text or text == "*":
        return Q()
    if len(text) > (MAX_LIST_LENGTH if vr == "UI" else MAX_KEY_LENGTH) or "\0" in text:
        raise InvalidRequestError(f"{keyword}: the value is too long, or contains a NUL")
    if vr in ("DA", "TM"):
        return match_range(keyword, path, text, DATE if vr == "DA" else TIME)
    if vr == "UI":
        return Q(**{f"{path}__in": parse_uids(keyword, text)})
    if vr in ("IS", "US"):
        if not NUMBER.match(text) or int(text) >= 2**31:
            raise InvalidRequestError(f"{keyword}: not an integer")
        return Q(**{path: int(text)})
    if vr == "CS":
        return match_any(path, re.split(r"[,\\]", text), "like")
    if vr == "PN":
        return match_any(path, component_groups(strip_delimiters(text)), "ilike")
    return match_any(path, [text], "like")


def parse_uids(keyword: str, text: str) -> list[str]:
    """Parse a list of UIDs, separated by commas (PS3.18) or backslashes (PS3.4)."""
    uids = re.split(r"[,\\]", text)
    if not all(map(is_uid, uids)):
        raise InvalidRequestError(f"{keyword}: not a UID")
    return uids


def match_range(keyword: str, path: str, text: str, form: re.Pattern[str]) -> Q:
    """Match a date or a time: one value, or a range with one or two ends."""
    low, dash, high = text.partition("-")
    if not (low or high) or any(end and not form.match(end) for end in (low, high)):
        raise InvalidRequestError(f"{keyword}: not a value such as 20260131 or 1030, or a range of them")
    if not dash:
        return Q(**{f"{path}__startswith": low})  # a time is as precise as the key
    if low and high and low > high:
        raise InvalidRequestError(f"{keyword}: the range ends before it begins")
    column = Collate(F(path), "C")
    found = Q(GreaterThanOrEqual(column, low or "0"))
    return found & Q(LessThanOrEqual(column, f"{high}~")) if high else found


def match_any(path: str, patterns: list[str], lookup: str) -> Q:
    """Match any of some values, which may contain the wildcards * and ?."""
    found = Q()
    for pattern in patterns:
        if lookup == "like" and not re.search(r"[*?]", pattern):
            found |= Q(**{path: pattern})
        else:
            found |= Q(**{f"{path}__{lookup}": like(pattern)})
    return found


def component_groups(name: str) -> list[str]:
    """Return patterns that find a name in its component groups (PS3.5, 6.2.1): the first one, if it is ASCII."""
    return [name, f"{name}=*"] + ([] if name.isascii() else [f"*={name}", f"*={name}=*"])
