"""Migrations: complete, forward and back, and quick beside a working service."""

import contextlib
import threading

import psycopg2
import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from elements.models import Element


@pytest.mark.django_db
def test_the_models_need_no_other_migration() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.django_db(transaction=True)
def test_forward_back_and_forward_again() -> None:
    def tables() -> set[str]:
        return set(connection.introspection.table_names()) & {"elements_element", "elements_cache"}

    assert len(tables()) == 2
    indexes = sorted(index_names())
    call_command("migrate", "elements", "zero", verbosity=0)
    assert tables() == set()
    call_command("migrate", "elements", verbosity=0)
    assert len(tables()) == 2
    assert sorted(index_names()) == indexes
    executor = MigrationExecutor(connection)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []


def index_names() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'elements_element'")
        return [name for (name,) in cursor.fetchall()]


@pytest.mark.django_db
def test_every_index_has_a_use() -> None:
    assert sorted(index_names()) == sorted(["elements_element_pkey", *(index.name for index in Element._meta.indexes)])


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_a_migration_and_no_migration_for_who_reads() -> None:
    """Every migration of a table that exists, beside a service that reads and writes all the while."""
    call_command("migrate", "elements", "0001", verbosity=0)
    enough, waited = threading.Event(), []

    def use() -> None:
        parameters = connection.get_connection_params()
        with contextlib.closing(psycopg2.connect(**parameters)) as other, other.cursor() as cursor:
            other.autocommit = True
            cursor.execute("SET lock_timeout = '2s'")
            while not enough.is_set():
                try:
                    cursor.execute(f"INSERT INTO elements_element {COLUMNS} VALUES ('a', 'RX', 1, 1, 1, '[]')")
                    cursor.execute("DELETE FROM elements_element")
                except psycopg2.errors.LockNotAvailable as error:
                    waited.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    try:
        call_command("migrate", "elements", verbosity=0)
    finally:
        enough.set()
        thread.join()
    assert waited == []


COLUMNS = "(id, device_name, average_before_normalization, average_after_normalization, data_size, raw_data)"
