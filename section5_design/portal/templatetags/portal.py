"""What the templates say in the same way everywhere."""

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

register = template.Library()


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
def pn(text: str) -> str:
    """A person's name (PS3.5, 6.2: PN) as people write it: the family name, and then the others."""
    family, _, others = text.partition("=")[0].partition("^")
    return ", ".join(filter(None, (family.strip(), " ".join(others.replace("^", " ").split())))) or gettext(
        "without a name"
    )


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
        return gettext("yes") if value else gettext("no")
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.2f}"
    return f"{int(value):,}" if isinstance(value, int | float) else str(value)


@register.filter
def label(name: str) -> str:
    """What a figure is called, with its unit."""
    return {
        "average_before_normalization": gettext("Average (stored values)"),
        "average_after_normalization": gettext("Average, normalised to 0 to 1"),
        "data_size": gettext("Values (pixels times samples)"),
        "minimum": gettext("Minimum (stored value)"),
        "maximum": gettext("Maximum (stored value)"),
        "standard_deviation": gettext("Standard deviation (stored values)"),
        "number_of_frames": gettext("Frames"),
        "pixel_data": gettext("Has pixels"),
    }.get(name, name)


@register.inclusion_tag("portal/progress.html")
def progress(counts: dict[str, int]) -> dict[str, object]:
    """States as words with counts, and how far all is."""
    all_ = sum(counts.values())
    ended = counts.get("done", 0) + counts.get("quarantined", 0)
    return {"counts": counts, "all": all_, "ended": ended}
