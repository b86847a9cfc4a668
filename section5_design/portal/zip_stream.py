"""Build a ZIP file of a study while it is sent, without temporary files and in little memory."""

import zipfile
from collections.abc import Iterator
from typing import Any

import orjson
from django.db.models import QuerySet

from analysis.models import Result
from archive.models import Instance
from archive.object_store import object_key, open_object

CHUNK = 1 << 18


class Pipe:
    """Collect written bytes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: Any) -> int:
        """Append bytes."""
        self._parts.append(bytes(part))
        return len(part)

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def out(self) -> bytes:
        """Return the bytes written since the last call."""
        taken, self._parts = b"".join(self._parts), []
        return taken


def zip_stream(instances: QuerySet[Instance]) -> Iterator[bytes]:
    """Generate a ZIP file of the instances, a folder for each study and series, each with its result and preview."""
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]  # it cannot seek
        for one in instances.iterator():
            name = f"study-{one.series.study_id}/series-{one.series_id}/{one.pk:08}-{one.sop_instance_uid}"
            with (
                open_object(object_key(one.sha256)) as source,
                archive.open(f"{name}.dcm", "w", force_zip64=True) as file,
            ):
                while part := source.read(CHUNK):
                    file.write(part)
                    yield pipe.out()
            if result := Result.objects.filter(instance=one).first():
                archive.writestr(f"{name}.json", orjson.dumps(result.figures))
                if result.preview:
                    with open_object(result.preview) as picture:
                        archive.writestr(f"{name}.png", picture.read())
            yield pipe.out()
    yield pipe.out()
