"""A file that has arrived whole: taken in by the one way in, or opened where it is an archive of files."""

import contextlib
import logging
import zipfile
import zlib
from collections.abc import Iterator

from archive.spool import Spooled, StorageFullError, spooled
from ingest.accept import accept
from ingest.validation import RefusedError
from portal.models import Item

log = logging.getLogger("section5.portal")

CHUNK = 1 << 20
MOST_MEMBERS = 100_000
LARGEST_ARCHIVE = 64 << 30  # bytes of all members together
HIGHEST_RATIO = 200  # of a member's size to its compressed size; DICOM files reach about 20


def take(item: Item) -> None:
    """Take in what an item gathered, or say why not. The file is gone afterwards.

    Raises:
        OSError, OperationalError, InterfaceError: not now; the file stays, and the last request can be sent again.

    """
    if zipfile.is_zipfile(item.path):
        take_members(item)
        item.path.unlink(missing_ok=True)
        return
    with item.path.open("rb") as arrived, spooled() as file:
        while part := arrived.read(CHUNK):
            file.write(part)
        keep(item, file)
    item.path.unlink(missing_ok=True)


def keep(item: Item, file: Spooled) -> None:
    """Take a file in as an item."""
    try:
        accepted = accept(file, f"user:{item.upload.user.get_username()}")
    except RefusedError as error:
        item.state, item.reason = Item.State.REFUSED, str(error)
    else:
        item.state, item.instance_id = Item.State(accepted.outcome), accepted.instance_id
    item.save()


def take_members(item: Item) -> None:
    """Take in each file of a zip. Names are only shown, never used as paths; sizes are counted, not believed."""
    try:
        with zipfile.ZipFile(item.path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            check_members(members)
            for member in members:
                take_member(item, archive, member)
    except RefusedError as error:
        item.state, item.reason = Item.State.REFUSED, str(error)
    except (zipfile.BadZipFile, NotImplementedError):
        item.state, item.reason = Item.State.REFUSED, "is no zip file that can be opened"
    else:
        item.state = Item.State.OPENED
    item.save()


def check_members(members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive that would become more than anyone sends.

    Raises:
        RefusedError: it has too many members, or they are too large together.

    """
    if len(members) > MOST_MEMBERS:
        raise RefusedError(f"holds more than {MOST_MEMBERS:,} files")
    if sum(member.file_size for member in members) > LARGEST_ARCHIVE:
        raise RefusedError(f"holds more than {LARGEST_ARCHIVE >> 30} GB")


def take_member(item: Item, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Take in one file of a zip as an item of its own."""
    name = f"{item.name}/{member.filename}"[-300:].replace("\0", "")
    own = Item(upload=item.upload, name=name, size=member.file_size)
    try:
        with spooled() as file:
            for part in parts_of(archive, member):
                file.write(part)
            keep(own, file)
    except (RefusedError, StorageFullError) as error:
        own.state, own.reason = Item.State.REFUSED, str(error)
        own.save()


def parts_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """A member's content in parts.

    Raises:
        RefusedError: it is encrypted, broken, or far larger than its compressed size allows.

    """
    if member.flag_bits & 1:
        raise RefusedError("is encrypted")
    size, most = 0, max(1 << 20, member.compress_size * HIGHEST_RATIO)
    try:
        with archive.open(member) as content:
            while part := content.read(CHUNK):
                size += len(part)
                if size > most:
                    raise RefusedError(f"is more than {HIGHEST_RATIO} times as large as its compressed form")
                yield part
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        raise RefusedError("is broken inside of its zip") from None


def forget(item: Item) -> None:
    """Let go of an upload that is not wanted any more."""
    with contextlib.suppress(FileNotFoundError):
        item.path.unlink()
    item.state = Item.State.CANCELLED
    item.save()
