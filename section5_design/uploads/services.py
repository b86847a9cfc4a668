"""Create, ingest, cancel and erase uploads."""

import contextlib
from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Q, QuerySet
from django.dispatch import receiver

from accounts.access import OPERATE, get_teams
from archive.models import Study
from archive.signals import instances_erased
from archive.spool import map_disk_full
from uploads.models import Upload, UploadFile
from uploads.unpack import ingest_upload


def visible_uploads(user: Any) -> QuerySet[Upload]:
    """Return the uploads that a user may see."""
    if user.has_perm(OPERATE):
        return Upload.objects.all()
    return Upload.objects.filter(Q(user=user) | Q(group__in=get_teams(user)))


def create_upload(user: Any, group: Group | None = None) -> Upload:
    """Create an empty upload."""
    return Upload.objects.create(user=user, group=group)


def create_file(upload: Upload, name: str, size: int) -> UploadFile:
    """Create a file of an upload, without its bytes.

    Raises:
        StorageFullError: the disk is full.

    """
    file = UploadFile.objects.create(upload=upload, name=name.replace("\0", "")[-300:] or "unnamed", size=size)
    with map_disk_full():
        file.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.path.touch(mode=0o600)
    return file


def receive_files(user: Any, group: Group | None, files: Iterable[UploadedFile]) -> Upload:
    """Create an upload of files that a form sent, and ingest them."""
    upload = create_upload(user, group)
    for sent in files:
        file = create_file(upload, str(sent.name), sent.size or 0)
        with map_disk_full(), file.path.open("wb") as target:
            for part in sent.chunks():
                target.write(part)
        ingest_upload(file)
    return upload


def cancel(file: UploadFile) -> None:
    """Cancel an unfinished file and remove its bytes."""
    with contextlib.suppress(FileNotFoundError):
        file.path.unlink()
    file.state = UploadFile.State.CANCELLED
    file.save()


@receiver(instances_erased)
def erase_files(instance_ids: list[int], study: Study, **_: Any) -> None:  # noqa: ARG001
    """Delete the files of erased instances, and the names of archives that contained them: they may name patients."""
    files = UploadFile.objects.filter(instance__in=instance_ids)
    uploads = set(files.values_list("upload", flat=True))
    files.delete()
    UploadFile.objects.filter(upload__in=uploads, state=UploadFile.State.EXTRACTED).update(name="(erased)")
    Upload.objects.filter(pk__in=uploads, files=None).delete()
