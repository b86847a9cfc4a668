"""The log, chained by hash: who removes or alters a line, in the database too, is found out.

A link holds SHA-256(hash of the link before, the line). Lines are written by many at once and in no order, and nobody
waits for the chain: the sweeper links what has come since its last round. The last link of a round is signed with a
key that is not in the database (Ed25519, RFC 8032), so that a chain cannot be made anew by who may write there; a tail
that is cut off shows against any receipt that was given out since.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from django.db import connection, transaction

from audit.signing import signing_key, verifying_keys

START = bytes(32)
BATCH = 5000
WINDOW = 20_000  # ids; a line that commits later than so many others is linked by `manage.py audit chain`
COLUMNS = "id, at, kind, instance_id, study_id, actor, address, detail, trace"
UNLINKED = f"""
    SELECT {COLUMNS} FROM processing_event AS event
    WHERE id > %s AND NOT EXISTS (SELECT FROM audit_link WHERE event_id = event.id) ORDER BY id LIMIT %s
"""  # noqa: S608  # names of columns
LINKED = f"""
    SELECT seq, hash, signature, event_id, {COLUMNS} FROM audit_link
    LEFT JOIN processing_event ON id = event_id WHERE seq > %s ORDER BY seq LIMIT %s
"""  # noqa: S608


def line_of(row: tuple[Any, ...]) -> bytes:
    """A line in the one form that is hashed: a JSON array, its time in UTC to the microsecond."""
    id_, at, *rest = row
    return orjson.dumps([id_, at.astimezone(UTC).isoformat(timespec="microseconds"), *rest])


def link_hash(before: bytes, line: bytes) -> bytes:
    """What binds a line to all before it."""
    return hashlib.sha256(before + line).digest()


def extend(*, everything: bool = False) -> int:
    """Link the lines that have come; how many. One process at a time: the others find nothing to do."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(5002)")
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute("SELECT seq, hash FROM audit_link ORDER BY seq DESC LIMIT 1")
        seq, before = cursor.fetchone() or (0, START)
        cursor.execute("SELECT coalesce(max(event_id), 0) FROM audit_link")
        newest = cursor.fetchone()[0]
        cursor.execute(UNLINKED, (0 if everything else newest - WINDOW, BATCH))
        rows = cursor.fetchall()
        links: list[tuple[int, int, bytes, bytes | None]] = []
        before = bytes(before)
        for number, row in enumerate(rows, seq + 1):
            before = link_hash(before, line_of(row))
            links.append((number, row[0], before, None))
        if links:
            number, event, last, _ = links[-1]
            links[-1] = (number, event, last, signing_key().sign(last))
            values = b",".join(cursor.mogrify("(%s, %s, %s, %s)", link) for link in links)
            cursor.execute(b"INSERT INTO audit_link (seq, event_id, hash, signature) VALUES " + values)
        return len(links)


def faults() -> Iterator[str]:
    """What does not hold, a line each, by going through the whole chain; nothing where it holds."""
    seq, before, signed, last_signature = 0, START, verifying_keys(), 0
    while rows := _ask(LINKED, (seq, BATCH)):
        for number, hash_, signature, event_id, *event in rows:
            if number != seq + 1:
                yield f"links {seq + 1} to {number - 1} are gone"
            elif event[0] is None:
                yield f"line {event_id} is gone"
            elif link_hash(before, line_of(tuple(event))) != bytes(hash_):
                yield f"line {event_id} was altered, or the link before it"
            if signature is not None:
                last_signature = number
                if not _is_signed(bytes(signature), bytes(hash_), signed):
                    yield f"the signature of link {number} is not of this system's key"
            seq, before = number, bytes(hash_)
    if last_signature != seq:
        yield f"the last link {seq} is not signed: those after {last_signature} were cut off, or added by another"
    ((loose,),) = _ask(
        "SELECT count(*) FROM processing_event AS event WHERE at < now() - interval '1 minute'"
        " AND NOT EXISTS (SELECT FROM audit_link WHERE event_id = event.id)",
        (),
    )
    if loose:
        yield f"{loose} lines older than a minute are not linked: is the sweeper running? `audit chain` links them"


def head() -> tuple[int, bytes]:
    """The newest link: its number and hash."""
    rows = _ask("SELECT seq, hash FROM audit_link ORDER BY seq DESC LIMIT 1", ())
    return (rows[0][0], bytes(rows[0][1])) if rows else (0, START)


def link_of_receipt(instance_id: int) -> tuple[int, bytes] | None:
    """The link of the line that says that an instance was received; None before it is made, a second later."""
    rows = _ask(
        "SELECT seq, hash FROM audit_link JOIN processing_event ON id = event_id"
        " WHERE instance_id = %s AND kind = 'received' ORDER BY seq LIMIT 1",
        (instance_id,),
    )
    return (rows[0][0], bytes(rows[0][1])) if rows else None


def holds(seq: int, hash_: bytes) -> bool:
    """Whether a link that was told of once is still there."""
    return _ask("SELECT hash = %s FROM audit_link WHERE seq = %s", (hash_, seq)) == [(True,)]


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
