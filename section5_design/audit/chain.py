"""The hash chain of the audit log: removing or altering an event, even in the database, is detected.

A link holds SHA-256(previous link's hash, event). Many writers add events in no particular order and never wait for the
chain: the audit chainer links what has arrived since its last round. The last link of a round is signed with a key that
is not in the database (Ed25519, RFC 8032), so that nobody with write access can rebuild the chain; truncation shows
against any receipt issued since.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, date
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from django.db import connection, transaction

from audit.checkpoints import Checkpoint, dropped_months, load_checkpoints
from audit.signing import signing_key, verifying_keys

START = bytes(32)
BATCH = 5000
WINDOW = 20_000  # ids; an event that commits later than that many others is linked by `manage.py audit chain`
COLUMNS = (
    "id, at, kind, actor, address, detail, correlation_id, instance_id, study_uid, sop_class_uid, sop_instance_uid"
)
UNLINKED = f"""
    SELECT {COLUMNS} FROM audit_event AS event
    WHERE id > %(after)s AND NOT EXISTS (
        SELECT FROM audit_link WHERE event_id = event.id AND event_id > %(after)s -- or a merge join reads all links
    ) ORDER BY id LIMIT %(limit)s
"""  # noqa: S608  # names of columns
LINKED = f"""
    SELECT seq, hash, signature, event_id, {COLUMNS} FROM audit_link
    LEFT JOIN audit_event ON id = event_id WHERE seq > %s ORDER BY seq LIMIT %s
"""  # noqa: S608


def serialize_event(row: tuple[Any, ...]) -> bytes:
    """Serialize an event for hashing: a JSON array, its time in UTC to the microsecond."""
    id_, at, *rest = row
    return orjson.dumps([id_, at.astimezone(UTC).isoformat(timespec="microseconds"), *rest])


def link_hash(before: bytes, line: bytes) -> bytes:
    """Hash a serialized event together with the previous link's hash."""
    return hashlib.sha256(before + line).digest()


def extend_chain(*, include_late: bool = False) -> int:
    """Link new events and return how many; of several processes one works, the others return 0."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(5002)")
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute("SELECT seq, hash FROM audit_link ORDER BY seq DESC LIMIT 1")
        seq, before = cursor.fetchone() or (0, START)
        cursor.execute("SELECT coalesce(max(event_id), 0) FROM audit_link")
        newest = cursor.fetchone()[0]
        cursor.execute(UNLINKED, {"after": 0 if include_late else newest - WINDOW, "limit": BATCH})
        rows = cursor.fetchall()
        links: list[tuple[int, int, bytes, bytes | None]] = []
        before = bytes(before)
        for number, row in enumerate(rows, seq + 1):
            before = link_hash(before, serialize_event(row))
            links.append((number, row[0], before, None))
        if links:
            number, event, last, _ = links[-1]
            links[-1] = (number, event, last, signing_key().sign(last))
            values = b",".join(cursor.mogrify("(%s, %s, %s, %s)", link) for link in links)
            cursor.execute(b"INSERT INTO audit_link (seq, event_id, hash, signature) VALUES " + values)
        return len(links)


def verify_chain(*, complete: bool = False) -> Iterator[str]:
    """Verify the chain and yield a line for each fault found.

    Args:
        complete: start at the oldest month that was not dropped, instead of at the newest checkpoint.

    """
    start, faults = find_start(complete=complete)
    yield from faults
    seq, before, signed, last_signature = start.seq, start.hash, verifying_keys(), start.seq
    while rows := _ask(LINKED, (seq, BATCH)):
        for number, hash_, signature, event_id, *event in rows:
            if number != seq + 1:
                yield f"links {seq + 1} to {number - 1} are missing"
            elif event[0] is None:
                yield f"event {event_id} is missing"
            elif link_hash(before, serialize_event(tuple(event))) != bytes(hash_):
                yield f"event {event_id} or the link before it was altered"
            if signature is not None:
                last_signature = number
                if not _is_signed(bytes(signature), bytes(hash_), signed):
                    yield f"the signature of link {number} was not made with this system's key"
            seq, before = number, bytes(hash_)
    if last_signature != seq:
        yield f"the last link {seq} is not signed: links after {last_signature} were removed or forged"
    ((loose,),) = _ask(
        "SELECT count(*) FROM audit_event AS event WHERE at < now() - interval '1 minute' AND at >= %s"
        " AND NOT EXISTS (SELECT FROM audit_link WHERE event_id = event.id)",
        (start.month,),
    )
    if loose:
        yield f"{loose} events older than a minute are not linked; start `main.py maintenance`"


def find_start(*, complete: bool) -> tuple[Checkpoint, list[str]]:
    """Return where verification starts, and a line for each checkpoint that is not valid."""
    start, faults = Checkpoint(date(1970, 1, 1), 0, START, b""), []
    dropped = dropped_months()
    for checkpoint in load_checkpoints():
        if not checkpoint.is_signed():
            faults.append(f"the checkpoint of {checkpoint.month:%Y-%m} was not signed with this system's key")
        elif not contains(checkpoint.seq, checkpoint.hash):
            faults.append(f"link {checkpoint.seq} is not the one of the checkpoint of {checkpoint.month:%Y-%m}")
        elif not complete or checkpoint.month in dropped:
            start = checkpoint
    return start, faults


def head() -> tuple[int, bytes]:
    """Return the newest link: its number and hash."""
    rows = _ask("SELECT seq, hash FROM audit_link ORDER BY seq DESC LIMIT 1", ())
    return (rows[0][0], bytes(rows[0][1])) if rows else (0, START)


def find_receipt_link(instance_id: int, actor: str) -> tuple[int, bytes] | None:
    """Return the link of the event that an actor sent an instance; None until it is chained, about a second later."""
    rows = _ask(
        "SELECT seq, hash FROM audit_link JOIN audit_event ON id = event_id"
        " WHERE instance_id = %s AND kind = 'received' AND actor = %s ORDER BY seq LIMIT 1",
        (instance_id, actor),
    )
    return (rows[0][0], bytes(rows[0][1])) if rows else None


def contains(seq: int, hash_: bytes) -> bool:
    """Return whether the chain still contains a link that was issued once."""
    return _ask("SELECT hash = %s FROM audit_link WHERE seq = %s", (hash_, seq)) == [(True,)]


def count_unlinked() -> int:
    """Return how far the chain is behind the log, by the newest event."""
    (row,) = _ask(
        "SELECT (SELECT coalesce(max(id), 0) FROM audit_event) - (SELECT coalesce(max(event_id), 0) FROM audit_link)",
        (),
    )
    return int(row[0])


def _is_signed(signature: bytes, hash_: bytes, keys: list[Any]) -> bool:
    for key in keys:
        try:
            key.verify(signature, hash_)
        except InvalidSignature:
            continue
        return True
    return False


def _ask(statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
