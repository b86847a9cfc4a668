"""The entries of a folder: how many, their names, and on request what they are."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from errors import InputError, printable
from errors import os_error_text as reason

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "device",
    stat.S_IFCHR: "device",
}


@dataclass(frozen=True)
class Entry:
    """One element of a folder.

    `name` is as the file system has it; bytes that are not UTF-8 stand in it as surrogates (PEP 383). The rest is
    filled in only when details were asked for; `size` is in bytes, `modified` in local time.
    """

    name: str
    kind: str | None = None
    size: int | None = None
    modified: datetime | None = None

    def as_facts(self) -> dict[str, object]:
        """What `--json` shows; `name` is printable, and `name_bytes` (hex) finds the file where that lost something."""
        facts: dict[str, object] = {"name": printable(self.name)}
        if facts["name"] != self.name:
            facts["name_bytes"] = os.fsencode(self.name).hex()
        if self.kind is not None:
            facts |= {"kind": self.kind, "size": self.size}
            facts["modified"] = self.modified.isoformat(timespec="seconds") if self.modified else None
        return facts


def details_of(item: os.DirEntry[str]) -> Entry:
    """One entry with kind, size and time; a link says where its target is missing, never an exception."""
    try:
        status = item.stat(follow_symlinks=False)
    except OSError:
        return Entry(item.name, "unreadable")
    kind = KINDS.get(stat.S_IFMT(status.st_mode), "other")
    if item.is_symlink():
        kind = "link" if Path(item.path).exists() else "broken link"
    return Entry(item.name, kind, status.st_size, _local_time(status.st_mtime))


def _local_time(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds).astimezone()
    except (OverflowError, ValueError, OSError):  # a file system can hold years that datetime cannot
        return None


def entries_of(path: Path, *, details: bool = False) -> list[Entry]:
    """All entries of a folder, hidden ones too, sorted by name.

    Raises:
        InputError: the path is not a folder, or its entries may not be read.

    """
    try:
        with os.scandir(path) as items:
            found = [details_of(item) if details else Entry(item.name) for item in items]
    except NotADirectoryError as error:
        raise InputError(
            None, f"{printable(str(path))}: is a file, not a folder; name the folder that holds it"
        ) from error
    except FileNotFoundError as error:
        raise InputError(None, f"{printable(str(path))}: no such folder; check the path") from error
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise InputError(
            None, f"{printable(str(path))}: the folder cannot be read ({why}); check its permissions"
        ) from error
    return sorted(found, key=lambda entry: entry.name)


def size_for_people(size: int) -> str:
    """Bytes in the unit that keeps the number short, in powers of 1024: 512 B, 1.4 KiB, 3.0 GiB."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1023.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} PiB"


def report_lines(path: Path, entries: list[Entry]) -> Iterator[str]:
    """The listing as a person reads it."""
    yield f"{printable(str(path))}: {len(entries):,} {'element' if len(entries) == 1 else 'elements'}"
    for entry in entries:
        if entry.kind is None:
            yield f"  {printable(entry.name)}"
            continue
        size = "" if entry.size is None else size_for_people(entry.size)
        time = entry.modified.strftime("%Y-%m-%d %H:%M") if entry.modified else ""
        yield f"  {entry.kind:<11}  {size:>10}  {time:<16}  {printable(entry.name)}"
