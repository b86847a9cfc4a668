"""The details of audit events in plain words."""

import pytest
from django.utils import translation

from audit.messages import KINDS
from portal.details import describe_detail
from portal.labels import EVENTS


def test_every_kind_of_event_has_a_label() -> None:
    assert set(KINDS) <= set(EVENTS)


@pytest.mark.parametrize(
    ("kind", "logged", "english", "spanish"),
    [
        ("received", "new", "stored", "guardada"),
        ("labelled", "added team: 7", "added: team: 7", "añadida: team: 7"),
        ("queried", "by patient, from", "by: patient, from", "por: paciente, desde"),
        ("queried", "/api/instances/: 3 rows", "at /api/instances/, 3 found", "en /api/instances/, 3 encontrados"),
        ("audit", "read kind viewed", "read: event Viewed", "leído: evento Visto"),
        ("audit", "read ", "read", "leído"),
        (
            "accounts",
            "added eva: role readers, team ward",
            "eva added: role Reader, team ward",
            "eva añadido: rol Lector, equipo ward",
        ),
        (
            "destination",
            "rule 3: results of * with modality SEG on CT -> PACS",
            "rule 3: results of *, modality SEG, of studies with CT to PACS",
            "regla 3: resultados de *, modalidad SEG, de estudios con CT a PACS",
        ),
        ("quarantined", "the mask lung is empty", "the mask lung is empty", "la máscara lung está vacía"),
        ("drain", "host:1", "host:1", "host:1"),
    ],
)
def test_a_detail_is_said_in_the_language_of_the_reader(kind: str, logged: str, english: str, spanish: str) -> None:
    with translation.override("en"):
        assert describe_detail(kind, logged) == english
    with translation.override("es"):
        assert describe_detail(kind, logged) == spanish
