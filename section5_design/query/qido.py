"""QIDO-RS (PS3.18, 10.6): search for studies, series and instances."""

import re
from collections.abc import Mapping
from functools import partial

import orjson
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from accounts.audit_events import record_access
from accounts.readers import Reader
from core.standby import read_from_standby
from ingest.addresses import study_url
from query.attributes import COLUMNS, COUNTED, UNIQUE_KEYS, find_path, levels_to, matchable_at
from query.dicom_json import JSON, to_json
from query.documents import choose_document_type, respond_documents
from query.errors import InvalidRequestError, NotAcceptableError
from query.selectors import Row, count_rows, find_rows
from query.service import build_warning, dicomweb, list_names, no_content

MAX_RESULTS = 5000  # in a response; a client pages through more of them
MAX_OFFSET = 2**62
TAG = re.compile(r"[0-9A-Fa-f]{8}\Z")  # also of a private attribute
OPTIONS = ("includefield", "limit", "offset", "fuzzymatching", "accept", "charset")
FUZZY = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
IGNORED = "The following parameters are not supported and were ignored: {}"
MORE = "There are {}additional results that can be requested."


@dicomweb
def search(request: HttpRequest, reader: Reader, level: str, **path: str) -> HttpResponseBase:
    """Search at a level, among the studies or series that the path names."""
    media = choose_document_type(request)
    require_utf_8(request)
    keys, ignored = parse_keys(request, level)
    keys |= {UNIQUE_KEYS[name.upper()]: uid for name, uid in path.items()}
    limit = min(parse_number(request, "limit", MAX_RESULTS, MAX_OFFSET), MAX_RESULTS)
    offset = parse_number(request, "offset", 0, MAX_OFFSET)
    wanted = choose_fields(request, level, path)
    window = slice(offset, offset + limit + 1)
    rows = read_from_standby(reader.name, lambda: find_rows(reader, level, keys, {*wanted, *uids_to(level)}, window))
    record_access(request, "queried", f"{request.resolver_match.route}: {len(rows[:limit])} rows", actor=reader.name)
    warnings = [FUZZY] if request.GET.get("fuzzymatching", "").lower() == "true" else []
    warnings += [IGNORED.format(list_names(ignored))] if ignored else []
    if len(rows) > limit > 0:
        left = f"{count_rows(reader, level, keys) - offset - limit} " if limit == MAX_RESULTS else ""
        warnings.append(MORE.format(left))
    headers = {"Warning": ", ".join(map(build_warning, warnings))} if warnings else {}
    found = [to_json(build_result(request, level, row, wanted)) for row in rows[:limit]]
    if not found:
        return no_content(headers)
    if media.name == JSON:
        return HttpResponse(orjson.dumps(found), content_type=JSON, headers=headers)
    response = respond_documents(request, media, [partial(dict, one) for one in found])
    for name, value in headers.items():
        response.headers[name] = value
    return response


def require_utf_8(request: HttpRequest) -> None:
    """Require that a character set which the request names (PS3.18, 8.3.3.2) is that of every response.

    Raises:
        NotAcceptableError: it is another one.

    """
    if request.GET.get("charset", "utf-8").lower() not in ("utf-8", "utf8", "iso_ir 192"):
        raise NotAcceptableError("charset: responses are in utf-8")


def parse_keys(request: HttpRequest, level: str) -> tuple[dict[str, str], list[str]]:
    """Return the keys to match, by keyword, and the parameters that are not supported, which are ignored (8.3).

    Raises:
        InvalidRequestError: a key is repeated.

    """
    keys: dict[str, str] = {}
    ignored = []
    matchable = matchable_at(level)
    for name, texts in request.GET.lists():
        keyword = find_path(name)
        if keyword in matchable:
            if len(texts) > 1 or keyword in keys:
                raise InvalidRequestError(f"{keyword}: given more than once")
            keys[keyword] = texts[0]
        elif name not in OPTIONS and not (keyword and set(texts) <= {"", "*"}):  # those match everything
            ignored.append(name)
    return keys, ignored


def parse_number(request: HttpRequest, name: str, default: int, largest: int) -> int:
    """Parse `limit` or `offset`."""
    text = request.GET.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise InvalidRequestError(f"{name}: not a non-negative integer")
    return min(int(text), largest)


def choose_fields(request: HttpRequest, level: str, path: Mapping[str, str]) -> set[str]:
    """Return the keywords to return (PS3.18, 10.6.3.3): of each level that the path does not fix, and of includefield.

    Raises:
        InvalidRequestError: includefield names no attribute.

    """
    names = [name for text in request.GET.getlist("includefield") for name in text.split(",") if name]
    everything = "all" in names
    keywords = set()
    for name in names:
        path_of_keywords = find_path(name)
        if name != "all" and not path_of_keywords and not TAG.match(name):
            raise InvalidRequestError("includefield: not an attribute")
        keywords.add(path_of_keywords.partition(".")[0])
    for upper in levels_to(level):
        if everything or upper.lower() not in path:
            keywords |= set(COLUMNS[upper]) | (set(COUNTED[upper]) if upper == level else set())
    return keywords | set(uids_to(level))


def uids_to(level: str) -> list[str]:
    """Return the keywords of the UIDs down to a level."""
    return [UNIQUE_KEYS[upper] for upper in levels_to(level)]


def build_result(request: HttpRequest, level: str, row: Row, wanted: set[str]) -> Row:
    """Return a result: the wanted attributes, and where it can be retrieved."""
    address = study_url(request, *(row[keyword] for keyword in uids_to(level)))
    result = {keyword: value for keyword, value in row.items() if keyword in wanted}
    return result | {
        "SpecificCharacterSet": "ISO_IR 192",
        "InstanceAvailability": "ONLINE",
        "RetrieveURL": address,
    }
