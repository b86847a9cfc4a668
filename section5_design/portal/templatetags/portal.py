"""Template filters and tags of the portal."""

from datetime import UTC, datetime

from django import template
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from portal import details, labels

register = template.Library()


def _time(value: datetime | None, attributes: str, form: str) -> SafeString:
    if value is None:
        return SafeString("")
    value = value.astimezone(UTC)
    shown = value.strftime(form)
    return format_html('<time datetime="{}"{}>{} UTC</time>', value.isoformat(), SafeString(attributes), shown)


@register.filter
def moment(value: datetime | None) -> SafeString:
    """Format a time in UTC, to the minute; the script converts it to the reader's time zone."""
    return _time(value, "", "%Y-%m-%d %H:%M")


@register.filter
def exact(value: datetime | None) -> SafeString:
    """Format a time in UTC, to the second."""
    return _time(value, " data-exact", "%Y-%m-%d %H:%M:%S")


@register.filter
def da(text: str) -> str:
    """Format a DICOM date (PS3.5, 6.2: DA) as ISO 8601; return anything else unchanged."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdecimal() else text


@register.filter
def tm(text: str) -> str:
    """Format a DICOM time (PS3.5, 6.2: TM) as hours and minutes; return anything else unchanged."""
    return f"{text[:2]}:{text[2:4]}" if len(text) >= 4 and text[:4].isdecimal() else text


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
    """Format a number in the reader's language."""
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, float) and not value.is_integer():
        if abs(value) < 1:
            return number_format(f"{value:.4g}") if "e" not in f"{value:.4g}" else f"{value:.4g}"
        return number_format(round(value, 2), 2, use_l10n=True, force_grouping=True)
    if isinstance(value, int | float):
        return number_format(int(value), use_l10n=True, force_grouping=True)
    return str(value)


@register.filter
def label(name: str, of: str) -> str:
    """Return the label of a name: of a state, event, delivery, file, worker, queue, job, role, figure or analysis."""
    tables = {
        "state": labels.STATES,
        "event": labels.EVENTS,
        "delivery": labels.DELIVERY_STATES,
        "file": labels.FILE_STATES,
        "worker": labels.WORKER_STATES,
        "queue": labels.QUEUES,
        "job": labels.JOBS,
        "role": labels.ROLES,
        "figure": labels.FIGURES,
        "analysis": labels.ANALYSES,
    }
    return ", ".join(str(tables[of].get(part, part)) for part in (name.split(",") if of == "queue" else [name]))


@register.filter
def reason(text: str) -> str:
    """Translate the reason of a refusal or failure."""
    return labels.translate_reason(text)


@register.filter
def detail(text: str, kind: str) -> str:
    """Describe the detail of an audit event in plain words."""
    return details.describe_detail(kind, text)


@register.filter
def person(actor: str) -> str:
    """Return an actor of the audit log as people call them: the name of a person, else as it is logged."""
    return actor.removeprefix("user:")


@register.simple_tag
def querystring_of(values: dict[str, str]) -> str:
    """Return a query string of values."""
    return f"?{urlencode(values)}" if values else "?"


@register.simple_tag
def role_needed(role: str) -> str:
    """Say which role a page needs, if the view named it."""
    if role in labels.ROLES:
        text = gettext("This needs the role “%(role)s”. Ask an administrator for it.")
        return text % {"role": labels.ROLES[role]}
    return gettext("Your account may not do this. Ask an administrator.")


@register.inclusion_tag("portal/state.html")
def progress(counts: dict[str, int]) -> dict[str, object]:
    """Show how many images are in each state."""
    found = [
        (state, counts[state], labels.count_label(state, counts[state])) for state in labels.STATES if counts.get(state)
    ]
    return {"counts": found}
