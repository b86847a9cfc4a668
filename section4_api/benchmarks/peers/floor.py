"""The floor: WSGI without a framework, psycopg2 without an ORM, nothing checked."""

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import orjson
import psycopg2
import table

SUMMARY = ", ".join(table.WITHOUT_DATA)
local = threading.local()


def ask(statement: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    if not hasattr(local, "cursor"):
        connection = psycopg2.connect(os.environ["DATABASE_URL"])
        connection.autocommit = True
        local.cursor = connection.cursor()
    local.cursor.execute(statement, parameters)
    rows: list[tuple[Any, ...]] = local.cursor.fetchall()
    return rows


def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    id_ = environ["PATH_INFO"].removeprefix("/api/elements/").rstrip("/")
    status, body = "200 OK", b""
    if environ["REQUEST_METHOD"] == "POST":
        sent = orjson.loads(environ["wsgi.input"].read())
        elements = [sent] if "id" in sent else list(sent.values())
        values = [dict(zip(("a", "b", "c"), table.computed(new["data"]), strict=True)) | new for new in elements]
        rows = ask(
            "INSERT INTO elements_element (id, device_name, average_before_normalization, average_after_normalization,"
            ' data_size, raw_data) SELECT * FROM json_to_recordset(%s) AS x(id text, "deviceName" text, a float8,'
            f" b float8, c int, data jsonb) RETURNING {SUMMARY}",
            (orjson.dumps(values).decode(),),
        )
        status = "201 Created"
        body = orjson.dumps([dict(zip(table.WITHOUT_DATA, row, strict=True)) for row in rows])
    elif id_:
        rows = ask("SELECT * FROM elements_element WHERE id = %s", (id_,))
        body = orjson.dumps(dict(zip(table.COLUMNS, rows[0], strict=True)))
    else:
        rows = ask(f"SELECT {SUMMARY} FROM elements_element ORDER BY id LIMIT 100", ())
        body = orjson.dumps([dict(zip(table.WITHOUT_DATA, row, strict=True)) for row in rows])
    start(status, [("Content-Type", "application/json")])
    return [body]
