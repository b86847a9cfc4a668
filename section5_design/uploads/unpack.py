"""Ingest a complete upload: store the file, or extract a ZIP archive and store its members."""

import logging
import zipfile
import zlib
from collections.abc import Iterator

from archive.spool import StorageFullError
from ingest.header import RefusedError
from ingest.incoming import IncomingFile, incoming_file
from ingest.store import Sender, store_instance
from uploads.models import UploadFile

log = logging.getLogger("section5.uploads")

CHUNK = 1 << 20
MAX_MEMBERS = 100_000
MAX_ARCHIVE_BYTES = 64 << 30  # bytes, all members together
MAX_RATIO = 200  # of a member's size to its compressed size; DICOM files reach about 20


def ingest_upload(item: UploadFile) -> None:
    """Ingest a complete file, or record why it is refused; its bytes are removed afterwards.

    Raises:
        OSError, OperationalError, InterfaceError: not now; the bytes stay, and the last request can be repeated.

    """
    if zipfile.is_zipfile(item.path):
        extract(item)
        item.path.unlink(missing_ok=True)
        return
    with item.path.open("rb") as source, incoming_file() as file:
        while part := source.read(CHUNK):
            file.write(part)
        store_file(item, file)
    item.path.unlink(missing_ok=True)


def store_file(item: UploadFile, file: IncomingFile) -> None:
    """Store a spooled file and record the outcome."""
    try:
        upload = item.upload
        sender = Sender(f"user:{upload.user.get_username()}", upload.user_id, upload.group_id)
        stored = store_instance(file, sender)
    except RefusedError as error:
        item.state, item.reason = UploadFile.State.REFUSED, str(error)
    else:
        item.state, item.instance_id = UploadFile.State(stored.outcome), stored.instance_id
    item.save()


def extract(item: UploadFile) -> None:
    """Store each member of a ZIP archive. Names are only displayed, never used as paths; sizes are measured."""
    try:
        with zipfile.ZipFile(item.path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            check_members(members)
            item.members.all().delete()  # of an attempt that was interrupted
            for member in members:
                extract_member(item, archive, member)
    except RefusedError as error:
        item.state, item.reason = UploadFile.State.REFUSED, str(error)
    except (zipfile.BadZipFile, NotImplementedError):
        item.state, item.reason = UploadFile.State.REFUSED, "not a readable ZIP file"
    else:
        item.state = UploadFile.State.EXTRACTED
    item.save()


def check_members(members: list[zipfile.ZipInfo]) -> None:
    """Check the number and total size of the members.

    Raises:
        RefusedError: too many members, or too large in total.

    """
    if len(members) > MAX_MEMBERS:
        raise RefusedError(f"contains more than {MAX_MEMBERS:,} files")
    if sum(member.file_size for member in members) > MAX_ARCHIVE_BYTES:
        raise RefusedError(f"contains more than {MAX_ARCHIVE_BYTES >> 30} GB")


def extract_member(item: UploadFile, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Store one member of a ZIP archive as a file of its own."""
    name = f"{item.name}/{member.filename}"[-300:].replace("\0", "")
    own = UploadFile(upload=item.upload, parent=item, name=name, size=member.file_size)
    try:
        with incoming_file() as file:
            for part in read_member(archive, member):
                file.write(part)
            store_file(own, file)
    except (RefusedError, StorageFullError) as error:
        own.state, own.reason = UploadFile.State.REFUSED, str(error)
        own.save()


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Read a member in parts.

    Raises:
        RefusedError: it is encrypted, corrupt, or suspiciously larger than its compressed form.

    """
    if member.flag_bits & 1:
        raise RefusedError("is encrypted")
    size, most = 0, max(1 << 20, member.compress_size * MAX_RATIO)
    try:
        with archive.open(member) as content:
            while part := content.read(CHUNK):
                size += len(part)
                if size > most:
                    raise RefusedError(f"is more than {MAX_RATIO} times as large as its compressed form")
                yield part
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        raise RefusedError("is corrupt inside its ZIP file") from None
