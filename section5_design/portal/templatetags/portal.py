"""Template filters and tags of the portal."""

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

register = template.Library()


@register.filter
def moment(value: datetime | None) -> SafeString:
    """Format a time in UTC; the script converts it to the reader's time zone."""
    if value is None:
        return SafeString("")
    value = value.astimezone(UTC)
    return format_html('<time datetime="{}">{} UTC</time>', value.isoformat(), value.strftime("%Y-%m-%d %H:%M:%S"))


@register.filter
def da(text: str) -> str:
    """Format a DICOM date (PS3.5, 6.2: DA) as ISO 8601; return anything else unchanged."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdecimal() else text


@register.filter
def pn(text: str) -> str:
    """Format a person's name (PS3.5, 6.2: PN): the family name first."""
    family, _, others = text.partition("=")[0].partition("^")
    return ", ".join(filter(None, (family.strip(), " ".join(others.replace("^", " ").split())))) or gettext("No name")


@register.filter
def get(values: dict[str, int], name: str) -> int:
    """Return a count, or 0."""
    return values.get(name, 0)


@register.filter
def total(values: dict[str, int]) -> int:
    """Return the sum of all counts."""
    return sum(values.values())


@register.filter
def figure(value: object) -> str:
    """Format a number."""
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.2f}"
    return f"{int(value):,}" if isinstance(value, int | float) else str(value)


@register.filter
def label(name: str) -> str:
    """Return the label of a figure, with its unit."""
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
    """Show states with counts, and the overall progress."""
    all_ = sum(counts.values())
    ended = counts.get("done", 0) + counts.get("quarantined", 0)
    return {"counts": counts, "all": all_, "ended": ended}
