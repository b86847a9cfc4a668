"""What the templates say in the same way everywhere."""

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

register = template.Library()

ORDER = {"queued": 0, "running": 1, "done": 2, "quarantined": 3}


@register.filter
def moment(value: datetime | None) -> SafeString:
    """A time, which the script puts into the reader's zone; without a script it is in UTC, and says so."""
    if value is None:
        return SafeString("")
    value = value.astimezone(UTC)
    return format_html('<time datetime="{}">{} UTC</time>', value.isoformat(), value.strftime("%Y-%m-%d %H:%M:%S"))


@register.filter
def da(text: str) -> str:
    """A DICOM date (PS3.5, 6.2: DA) as ISO 8601; what is none stays as it is."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdecimal() else text


@register.filter
def get(values: dict[str, int], name: str) -> int:
    """A count, or 0."""
    return values.get(name, 0)


@register.filter
def total(values: dict[str, int]) -> int:
    """All counts together."""
    return sum(values.values())


@register.filter
def figure(value: object) -> str:
    """A number as people read it."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


@register.filter
def label(name: str) -> str:
    """What a figure is called, with its unit."""
    return {
        "average_before_normalization": _("Average (stored values)"),
        "average_after_normalization": _("Average, normalised to 0 to 1"),
        "data_size": _("Values (pixels times samples)"),
        "minimum": _("Minimum (stored value)"),
        "maximum": _("Maximum (stored value)"),
        "standard_deviation": _("Standard deviation (stored values)"),
        "number_of_frames": _("Frames"),
        "pixel_data": _("Has pixels"),
    }.get(name, name)


@register.inclusion_tag("portal/progress.html")
def progress(counts: dict[str, int]) -> dict[str, object]:
    """States as words with counts, and how far all is."""
    all_ = sum(counts.values())
    ended = counts.get("done", 0) + counts.get("quarantined", 0)
    return {"counts": counts, "all": all_, "ended": ended}
