"""FastAPI with asyncpg, a pool, one statement for a map."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg
import table
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

SUMMARY = ", ".join(table.WITHOUT_DATA)


class Summary(BaseModel):
    id: str
    device_name: str
    average_before_normalization: float
    average_after_normalization: float
    data_size: int
    created_at: datetime
    updated_at: datetime


class Whole(Summary):
    raw_data: list[str]


class New(BaseModel):
    id: str
    data: list[str]
    deviceName: str  # noqa: N815


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async def prepare(connection: asyncpg.Connection) -> None:
        await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")

    async with asyncpg.create_pool(os.environ["DATABASE_URL"], init=prepare) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/api/elements/")
async def listed(after: str = "") -> list[Summary]:
    rows = await app.state.pool.fetch(
        f"SELECT {SUMMARY} FROM elements_element WHERE id > $1 ORDER BY id LIMIT 100", after
    )
    return [Summary(**row) for row in rows]


@app.get("/api/elements/{id_}/")
async def one(id_: str) -> Whole:
    row = await app.state.pool.fetchrow("SELECT * FROM elements_element WHERE id = $1", id_)
    if row is None:
        raise HTTPException(404)
    return Whole(**row)


@app.post("/api/elements/", status_code=201)
async def create(body: dict[str, New] | New) -> list[Summary]:
    elements = list(body.values()) if isinstance(body, dict) else [body]
    values: list[tuple[Any, ...]] = [
        (new.id, new.deviceName, *table.computed(new.data), json.dumps(new.data)) for new in elements
    ]
    rows = await app.state.pool.fetch(
        "INSERT INTO elements_element (id, device_name, average_before_normalization, average_after_normalization,"
        " data_size, raw_data) SELECT a, b, c, d, e, f::jsonb FROM unnest($1::text[], $2::text[], $3::float8[],"
        f" $4::float8[], $5::int[], $6::text[]) AS t(a, b, c, d, e, f) RETURNING {SUMMARY}",
        *(list(column) for column in zip(*values, strict=True)),
    )
    return [Summary(**row) for row in rows]
