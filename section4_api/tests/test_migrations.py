"""Migrations: complete, forward and back."""

import pytest
from django.core.management import call_command
from django.db import connection


@pytest.mark.django_db(transaction=True)
def test_forward_back_and_forward_again() -> None:
    def tables() -> set[str]:
        return set(connection.introspection.table_names()) & {"elements_element", "elements_cache"}

    assert len(tables()) == 2
    call_command("migrate", "elements", "zero", verbosity=0)
    assert tables() == set()
    call_command("migrate", "elements", verbosity=0)
    assert len(tables()) == 2
