"""GET /api/elements/: pages, filters, fields, orders, exports."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from elements import pagination
from elements.services import LIST_FIELDS
from support import ELEMENTS, element, keyed, path, post, problem, store


def pages(api: Client, query: str) -> Iterator[list[dict[str, Any]]]:
    url: str | None = ELEMENTS + query
    while url:
        answer = api.get(url)
        assert answer.status_code == 200, answer.content
        yield answer.json()["results"]
        url = answer.json()["next"]


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["id"] for row in answer.json()["results"]]


def text(answer: Any) -> str:
    assert answer.status_code == 200
    content = b"".join(answer.streaming_content)
    assert int(answer["Content-Length"]) == len(content)
    return content.decode()


@pytest.fixture
def some(api: Client) -> list[str]:
    """Elements among which every column has equal values."""
    names = ["RX 1", 'CT "2", new', "MR 3"]
    for number in range(30):
        store(api, f"e{number:02}", deviceName=names[number % 3], data=[f"{number % 4} 1", "2"][: number % 2 + 1])
    return [f"e{number:02}" for number in range(30)]


def test_a_list_has_every_field_but_the_data(api: Client) -> None:
    assert api.get(ELEMENTS).json() == {"next": None, "results": []}
    store(api, "a")
    assert tuple(api.get(ELEMENTS).json()["results"][0]) == LIST_FIELDS


@pytest.mark.parametrize("ordering", pagination.ORDERINGS)
def test_pages_in_any_order_hold_every_row_once(api: Client, some: list[str], ordering: str) -> None:
    field, down = ordering.removeprefix("-"), ordering.startswith("-")
    rows = [row for page in pages(api, f"?page_size=7&ordering={ordering}&fields=id,{field}") for row in page]
    assert len(rows) == len(some)
    with connection.cursor() as cursor:  # PostgreSQL's order, which for names is the database's collation
        way = "DESC" if down else "ASC"
        cursor.execute(f"SELECT id FROM elements_element ORDER BY {field} {way}, id {way}")
        assert [row["id"] for row in rows] == [id_ for (id_,) in cursor.fetchall()]


def test_a_page_is_reached_by_an_index_and_not_by_reading_what_is_before(api: Client) -> None:
    store(api, *(f"e{number:04}" for number in range(3000)))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE elements_element")
        cursor.execute("SET LOCAL enable_seqscan = off")
    second = api.get(f"{ELEMENTS}?page_size=10&ordering=-created_at").json()["next"]
    with CaptureQueriesContext(connection) as queries:
        api.get(second)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {queries[-1]['sql']}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Cond: (ROW(created_at, (id)::text) < ROW(" in plan, plan


def test_rows_that_come_or_go_between_pages_move_no_other(api: Client, some: list[str]) -> None:
    walk = pages(api, "?page_size=10")
    first = next(walk)
    assert api.delete(path("e03")).status_code == 204
    store(api, "e00a")
    rest = [row["id"] for page in walk for row in page]
    assert [row["id"] for row in first] + rest == some


def test_a_full_last_page_has_no_next(api: Client, some: list[str]) -> None:
    assert [len(page) for page in pages(api, "?page_size=15")] == [15, 15]


def test_a_page_is_capped(api: Client) -> None:
    store(api, *(f"e{number}" for number in range(1001)))
    for size in ("5000", "9" * 5000):
        assert len(ids(api.get(f"{ELEMENTS}?page_size={size}"))) == 1000


def test_count_is_on_request(api: Client, some: list[str]) -> None:
    assert api.get(f"{ELEMENTS}?page_size=2&count=true").json()["count"] == len(some)
    assert "count" not in api.get(ELEMENTS).json()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("device_name=RX 1", {"a"}),
        ("id__startswith=b", {"b", "bc"}),
        ("id__startswith=b_", set()),
        ("id__startswith=%25", set()),
        ("data_size__gte=2", {"b", "bc"}),
        ("data_size__lte=1.5", {"a"}),
        ("data_size__gte=1.5", {"b", "bc"}),
        ("data_size__gte=99999999999999999999", set()),
        ("average_before_normalization__gte=20&average_before_normalization__lte=30", {"b"}),
        ("average_after_normalization__lte=0.9", {"b", "bc"}),
        ("created_at__gte=2000-01-01T00:00:00Z", {"a", "b", "bc"}),
        ("created_at__lte=2000-01-01T00:00:00%2B01:00", set()),
        ("updated_at__gte=2000-01-01", {"a", "b", "bc"}),
        ("device_name=CT 2&data_size__gte=3", {"bc"}),
    ],
)
def test_filters(api: Client, query: str, expected: set[str]) -> None:
    store(api, "a", data=["5"])
    store(api, "b", data=["10 40"], deviceName="CT 2")
    store(api, "bc", data=["10 40 400"], deviceName="CT 2")
    assert set(ids(api.get(f"{ELEMENTS}?{query}"))) == expected


INVALID_QUERIES = """
colour=red  device_nam=RX+1  device_name=  updated_at__lte=  created_at__gte=0075-02-21T08:38:42%2B22:56
data_size__gte=many  data_size__gte=1_000  data_size__gte=%D9%A1  average_before_normalization__gte=1_0
average_before_normalization__gte=1e999  data_size__gte=nan  average_before_normalization__gte=inf
created_at__gte=yesterday  device_name=a%00b  id__startswith=%00  ordering=raw_data  ordering=--id
fields=id,colour  fields=  page_size=0  page_size=-1  page_size=%D9%A1  count=yes  cursor=x  cursor=%00
format=csv&page_size=5  device_name=a&device_name=b  page_size=1&page_size=3
format=csv&created_at__gte=0001-01-01T00:00:00%2B23:59
"""


@pytest.mark.parametrize("query", INVALID_QUERIES.split())
def test_an_invalid_query_is_400_with_its_parameter(api: Client, query: str) -> None:
    document = problem(api.get(f"{ELEMENTS}?{query}"), 400)
    assert all(error["parameter"] in query for error in document.get("errors", []))


def test_the_filter_form_of_the_browsable_api_may_leave_fields_empty(api: Client) -> None:
    query = "id__startswith=&device_name=RX+1&data_size__gte="
    assert api.get(f"{ELEMENTS}?{query}", headers={"Accept": "text/html"}).status_code == 200
    problem(api.get(f"{ELEMENTS}?{query}"), 400)


def test_a_cursor_that_the_server_did_not_sign_is_400(api: Client, some: list[str]) -> None:
    cursor = api.get(f"{ELEMENTS}?page_size=2").json()["next"].partition("cursor=")[2]
    for forged in (f"x{cursor}", cursor[:-1], cursor[::-1]):
        problem(api.get(f"{ELEMENTS}?cursor={forged}"), 400)
    problem(api.get(f"{ELEMENTS}?ordering=data_size&cursor={cursor}"), 400)


def test_fields_selects_and_orders_the_fields_of_every_answer(api: Client) -> None:
    assert post(api, element("a"), "?fields=data_size,id").content == b'{"data_size":6,"id":"a"}'
    assert post(api, keyed(element("b")), "?fields=id").json()["results"] == [{"id": "b"}]
    assert post(api, keyed(element("c")), "?fields=id&partial=true").json()["results"][0]["element"] == {"id": "c"}
    assert api.get(f"{path('a')}?fields=data_size,id").content == b'{"data_size":6,"id":"a"}'
    first = api.get(f"{ELEMENTS}?fields=raw_data,id&id__startswith=a").content
    assert first == b'{"next":null,"results":[{"raw_data":["54 26 34","75 87 75"],"id":"a"}]}'


@pytest.mark.parametrize("how", ["?format=csv", "header"])
def test_csv_holds_every_row(api: Client, some: list[str], how: str) -> None:
    answer = api.get(ELEMENTS, headers={"Accept": "text/csv"}) if how == "header" else api.get(ELEMENTS + how)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="elements.csv"'
    rows = list(csv.DictReader(io.StringIO(text(answer))))
    assert [row["id"] for row in rows] == some
    assert tuple(rows[0]) == LIST_FIELDS
    assert rows[1]["device_name"] == 'CT "2", new'


def test_ndjson_holds_what_the_list_shows(api: Client, some: list[str]) -> None:
    lines = text(api.get(f"{ELEMENTS}?format=ndjson&fields=id,device_name,data_size,raw_data")).splitlines()
    listed = api.get(f"{ELEMENTS}?fields=id,device_name,data_size,raw_data").json()["results"]
    assert [json.loads(line) for line in lines] == listed
    assert len(lines) == len(some)


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_an_export_keeps_what_a_device_name_may_hold(api: Client, kind: str) -> None:
    name = "a\"b\\n,\\\\;\u00e9\u4e2d\U0001f600'%s"
    post(api, element("a", deviceName=name))
    content = text(api.get(f"{ELEMENTS}?format={kind}&fields=device_name"))
    read = next(iter(csv.DictReader(io.StringIO(content)))) if kind == "csv" else json.loads(content)
    assert read["device_name"] == name


def test_an_export_can_be_filtered_and_ordered(api: Client, some: list[str]) -> None:
    content = text(api.get(f"{ELEMENTS}?format=csv&device_name=RX 1&ordering=-id&fields=id"))
    assert content.splitlines() == ["id", *sorted(some[::3], reverse=True)]


def test_an_export_shows_times_as_the_list_does(api: Client) -> None:
    store(api, "a")
    (listed,) = api.get(f"{ELEMENTS}?fields=created_at,updated_at").json()["results"]
    assert listed["created_at"].endswith("Z")
    assert next(csv.DictReader(io.StringIO(text(api.get(f"{ELEMENTS}?format=csv"))))).items() >= listed.items()
    assert listed == json.loads(text(api.get(f"{ELEMENTS}?format=ndjson&fields=created_at,updated_at")))


def test_a_time_of_the_server_is_a_filter(api: Client) -> None:
    store(api, "a")
    (created_at,) = [row["created_at"] for row in api.get(ELEMENTS).json()["results"]]
    assert ids(api.get(f"{ELEMENTS}?created_at__lte={created_at}")) == ["a"]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x"])
def test_csv_holds_no_formula_for_a_spreadsheet(api: Client, name: str) -> None:
    store(api, "a", deviceName=name)
    assert text(api.get(f"{ELEMENTS}?format=csv&fields=device_name")).splitlines()[1] == f"'{name}"


def test_an_unknown_format_is_400_and_an_unknown_media_type_406(api: Client) -> None:
    for url in (f"{ELEMENTS}?format=xml", f"{path('a')}?format=csv", "/api/docs/?format=xml"):
        assert problem(api.get(url), 400)["errors"][0]["parameter"] == "format"
    for url in (ELEMENTS, "/api/docs/"):
        problem(api.get(url, headers={"Accept": "image/png"}), 406)
