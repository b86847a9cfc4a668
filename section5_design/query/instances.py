"""Find the instances that the address of a resource names."""

from collections.abc import Mapping

from django.db.models import F

from accounts.readers import Reader
from archive.models import Instance
from query.attributes import IMAGE, UNIQUE_KEYS
from query.errors import InvalidRequestError, NotFoundError
from query.matching import parse_uids
from query.selectors import select


def find_instances(reader: Reader, path: Mapping[str, str]) -> list[Instance]:
    """Return the visible instances of a study, a series, or an instance, in their order.

    Raises:
        InvalidRequestError: not UIDs.
        NotFoundError: there are none.

    """
    keys = {UNIQUE_KEYS[level.upper()]: uid for level, uid in path.items() if level.upper() in UNIQUE_KEYS}
    keys |= {"SOPInstanceUID": path["instance"]} if "instance" in path else {}
    for keyword, uid in keys.items():
        if len(parse_uids(keyword, uid)) != 1:
            raise InvalidRequestError(f"{keyword}: not a UID")
    found = select(reader.instances(), IMAGE, keys).select_related("series__study")
    found = found.order_by(F("series__series_number").asc(nulls_last=True), "series", "instance_number", "pk")
    if not (instances := list(found)):
        raise NotFoundError("there is no such study, series or instance")
    return instances
