"""Objects are encrypted; reading returns what was written, or reports the change."""

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

from archive import encryption, master_key
from archive.encryption import CHUNK, HEADER, TAG, EncryptingWriter, ObjectIntegrityError, decrypting_reader
from archive.models import KeyEncryptionKey

pytestmark = pytest.mark.django_db
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7)


def clear_caches() -> None:
    for cached in (encryption.wrapping_key, encryption.key_by_id, master_key.load_master_keys):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, settings: Any) -> Iterator[Path]:
    settings.MASTER_KEY, settings.MASTER_KEY_FILE = "", str(tmp_path / "master")
    clear_caches()
    yield tmp_path / "master"
    clear_caches()


def encrypt(content: bytes, part: int = 100_000) -> bytes:
    target = io.BytesIO()
    writer = EncryptingWriter(target)
    for place in range(0, len(content), part):
        writer.write(content[place : place + part])
    writer.finish()
    return target.getvalue()


def decrypt(content: bytes) -> BinaryIO:
    return decrypting_reader(io.BytesIO(content))


@pytest.mark.parametrize("size", SIZES)
def test_encrypted_content_is_read_back(size: int) -> None:
    content = os.urandom(size)
    assert decrypt(encrypt(content)).read() == content


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), size=st.sampled_from(SIZES), part=st.integers(1, 2 * CHUNK))
def test_random_access_equals_a_plain_file(data: st.DataObject, size: int, part: int) -> None:
    content = os.urandom(size)
    ours, plain = decrypt(encrypt(content, max(part, 100))), io.BytesIO(content)
    for _ in range(5):
        place, count = data.draw(st.integers(0, size + 10)), data.draw(st.integers(0, size + 10))
        assert (ours.seek(place), ours.read(count)) == (plain.seek(place), plain.read(count))
    assert ours.seek(0, io.SEEK_END) == size


def test_the_file_contains_no_plaintext() -> None:
    assert b"PATIENT" not in encrypt(b"PATIENT " * 10_000)


def test_equal_content_is_never_encrypted_equally() -> None:
    assert encrypt(b"content")[HEADER.size :] != encrypt(b"content")[HEADER.size :]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, HEADER.size + 2 * (CHUNK + TAG) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_detected(place: int, bit: int) -> None:
    content = bytearray(encrypt(bytes(2 * CHUNK)))
    content[place] ^= 1 << bit
    with pytest.raises(ObjectIntegrityError):
        decrypt(bytes(content)).read()


@pytest.mark.parametrize("left", [0, 10, HEADER.size, HEADER.size + 5, HEADER.size + CHUNK + TAG, -1])
def test_truncation_is_detected(left: int) -> None:
    with pytest.raises(ObjectIntegrityError):
        decrypt(encrypt(bytes(2 * CHUNK))[:left]).read()


def test_swapped_chunks_are_detected() -> None:
    content = encrypt(bytes(3 * CHUNK))
    chunks = [content[HEADER.size + number * (CHUNK + TAG) :][: CHUNK + TAG] for number in range(3)]
    for order in itertools.permutations(range(3)):
        changed = content[: HEADER.size] + b"".join(chunks[number] for number in order)
        if order != (0, 1, 2):
            with pytest.raises(ObjectIntegrityError):
                decrypt(changed).read()


def test_a_plain_file_is_not_accepted() -> None:
    with pytest.raises(ObjectIntegrityError, match="is not encrypted"):
        decrypt(b"plain" * 100)


def test_rotating_the_master_key_rewrites_no_object(keys: Path) -> None:
    before = encrypt(b"content")
    old = keys.read_text()
    keys.write_text(f"{'ab' * 32}\n{old}")
    clear_caches()
    assert decrypt(before).read() == b"content"
    call_command("keys", "rotate", stdout=io.StringIO())
    keys.write_text("ab" * 32)
    clear_caches()
    assert decrypt(before).read() == b"content"
    keys.write_text(old)
    clear_caches()
    with pytest.raises(ImproperlyConfigured, match="encrypted under master key"):
        decrypt(before)


def test_an_altered_key_in_the_database_is_reported() -> None:
    before = encrypt(b"content")
    key = KeyEncryptionKey.objects.get()
    key.wrapped = bytes(key.wrapped)[:-1] + bytes([bytes(key.wrapped)[-1] ^ 1])
    key.save()
    clear_caches()
    with pytest.raises(ImproperlyConfigured, match="was altered"):
        decrypt(before)


@pytest.mark.parametrize("text", ["", "short", "zz" * 32, "ab" * 31])
def test_an_invalid_master_key_is_reported(keys: Path, text: str) -> None:
    keys.write_text(text)
    clear_caches()
    with pytest.raises(ImproperlyConfigured, match="64 hexadecimal digits"):
        master_key.load_master_keys()


def test_a_created_master_key_is_private(keys: Path) -> None:
    master_key.load_master_keys()
    assert keys.stat().st_mode & 0o777 == 0o600


def test_a_key_is_replaced_when_its_uses_are_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "RESERVED_USES", 2)
    monkeypatch.setattr(encryption, "MAX_USES", 4)
    files = [encrypt(b"content") for _ in range(10)]
    assert KeyEncryptionKey.objects.count() == 3
    assert set(KeyEncryptionKey.objects.values_list("uses", flat=True)) == {4, 2}
    assert [decrypt(file).read() for file in files] == [b"content"] * 10
