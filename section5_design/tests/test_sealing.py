"""Objects are sealed: what is read is what was written, or it is said that it is not."""

import io
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive import master_key, sealing
from archive.models import SealingKey
from archive.sealing import CHUNK, HEADER, TAG, SealBrokenError, SealingWriter, opened

pytestmark = pytest.mark.django_db
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7)


def forget() -> None:
    for cached in (sealing.current_key, sealing.key_by_id, master_key.masters):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, settings: Any) -> Iterator[Path]:
    settings.MASTER_KEY, settings.MASTER_KEY_FILE = "", str(tmp_path / "master")
    forget()
    yield tmp_path / "master"
    forget()


def sealed(content: bytes, part: int = 100_000) -> bytes:
    target = io.BytesIO()
    writer = SealingWriter(target)
    for place in range(0, len(content), part):
        writer.write(content[place : place + part])
    writer.end()
    return target.getvalue()


def unsealed(content: bytes) -> BinaryIO:
    return opened(io.BytesIO(content))


@pytest.mark.parametrize("size", SIZES)
def test_what_is_sealed_is_read_back(size: int) -> None:
    content = os.urandom(size)
    assert unsealed(sealed(content)).read() == content


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), size=st.sampled_from(SIZES), part=st.integers(1, 2 * CHUNK))
def test_any_place_is_read_as_of_a_plain_file(data: st.DataObject, size: int, part: int) -> None:
    content = os.urandom(size)
    ours, plain = unsealed(sealed(content, max(part, 100))), io.BytesIO(content)
    for _ in range(5):
        place, count = data.draw(st.integers(0, size + 10)), data.draw(st.integers(0, size + 10))
        assert (ours.seek(place), ours.read(count)) == (plain.seek(place), plain.read(count))
    assert ours.seek(0, io.SEEK_END) == size


def test_nothing_of_the_content_is_in_the_sealed_file() -> None:
    assert b"PATIENT" not in sealed(b"PATIENT " * 10_000)


def test_the_same_content_is_never_sealed_the_same_way() -> None:
    assert sealed(b"content")[HEADER.size :] != sealed(b"content")[HEADER.size :]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, HEADER.size + 2 * (CHUNK + TAG) - 1), bit=st.integers(0, 7))
def test_one_bit_flipped_anywhere_is_noticed(place: int, bit: int) -> None:
    content = bytearray(sealed(bytes(2 * CHUNK)))
    content[place] ^= 1 << bit
    with pytest.raises(SealBrokenError):
        unsealed(bytes(content)).read()


@pytest.mark.parametrize("left", [0, 10, HEADER.size, HEADER.size + 5, HEADER.size + CHUNK + TAG, -1])
def test_an_end_that_is_cut_off_is_noticed(left: int) -> None:
    with pytest.raises(SealBrokenError):
        unsealed(sealed(bytes(2 * CHUNK))[:left]).read()


def test_chunks_that_change_places_are_noticed() -> None:
    content = sealed(bytes(3 * CHUNK))
    chunks = [content[HEADER.size + number * (CHUNK + TAG) :][: CHUNK + TAG] for number in range(3)]
    for order in itertools.permutations(range(3)):
        changed = content[: HEADER.size] + b"".join(chunks[number] for number in order)
        if order != (0, 1, 2):
            with pytest.raises(SealBrokenError):
                unsealed(changed).read()


def test_a_plain_file_is_not_taken_for_a_sealed_one() -> None:
    with pytest.raises(SealBrokenError, match="is not sealed"):
        unsealed(b"plain" * 100)


def test_the_master_key_is_changed_without_writing_an_object_again(keys: Path) -> None:
    before = sealed(b"content")
    old = keys.read_text()
    keys.write_text(f"{'ab' * 32}\n{old}")
    forget()
    assert unsealed(before).read() == b"content"
    call_command("keys", "rotate", stdout=io.StringIO())
    keys.write_text("ab" * 32)
    forget()
    assert unsealed(before).read() == b"content"
    keys.write_text(old)
    forget()
    with pytest.raises(ImproperlyConfigured, match="sealed under the master key"):
        unsealed(before)


def test_a_sealing_key_that_was_altered_in_the_database_is_said() -> None:
    before = sealed(b"content")
    key = SealingKey.objects.get()
    key.wrapped = bytes(key.wrapped)[:-1] + bytes([bytes(key.wrapped)[-1] ^ 1])
    key.save()
    forget()
    with pytest.raises(ImproperlyConfigured, match="was altered"):
        unsealed(before)


@pytest.mark.parametrize("text", ["", "short", "zz" * 32, "ab" * 31])
def test_a_master_key_that_is_none_is_said(keys: Path, text: str) -> None:
    keys.write_text(text)
    forget()
    with pytest.raises(ImproperlyConfigured, match="64 hexadecimal digits"):
        master_key.masters()


def test_a_key_that_is_made_is_for_its_owner_alone(keys: Path) -> None:
    master_key.masters()
    assert keys.stat().st_mode & 0o777 == 0o600
