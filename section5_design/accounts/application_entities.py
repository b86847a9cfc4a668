"""Which DICOM application entities may send, by AE title and address."""

import ipaddress
import time
from functools import lru_cache

from django.conf import settings

from accounts.models import ApplicationEntity

CACHE_SECONDS = 5.0


def may_send(title: str, address: str) -> bool:
    """Return whether an entity may associate; on a private machine anybody may until the first entity is added."""
    known = load_entities(int(time.monotonic() / CACHE_SECONDS))
    if not known:
        return not settings.IS_PUBLIC
    origin = ipaddress.ip_address(address.split("%")[0])
    origin = getattr(origin, "ipv4_mapped", None) or origin
    return any(title == entity and origin in network for entity, network in known)


@lru_cache(maxsize=1)
def load_entities(_: int) -> list[tuple[str, ipaddress.IPv4Network | ipaddress.IPv6Network]]:
    """Load AE titles with their networks; cached for a few seconds."""
    return [(entity.title, ipaddress.ip_network(entity.network)) for entity in ApplicationEntity.objects.all()]
