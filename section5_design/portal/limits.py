"""How much one person may send in a day, so that nobody fills the archive by mistake or by a stolen password."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Sum
from django.db.models.functions import Now

from portal.models import Item

NOT_COUNTED = (Item.State.CANCELLED, Item.State.OPENED)  # of an archive its members count


class TooMuchError(Exception):
    """It would be more than a person may send in 24 hours."""


def check_limit(user: Any, size: int) -> None:
    """Look whether a person may send so many bytes more.

    Raises:
        TooMuchError: no; the message says how much there may be.

    """
    lately = Item.objects.filter(upload__user=user, created_at__gt=Now() - timedelta(days=1))
    sent = lately.exclude(state__in=NOT_COUNTED).aggregate(all=Sum("size"))["all"] or 0
    if sent + size > settings.DAILY_GB << 30:
        raise TooMuchError(f"one person may send {settings.DAILY_GB} GB in 24 hours; ask an operator")
