"""What is asked of the database: each function is one transaction, and safe among many clients."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import IO, Any, TypeVar

import orjson
from django.core.exceptions import EmptyResultSet
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from elements.models import Element
from elements.payloads import Change, NewElement
from elements.problems import Problem

FIELDS = tuple(field.name for field in Element._meta.concrete_fields)
WITHOUT_DATA = tuple(field for field in FIELDS if field != "raw_data")
DEADLOCK = "40P01"
TRIES = 3

# Many are sent as one JSON text, which PostgreSQL takes apart faster than psycopg2 can write a list of values. Sorted
# by id: two clients that send the same elements in another order wait for each other instead of for ever.
INSERT = """
    INSERT INTO elements_element
        (id, device_name, average_before_normalization, average_after_normalization, data_size, raw_data)
    {rows}
    ON CONFLICT (id) DO NOTHING
    RETURNING id, created_at
"""
INSERT_ONE = INSERT.format(rows="VALUES (%(id)s, %(device_name)s, %(before)s, %(after)s, %(size)s, %(data)s)")
INSERT_MANY = INSERT.format(
    rows="""
    SELECT * FROM json_to_recordset(%s)
        AS sent (id text, device_name text, before float8, after float8, size integer, data jsonb)
    ORDER BY id COLLATE "C"
    """
)

Result = TypeVar("Result")


def retried(work: Callable[[], Result]) -> Result:
    """Do it again where PostgreSQL broke a deadlock; whoever lost has changed nothing."""
    for _ in range(TRIES - 1):
        try:
            return work()
        except OperationalError as error:
            if getattr(error.__cause__, "pgcode", None) != DEADLOCK:
                raise
    return work()


def insert(elements: Sequence[NewElement], *, all_or_nothing: bool) -> dict[str, datetime]:
    """Store new elements; returns when, by id, for those that were not there before.

    Raises:
        Problem: 409 where all should be stored and some ids are taken; nothing is stored then.

    """
    sent = [
        {
            "id": element.id,
            "device_name": element.device_name,
            "before": element.measured.average_before,
            "after": element.measured.average_after,
            "size": element.measured.size,
            "data": element.rows,
        }
        for element in elements
    ]
    parameters: tuple[str] | dict[str, Any]
    if len(elements) > 1:
        statement, parameters = INSERT_MANY, (orjson.dumps(sent).decode(),)
    else:
        statement, parameters = INSERT_ONE, sent[0] | {"data": orjson.dumps(elements[0].rows).decode()}

    def store() -> dict[str, datetime]:
        # A statement alone is a transaction; only a map of which all must be stored may have to take something back.
        with (
            transaction.atomic() if all_or_nothing and len(elements) > 1 else nullcontext(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, parameters)
            stored = dict(cursor.fetchall())
            if all_or_nothing and len(stored) < len(elements):
                old = [taken(element) for element in elements if element.id not in stored]
                detail = f"{len(old)} of {len(elements)} ids are stored already; nothing was stored"
                raise Problem(409, detail, old)
            return stored

    return retried(store)


def taken(element: NewElement) -> dict[str, str]:
    """The error of a new element whose id is stored already."""
    return {"pointer": f"{element.at}/id", "id": element.id, "detail": "is taken"}


def change(id_: str, asked: Change, precondition: Callable[[datetime], None]) -> str:
    """Rename an element, its device or both; returns the id that it has now.

    Raises:
        Problem: 400 a computed field that is not as stored; 404; 409 the new id is taken; what the precondition raises.

    """
    new_id = asked.id or id_

    def store() -> str:
        with transaction.atomic():
            # Both rows in one order: two clients that swap names wait for each other instead of for ever.
            locked = Element.objects.select_for_update().filter(pk__in={id_, new_id}).order_by("pk")
            found = {row.pk: row for row in (locked if "raw_data" in asked.believed else locked.defer("raw_data"))}
            stored = found.get(id_)
            if stored is None:
                raise Problem(404, f"there is no element {id_}")
            precondition(stored.updated_at)
            refuse_other_beliefs(stored, asked.believed)
            if new_id != id_ and new_id in found:
                raise id_taken(new_id)
            new = {"id": new_id, "device_name": asked.device_name or stored.device_name}
            if new != {"id": id_, "device_name": stored.device_name}:
                # Later than before, whatever the clocks do: the time is what the entity tag is made of.
                new["updated_at"] = max(timezone.now(), stored.updated_at + timedelta(microseconds=1))
                Element.objects.filter(pk=id_).update(**new)
            return new_id

    try:
        return retried(store)
    except IntegrityError:
        raise id_taken(new_id) from None


def id_taken(id_: str) -> Problem:
    """409 for a new id."""
    return Problem(409, f"the id {id_} is taken", [{"pointer": "#/id", "id": id_, "detail": "is taken"}])


def refuse_other_beliefs(stored: Element, believed: dict[str, Any]) -> None:
    """400 where a client sends a computed field that is not as stored: it believes something that is not so."""
    wrong = []
    for field, value in believed.items():
        is_ = getattr(stored, field)
        if isinstance(is_, datetime):
            same = isinstance(value, str) and _time(value) == is_
        else:
            same = value == is_ and isinstance(value, bool) == isinstance(is_, bool)
        if not same:
            wrong.append({"pointer": f"#/{field}", "detail": "is computed by the server, and stored otherwise"})
    if wrong:
        raise Problem(400, "only id and device_name can be changed", wrong)


def _time(text: str) -> datetime | None:
    try:
        return parse_datetime(text)
    except ValueError:
        return None


def delete(id_: str, precondition: Callable[[datetime], None]) -> None:
    """Remove an element.

    Raises:
        Problem: 404; what the precondition raises.

    """
    with transaction.atomic():
        times = Element.objects.select_for_update().filter(pk=id_).values_list("updated_at", flat=True)
        for updated_at in times:
            precondition(updated_at)
        if not Element.objects.filter(pk=id_).delete()[0]:
            raise Problem(404, f"there is no element {id_}")


def one(id_: str, fields: Sequence[str]) -> dict[str, Any] | None:
    """An element as a response shows it; None where it is not there."""
    found = fetch(f"SELECT {', '.join(fields)} FROM elements_element WHERE id = %s", (id_,), fields)  # noqa: S608  # names of FIELDS
    return found[0] if found else None


def page(
    queryset: QuerySet[Element], fields: Sequence[str], ordering: str, behind: Sequence[Any] | None, size: int
) -> list[dict[str, Any]]:
    """Rows in an order, as a response shows them, from behind a place: the values of the last row's sorting keys.

    PostgreSQL compares row values key by key, and so finds the place in an index of the same keys.
    """
    key, way, beyond = (ordering[1:], "DESC", "<") if ordering.startswith("-") else (ordering, "ASC", ">")
    keys = tuple(dict.fromkeys((key, "id")))
    conditions, parameters = [], []
    if queryset.query.where:
        compiler = queryset.query.get_compiler(connection=connection, elide_empty=False)
        try:
            condition, values = compiler.compile(queryset.query.where)
        except EmptyResultSet:  # a filter that no row can pass, such as a size beyond the column's
            return []
        conditions.append(condition)
        parameters += values
    if behind is not None:
        conditions.append(f"({', '.join(keys)}) {beyond} ({', '.join(['%s'] * len(keys))})")
        parameters += behind[-len(keys) :]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    order = ", ".join(f"{key} {way}" for key in keys)
    sql = f"SELECT {', '.join(fields)} FROM elements_element {where} ORDER BY {order} LIMIT {size:d}"  # noqa: S608
    return fetch(sql, parameters, fields)


def fetch(sql: str, parameters: Sequence[Any], fields: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a statement. The data pass from the database to the client as they are, never parsed."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        found = cursor.fetchall()
    if "raw_data" not in fields:
        return [dict(zip(fields, row, strict=True)) for row in found]
    at = fields.index("raw_data")
    return [dict(zip(fields, (*row[:at], orjson.Fragment(row[at]), *row[at + 1 :]), strict=True)) for row in found]


def select(queryset: QuerySet[Element], fields: Sequence[str]) -> tuple[str, Sequence[Any]]:
    """The statement and its parameters that read these fields of a query set."""
    query = queryset.values_list(*fields).query
    # A filter that no row can pass (a size beyond the column's) is still a statement, with no rows.
    statement: tuple[str, Sequence[Any]] = query.get_compiler(connection=connection, elide_empty=False).as_sql()
    return statement


def export(queryset: QuerySet[Element], fields: Sequence[str], ordering: str, kind: str) -> IO[bytes]:
    """A file of every row of a query set, as csv or ndjson, written by PostgreSQL itself at the speed of COPY.

    On disk, not in memory: the transaction ends with the reading and not with the slowest client, and the response
    has a length, so that a download that was cut short is noticed.
    """
    down = "-" if ordering.startswith("-") else ""
    sql, parameters = select(queryset.order_by(*dict.fromkeys((ordering, f"{down}id"))), fields)
    if kind == "csv":
        copy = f"COPY ({sql}) TO STDOUT (FORMAT csv, HEADER)"
    else:  # characters that no JSON text contains as they are
        plainly = r"FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02'"
        copy = f"COPY (SELECT row_to_json(line) FROM ({sql}) AS line) TO STDOUT ({plainly})"  # noqa: S608  # from the ORM
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
    try:
        with connection.cursor() as cursor:
            cursor.copy_expert(cursor.mogrify(copy, parameters).decode(), file)
    except BaseException:
        file.close()
        raise
    return file
