"""Labels for people: states, audit events, roles, figures, and the reasons of refusals and failures."""

import re

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, gettext_noop, ngettext

from analysis.models import AnalysisJob

STATES: dict[str, Promise] = {
    "queued": gettext_lazy("Waiting"),
    "running": gettext_lazy("Processing"),
    "done": gettext_lazy("Ready"),
    "quarantined": gettext_lazy("Quarantined"),
}
DELIVERY_STATES = STATES | {"running": gettext_lazy("Sending"), "done": gettext_lazy("Delivered")}
FILE_STATES: dict[str, Promise] = {
    "new": gettext_lazy("Accepted"),
    "duplicate": gettext_lazy("Already stored"),
    "conflict": gettext_lazy("UID conflict"),
    "refused": gettext_lazy("Refused"),
    "extracted": gettext_lazy("ZIP extracted"),
    "cancelled": gettext_lazy("Cancelled"),
    "uploading": gettext_lazy("Uploading"),
}
WORKER_STATES: dict[str, Promise] = {
    "working": gettext_lazy("Working"),
    "full": gettext_lazy("At its limit"),
    "draining": gettext_lazy("Draining"),
    "gone": gettext_lazy("Stopped"),
}
QUEUES: dict[str, Promise] = {
    "small": gettext_lazy("Small jobs"),
    "large": gettext_lazy("Large jobs"),
    "gpu": gettext_lazy("GPU jobs"),
}
JOBS: dict[str, Promise] = {
    "analysis": gettext_lazy("Analysis of an image"),
    "target": gettext_lazy("Analysis of a series or study"),
    "results": gettext_lazy("Results to DICOM"),
    "delivery": gettext_lazy("Delivery to a destination"),
}
ANALYSES: dict[str, Promise] = dict.fromkeys(("default", "analysis.default.analyse"), gettext_lazy("Default analysis"))
EVENTS: dict[str, Promise] = {
    "received": gettext_lazy("Received"),
    "committed": gettext_lazy("Storage committed"),
    "viewed": gettext_lazy("Viewed"),
    "done": gettext_lazy("Processed"),
    "retry": gettext_lazy("Attempt failed"),
    "lost": gettext_lazy("Attempt lost"),
    "quarantined": gettext_lazy("Quarantined"),
    "exported": gettext_lazy("Downloaded"),
    "retrieved": gettext_lazy("Retrieved by a program"),
    "sent": gettext_lazy("Sent to a destination"),
    "queried": gettext_lazy("Searched"),
    "erased": gettext_lazy("Erased"),
    "login": gettext_lazy("Logged in"),
    "logout": gettext_lazy("Logged out"),
    "login failed": gettext_lazy("Login failed"),
    "rejected": gettext_lazy("Connection rejected"),
    "shared": gettext_lazy("Shared"),
    "unshared": gettext_lazy("Sharing stopped"),
    "labelled": gettext_lazy("Labels changed"),
    "requeued": gettext_lazy("Requeued"),
    "run again": gettext_lazy("Analysis run again"),
    "drain": gettext_lazy("Worker drained"),
    "destination": gettext_lazy("Destination changed"),
    "delivered": gettext_lazy("Delivered"),
    "application entity": gettext_lazy("Application entity changed"),
    "keys": gettext_lazy("Keys changed"),
    "token": gettext_lazy("API token changed"),
    "accounts": gettext_lazy("Account changed"),
    "audit": gettext_lazy("Audit log read"),
    "audit dropped": gettext_lazy("Audit log pruned"),
}
ROLES: dict[str, Promise] = {
    "submitters": gettext_lazy("Submitter"),
    "readers": gettext_lazy("Reader"),
    "operators": gettext_lazy("Operator"),
    "auditors": gettext_lazy("Auditor"),
    "administrators": gettext_lazy("Administrator"),
}
FIGURES: dict[str, Promise] = {
    "average_before_normalization": gettext_lazy("Average (stored values)"),
    "average_after_normalization": gettext_lazy("Average, normalised to 0 to 1"),
    "data_size": gettext_lazy("Values (pixels times samples)"),
    "minimum": gettext_lazy("Minimum (stored value)"),
    "maximum": gettext_lazy("Maximum (stored value)"),
    "standard_deviation": gettext_lazy("Standard deviation (stored values)"),
    "number_of_frames": gettext_lazy("Frames"),
    "pixel_data": gettext_lazy("Has pixels"),
}
# Reasons as the log records them, in English; {} stands for a value.
REASONS = (
    gettext_noop("not a DICOM file (no DICM prefix at byte 128)"),
    gettext_noop("is truncated: {} bytes are missing at its end"),
    gettext_noop("is truncated inside a sequence"),
    gettext_noop("is truncated inside an element"),
    gettext_noop("contains no elements"),
    gettext_noop("its deflated elements are corrupt"),
    gettext_noop("its preamble is executable (CVE-2019-11687)"),
    gettext_noop("has sequences that are nested too deep"),
    gettext_noop("has more than {} elements"),
    gettext_noop("has more than {} elements in sequences"),
    gettext_noop("cannot be read as DICOM ({})"),
    gettext_noop("has no {}"),
    gettext_noop("invalid {}: not a UID"),
    gettext_noop("contains more than {} files"),
    gettext_noop("contains more than {} GB"),
    gettext_noop("is encrypted"),
    gettext_noop("is more than {} times as large as its compressed form"),
    gettext_noop("is corrupt inside its ZIP file"),
    gettext_noop("not a readable ZIP file"),
    gettext_noop("the disk is full"),
    gettext_noop("its pixels cannot be decoded ({})"),
    gettext_noop("its header has no rows or no columns"),
    gettext_noop("its header claims {} bytes a frame; at most {} are decoded"),
    gettext_noop("has burned-in text, which de-identification does not remove"),
    gettext_noop("the analysis failed ({})"),
    gettext_noop("its object was altered: {}"),
    gettext_noop("needs more memory than a job may use ({} MB)"),
    gettext_noop("the worker process died, or the job took longer than its lease"),
    gettext_noop("quarantined by {}"),
    gettext_noop("cannot be decoded ({})"),
    gettext_noop("belongs to another study than the request names"),
    gettext_noop("the instance was erased"),
    gettext_noop("the study was erased"),
    gettext_noop("an image was erased"),
    gettext_noop("an object was altered: {}"),
    gettext_noop("the analysis {} is not registered; see ANALYSES"),
    gettext_noop("the analysis {} did not return figures and a preview"),
    gettext_noop("the analysis {} did not return a dictionary of figures"),
    gettext_noop("the analysis {} returned figures that are not JSON: {}"),
    gettext_noop("the analysis {} returned figures with a NUL character"),
    gettext_noop("the analysis {} returned more than {} MB of figures"),
    gettext_noop("the function took more than {} seconds"),
    gettext_noop("the results cannot be DICOM objects ({})"),
    gettext_noop("the results cannot be DICOM objects: {}"),
    gettext_noop("the mask {} has the shape {}, the images {}"),
    gettext_noop("the mask {} is empty"),
    gettext_noop("the mask {} is of several frames without a frame of reference"),
    gettext_noop("the mask {} is of images with the same position"),
    gettext_noop("made DICOM files of de-identified images; they would not fit their study"),
    gettext_noop("the command wrote {}: not a regular file"),
    gettext_noop("the command wrote {}: not JSON"),
    gettext_noop("the command wrote {}: not a PNG image"),
    gettext_noop("the command wrote {}: not a NumPy array of frames, rows and columns"),
    gettext_noop("the command took more than {} seconds"),
    gettext_noop("the command needs more than {} MB of memory"),
    gettext_noop("the command started more than {} processes"),
    gettext_noop("the command wrote a file that is larger than its limit"),
    gettext_noop("the command wrote more than {} files"),
    gettext_noop("the command wrote more than {} MB"),
    gettext_noop("the command was ended by signal {}"),
    gettext_noop("the command ended with status {}"),
    gettext_noop("{} is disabled"),
    gettext_noop("{} refused the instance ({})"),
    gettext_noop("{} is out of resources ({})"),
    gettext_noop("{} answered HTTP {}"),
    gettext_noop("{} rejected the association: it may not know SECTION5, or be busy"),
    gettext_noop("{} does not accept the SOP class in the stored transfer syntax"),
    gettext_noop("{} cannot be reached, or did not answer completely ({})"),
    gettext_noop("{} cannot be reached, or does not answer"),
    gettext_noop("{} ended the association"),
    gettext_noop("{} did not answer within {} seconds"),
    gettext_noop("{} did not answer"),
)
PATTERNS = [(re.compile(re.escape(text).replace(r"\{\}", "(.+)")), text) for text in REASONS]


def label_for(job: AnalysisJob) -> str:
    """Return the label of an image's state."""
    if job.state == AnalysisJob.State.QUEUED and job.attempts:
        return _("Waiting for a retry")
    return str(STATES[job.state])


def count_label(state: str, count: int) -> str:
    """Return the label behind a count of images in a state."""
    return {
        "queued": ngettext("waiting", "waiting", count),
        "running": ngettext("processing", "processing", count),
        "done": ngettext("ready", "ready", count),
        "quarantined": ngettext("quarantined", "quarantined", count),
    }[state]


def translate_reason(reason: str) -> str:
    """Translate a reason that the log records in English; unknown ones stay as they are."""
    for pattern, text in PATTERNS:
        if match := pattern.fullmatch(reason):
            return _(text).format(*match.groups())
    return reason
