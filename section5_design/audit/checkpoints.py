"""Signed checkpoints of the audit chain, one a month: verification starts at one, and old months can be dropped.

The checkpoint of a month states the newest link after all of the month's events were linked. Its signature is made with
the key that is not in the database. A month that a site no longer keeps is dropped with `manage.py audit drop`, which
is an audit event itself; verification then starts at the month's checkpoint.
"""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from django.db import connection, transaction

from audit.events import record_event
from audit.signing import signing_key, verifying_keys

GRACE = timedelta(hours=1)  # after a month's end, for transactions that were still open


class Checkpoint(NamedTuple):
    """The newest link when a month was complete."""

    month: date  # its first day
    seq: int
    hash: bytes
    signature: bytes

    def is_signed(self) -> bool:
        """Return whether this system's key signed it."""
        for key in verifying_keys():
            try:
                key.verify(self.signature, statement(self.month, self.seq, self.hash))
            except InvalidSignature:
                continue
            return True
        return False


class DropError(Exception):
    """The month cannot be dropped; the message says why."""


def statement(month: date, seq: int, hash_: bytes) -> bytes:
    """Return what a checkpoint's signature covers."""
    return f"checkpoint {month:%Y-%m} {seq} {hash_.hex()}".encode()


def load_checkpoints() -> list[Checkpoint]:
    """Return all checkpoints, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT month, seq, hash, signature FROM audit_checkpoint ORDER BY month")
        return [Checkpoint(row[0], row[1], bytes(row[2]), bytes(row[3])) for row in cursor.fetchall()]


def first_of_month(moment: datetime) -> date:
    """Return the first day of a moment's month, in UTC."""
    return moment.astimezone(UTC).date().replace(day=1)


def make_checkpoint(now: datetime | None = None) -> bool:
    """Write the checkpoint of the last month if it is missing and all of its events are linked; whether it was."""
    now = now or datetime.now(UTC)
    this_month = first_of_month(now)
    month = first_of_month(datetime(this_month.year, this_month.month, 1, tzinfo=UTC) - timedelta(days=1))
    if first_of_month(now - GRACE) != this_month:
        return False
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM audit_checkpoint WHERE month >= %s)", (month,))
        if cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT seq, hash FROM audit_link ORDER BY seq DESC LIMIT 1")
        row = cursor.fetchone()
        cursor.execute(
            "SELECT EXISTS (SELECT FROM audit_event AS event WHERE at >= %s AND at < %s"
            " AND NOT EXISTS (SELECT FROM audit_link WHERE event_id = event.id))",
            (month, this_month),
        )
        if row is None or cursor.fetchone()[0]:
            return False
        signature = signing_key().sign(statement(month, row[0], bytes(row[1])))
        cursor.execute(
            "INSERT INTO audit_checkpoint (month, seq, hash, signature) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (month, row[0], bytes(row[1]), signature),
        )
    return True


def dropped_months() -> set[date]:
    """Return the months that were dropped, by the audit events that say so."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT detail FROM audit_event WHERE kind = 'audit dropped'")
        return {datetime.strptime(detail, "%Y-%m").replace(tzinfo=UTC).date() for (detail,) in cursor.fetchall()}


def drop_month(month: date, actor: str) -> None:
    """Drop the events of a month.

    Raises:
        DropError: it has no valid checkpoint, or an event of it was linked after the checkpoint.

    """
    table = f"audit_event_{month:%Y%m}"
    checkpoint = next((one for one in load_checkpoints() if one.month == month), None)
    if checkpoint is None or not checkpoint.is_signed():
        raise DropError(f"{month:%Y-%m} has no valid checkpoint; the audit chainer writes it when the month is over")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NULL", (table,))
        if cursor.fetchone()[0]:
            raise DropError(f"{month:%Y-%m} has no events")
        cursor.execute(
            f"SELECT EXISTS (SELECT FROM {table} LEFT JOIN audit_link ON event_id = id"  # noqa: S608  # digits
            " WHERE seq IS NULL OR seq > %s)",
            (checkpoint.seq,),
        )
        if cursor.fetchone()[0]:
            raise DropError(f"an event of {month:%Y-%m} was linked after the month's checkpoint")
        record_event("audit dropped", actor, f"{month:%Y-%m}", cursor=cursor)
        cursor.execute(f"DROP TABLE {table}")
