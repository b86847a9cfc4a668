"""Quotas: how much one person may send in a day, so that a mistake or a stolen password cannot fill the archive."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Sum
from django.db.models.functions import Now

from uploads.models import UploadFile

NOT_COUNTED = (UploadFile.State.CANCELLED, UploadFile.State.EXTRACTED)  # the members of an archive are counted


class QuotaExceededError(Exception):
    """The person would exceed their quota of 24 hours."""


def check_quota(user: Any, size: int) -> None:
    """Check whether a person may send this many more bytes.

    Raises:
        QuotaExceededError: they may not; the message states the quota.

    """
    recent = UploadFile.objects.filter(upload__user=user, created_at__gt=Now() - timedelta(days=1))
    sent = recent.exclude(state__in=NOT_COUNTED).aggregate(total=Sum("size"))["total"] or 0
    if sent + size > settings.UPLOAD_QUOTA_GB << 30:
        raise QuotaExceededError(f"one person may send {settings.UPLOAD_QUOTA_GB} GB in 24 hours; ask an operator")
