"""The entries of a folder: names, and on request kind, size and time."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from errors import InputError, count_noun, os_error_text, printable

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
KINDS |= {stat.S_IFBLK: "device", stat.S_IFCHR: "device"}


@dataclass(frozen=True)
class Entry:
    """One element of a folder.

    `name` is as the file system has it, with bytes that are not UTF-8 as surrogates (PEP 383). The other fields are
    None unless details are requested; `size` is in bytes, `modified` in local time.
    """

    name: str
    kind: str | None = None
    size: int | None = None
    modified: datetime | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the content of `--json`: a printable `name`, and `name_bytes` (hex) if it is not printable."""
        result: dict[str, object] = {"name": printable(self.name)}
        if result["name"] != self.name:
            result["name_bytes"] = os.fsencode(self.name).hex()
        if self.kind is not None:
            modified = self.modified and self.modified.isoformat(timespec="seconds")
            result |= {"kind": self.kind, "size": self.size, "modified": modified}
        return result


def read_details(item: os.DirEntry[str]) -> Entry:
    """Return an entry with kind, size and time; a link without a target is a "broken link"."""
    try:
        status = item.stat(follow_symlinks=False)
    except OSError:
        return Entry(item.name, "unreadable")
    kind = KINDS.get(stat.S_IFMT(status.st_mode), "other")
    if item.is_symlink():
        kind = "link" if Path(item.path).exists() else "broken link"
    try:
        modified = datetime.fromtimestamp(status.st_mtime).astimezone()
    except (OverflowError, ValueError, OSError):  # a file system can hold years that datetime cannot
        modified = None
    return Entry(item.name, kind, status.st_size, modified)


def list_entries(path: Path, *, details: bool = False) -> list[Entry]:
    """Return all entries of a folder, hidden ones too, sorted by name."""
    try:
        with os.scandir(path) as items:
            found = [read_details(item) if details else Entry(item.name) for item in items]
    except NotADirectoryError as error:
        raise InputError(path, "a file, not a folder", "name the folder that holds it") from error
    except FileNotFoundError as error:
        raise InputError(path, "no such folder", "check the path") from error
    except (OSError, ValueError) as error:
        reason = os_error_text(error) if isinstance(error, OSError) else str(error)
        raise InputError(path, f"the folder cannot be read ({reason})", "check its permissions") from error
    return sorted(found, key=lambda entry: entry.name)


def format_size(size: int) -> str:
    """Return a size in the unit that keeps the number short, in powers of 1024: 512 B, 1.4 KiB, 3.0 GiB."""
    value, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1023.95 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{size} B" if units[0] == "B" else f"{value:.1f} {units[0]}"


def report_lines(path: Path, entries: list[Entry]) -> Iterator[str]:
    """Yield the lines of the listing."""
    yield f"{printable(str(path))}: {count_noun(len(entries), 'element')}"
    for entry in entries:
        if entry.kind is None:
            yield f"  {printable(entry.name)}"
            continue
        size = "" if entry.size is None else format_size(entry.size)
        time = entry.modified.strftime("%Y-%m-%d %H:%M") if entry.modified else ""
        yield f"  {entry.kind:<11}  {size:>10}  {time:<16}  {printable(entry.name)}"
