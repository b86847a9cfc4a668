"""Find studies, series and instances that a reader may see; for QIDO-RS and C-FIND."""

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from accounts.readers import Reader
from archive.models import Instance, Series, Study
from archive.ranges import find_ranges
from core.standby import read_from_standby
from query.attributes import (
    COUNTED,
    IMAGE,
    MODELS,
    PATIENT,
    PATIENT_KEYWORDS,
    REQUEST_KEYS,
    REQUESTS,
    SERIES,
    STUDY,
    columns_at,
)
from query.matching import match, match_any, match_item

BATCH = 1000
LINKS = {STUDY: "series__study", SERIES: "series"}  # of an instance
Row = dict[str, Any]  # values by keyword: one, a list, or None


def find_rows(
    reader: Reader, level: str, keys: Mapping[str, str], wanted: Collection[str], window: slice = slice(None)
) -> list[Row]:
    """Find what matches, the newest first, without its duplicates.

    Args:
        reader: sees only instances that it may see, also in counts.
        level: what is found: PATIENT, STUDY, SERIES or IMAGE.
        keys: values to match, by keyword; attributes that can be matched at this level.
        wanted: keywords of the attributes to return.
        window: which of the results.

    Raises:
        InvalidRequestError: the value of a key is invalid.

    """
    if level == PATIENT:
        return find_patients(reader, keys, window)
    return fetch(reader, level, find(reader, level, keys).order_by("-pk")[window], wanted)


def count_rows(reader: Reader, level: str, keys: Mapping[str, str]) -> int:
    """Count what matches at a level from the study down."""
    return find(reader, level, keys).count()


def iter_rows(reader: Reader, level: str, keys: Mapping[str, str], wanted: Collection[str]) -> Iterator[Row]:
    """Find everything that matches, as `find_rows` does, in batches."""
    if level == PATIENT:
        yield from read_from_standby(reader.name, lambda: find_rows(reader, level, keys, wanted))
        return
    found = read_from_standby(
        reader.name, lambda: list(find(reader, level, keys).order_by("-pk").values_list("pk", flat=True))
    )
    for start in range(0, len(found), BATCH):
        batch = MODELS[level].objects.filter(pk__in=found[start : start + BATCH]).order_by("-pk")
        yield from read_from_standby(reader.name, partial(fetch, reader, level, batch, wanted))


def find(reader: Reader, level: str, keys: Mapping[str, str]) -> QuerySet[Any]:
    """Return the visible rows of a level that match."""
    named = bool(keys.get("StudyInstanceUID"))
    return select(reader.instances(), level, keys, reader.studies() if reader.studies and not named else None)


def fetch(reader: Reader, level: str, found: QuerySet[Any], wanted: Collection[str]) -> list[Row]:
    """Return the wanted attributes of rows."""
    columns = columns_at(level)
    shown = [keyword for keyword in columns if keyword in wanted]
    values = found.values_list("pk", *(columns[name].path for name in shown))
    rows = {key: dict(zip(shown, row, strict=True)) for key, *row in values}
    if not set(wanted).isdisjoint(COUNTED[level]):
        # By the series' IDs, since PostgreSQL would read all instances to join them with many series.
        series = (
            list(rows) if level == SERIES else list(Series.objects.filter(study__in=rows).values_list("pk", flat=True))
        )
        visible = reader.instances()
        if visible.query.where:  # otherwise everything is visible
            visible = reader.instances(ranges=find_ranges(series))
        for key, counts in count(visible.filter(series__in=series), level):
            rows[key] |= counts
    return list(rows.values())


def select(
    visible: QuerySet[Instance], level: str, keys: Mapping[str, str], studies: QuerySet[Study] | None = None
) -> QuerySet[Any]:
    """Return the rows of a level that match; `studies` are those of the visible instances, if they are known."""
    columns, condition = columns_at(level), Q()
    modalities = ""
    requests = {REQUEST_KEYS[keyword]: text for keyword, text in keys.items() if keyword in REQUEST_KEYS}
    if requests:
        condition &= match_item(columns[REQUESTS].path, requests)
    for keyword, text in keys.items():
        if keyword in REQUEST_KEYS:
            continue
        if keyword == "ModalitiesInStudy" and level == STUDY:
            modalities = text.strip()
        else:
            condition &= match(keyword, columns[keyword].path, text)
    if level != STUDY and studies is not None and studies.query.where:  # they make the search shorter
        condition &= Q(**{"series__study__in" if level == IMAGE else "study__in": studies})
    if level == IMAGE:
        return first_of_each(visible).filter(condition)
    link = LINKS[level]
    if modalities and modalities != "*":
        of_modality = match_any("series__modality", modalities.replace("\\", ",").split(","), "like")
        condition &= Q(Exists(visible.filter(of_modality, **{link: OuterRef("pk")})))
    elif (level != STUDY or studies is None) and visible.query.where:  # otherwise everything is visible
        condition &= Q(Exists(visible.filter(**{link: OuterRef("pk")})))
    found = studies if level == STUDY and studies is not None else MODELS[level].objects.all()
    return found.filter(condition)


def first_of_each(visible: QuerySet[Instance]) -> QuerySet[Instance]:
    """Of several contents under one UID in a series, return the one that was received first.

    Others may refer to it already. The later ones stay in the archive, flagged, and are shown by the portal.
    """
    earlier = visible.filter(
        series=OuterRef("series"), sop_instance_uid=OuterRef("sop_instance_uid"), pk__lt=OuterRef("pk")
    )
    return visible.filter(Q(conflict=False) | ~Q(Exists(earlier)))


def count(visible: QuerySet[Instance], level: str) -> Iterator[tuple[int, Row]]:
    """Count the visible series and instances of studies, or the instances of series."""
    instances = Count("sop_instance_uid", distinct=True)
    aggregates = {
        SERIES: (instances,),
        STUDY: (
            Count("series", distinct=True),
            instances,
            ArrayAgg("series__modality", distinct=True),
            ArrayAgg("sop_class_uid", distinct=True),
        ),
    }[level]
    link = LINKS[level]
    named = dict(zip(COUNTED[level], aggregates, strict=True))
    for key, *values in visible.order_by().values_list(link).annotate(**named):
        yield key, dict(zip(named, values, strict=True))


def find_patients(reader: Reader, keys: Mapping[str, str], window: slice) -> list[Row]:
    """Find patients: the distinct descriptions that their studies hold."""
    paths = [columns_at(STUDY)[keyword].path for keyword in PATIENT_KEYWORDS]
    found = find(reader, STUDY, keys).values_list(*paths).annotate(Count("pk")).order_by(*paths)
    names = (*PATIENT_KEYWORDS, "NumberOfPatientRelatedStudies")
    return [dict(zip(names, values, strict=True)) for values in found[window]]
