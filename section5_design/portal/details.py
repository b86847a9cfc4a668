"""Say the details of audit events in plain words, in the reader's language; the log has them in English, in short."""

import re
from functools import cache

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop

from portal import labels

# By kind of event: a detail as the log has it, {} for a value, and its plain words with the values by number.
DETAILS: dict[str, tuple[tuple[str, str], ...]] = {
    "received": (
        ("new", gettext_noop("stored")),
        ("duplicate", gettext_noop("was stored already")),
        ("conflict", gettext_noop("stored beside other content with the same UID")),
    ),
    "viewed": (("attributes", gettext_noop("its attributes")),),
    "exported": (
        ("dcm", gettext_noop("DICOM file")),
        ("dicom", gettext_noop("DICOM file")),
        ("json", gettext_noop("results as JSON")),
        ("csv", gettext_noop("results as CSV")),
        ("png", gettext_noop("picture")),
        ("picture", gettext_noop("picture")),
        ("preview", gettext_noop("picture")),
        ("mask", gettext_noop("mask")),
        ("zip", gettext_noop("all files as ZIP")),
    ),
    "retrieved": (
        ("{} instances to {}", gettext_noop("{0} images, sent to {1}")),
        ("{} instances", gettext_noop("{0} images")),
    ),
    "queried": (
        ("C-FIND, {}: {} rows", gettext_noop("C-FIND at the level {0}, {1} found")),
        ("{}: {} rows", gettext_noop("at {0}, {1} found")),
    ),
    "committed": (("{}: {} stored, {} failed", gettext_noop("transaction {0}: {1} stored, {2} failed")),),
    "sent": (("to {}", gettext_noop("to {0}")),),
    "delivered": (("to {}", gettext_noop("to {0}")),),
    "requeued": (("to {}", gettext_noop("to {0}")),),
    "shared": (("with {}", gettext_noop("with the team {0}")),),
    "unshared": (("with {}", gettext_noop("with the team {0}")),),
    "labelled": (("added {}", gettext_noop("added: {0}")), ("removed {}", gettext_noop("removed: {0}"))),
    "run again": (("{} {} on {} studies", gettext_noop("{0} {1}, studies: {2}")),),
    "destination": (
        ("{} stored instances by rule {}: {}", gettext_noop("{0} stored images sent by rule {1}: {2}")),
        ("rule {} removed: {}", gettext_noop("rule {0} removed: {1}")),
        ("rule {}: {} (disabled)", gettext_noop("rule {0} disabled: {1}")),
        ("rule {}: {}", gettext_noop("rule {0}: {1}")),
        ("{} removed", gettext_noop("{0} removed")),
        ("{} is {}", gettext_noop("{0} is at {1}")),
    ),
    "rule": (
        ("{} -> {}", gettext_noop("{0} to {1}")),
        ("{} on {}", gettext_noop("{0}, of studies with {1}")),
        ("{} with SOP class {}", gettext_noop("{0}, SOP class {1}")),
        ("{} with modality {}", gettext_noop("{0}, modality {1}")),
        ("results of {}", gettext_noop("results of {0}")),
        ("received images", gettext_noop("received images")),
    ),
    "application entity": (
        (
            "{} may send from {}, and reads for {}",
            gettext_noop("{0} may send from {1}, and read what the team {2} sees"),
        ),
        ("{} may send from {}", gettext_noop("{0} may send from {1}")),
        ("{} may no longer send", gettext_noop("{0} may no longer send")),
    ),
    "rejected": (("unknown AE title or address", gettext_noop("unknown AE title or address")),),
    "keys": (("{} keys wrapped under another master key", gettext_noop("{0} keys wrapped under another master key")),),
    "token": (
        ("token of {} created for {}", gettext_noop("token {0} created for the team {1}")),
        ("token of {} created", gettext_noop("token {0} created")),
        ("token of {} revoked", gettext_noop("token {0} revoked")),
    ),
    "accounts": (
        ("added team {}", gettext_noop("team {0} added")),
        ("added {}: {}", gettext_noop("{0} added: {1}")),
        ("changed {}: {}; deactivated", gettext_noop("{0} changed and deactivated: {1}")),
        ("changed {}: {}", gettext_noop("{0} changed: {1}")),
        ("reset the password of {}", gettext_noop("password of {0} reset")),
    ),
    "groups": (
        ("{}, {}", gettext_noop("{0}, {1}")),
        ("role {}", gettext_noop("role {0}")),
        ("team {}", gettext_noop("team {0}")),
        ("no role", gettext_noop("no role")),
    ),
    "erased": (("{} images; {}", gettext_noop("{0} images; reason: {1}")),),
}
NESTED = {"destination": "rule", "accounts": "groups", "rule": "rule", "groups": "groups"}  # the kind of its values
FILTERS: dict[str, Promise] = {  # of searches in studies and in the audit log
    "patient": gettext_lazy("patient"),
    "accession": gettext_lazy("accession number"),
    "description": gettext_lazy("description"),
    "modality": gettext_lazy("modality"),
    "from": gettext_lazy("from"),
    "to": gettext_lazy("until"),
    "received": gettext_lazy("date of receipt"),
    "state": gettext_lazy("state"),
    "label": gettext_lazy("label"),
    "sender": gettext_lazy("sender"),
    "actor": gettext_lazy("person or program"),
    "kind": gettext_lazy("event"),
    "uid": gettext_lazy("UID"),
}


def describe_detail(kind: str, detail: str) -> str:
    """Describe the detail of an event; one that is unknown stays as the log has it."""
    for pattern, text in compile_patterns(kind):
        if match := pattern.fullmatch(detail):
            nested = NESTED.get(kind)
            values = [describe_detail(nested, value) if nested else value for value in match.groups()]
            return _(text).format(*values)
    if kind == "queried":
        return describe_filters(_("by"), detail.removeprefix("by "))
    if kind == "audit":
        action, _space, filters = detail.partition(" ")
        return describe_filters(_("exported") if action == "exported" else _("read"), filters)
    if kind in ("groups", "rule"):
        return str(labels.ROLES.get(detail, detail))
    return labels.translate_reason(detail)


@cache
def compile_patterns(kind: str) -> list[tuple[re.Pattern[str], str]]:
    """Compile the patterns of a kind of event."""
    return [(re.compile(re.escape(text).replace(r"\{\}", "(.+)")), words) for text, words in DETAILS.get(kind, ())]


def describe_filters(verb: str, text: str) -> str:
    """Describe the filters of a search: names, some with a value."""
    parts = [part.partition(" ") for part in text.split(", ") if part]
    names = [f"{FILTERS.get(name, name)}{space}{labels.EVENTS.get(value, value)}" for name, space, value in parts]
    return f"{verb}: {', '.join(names)}" if names else verb
