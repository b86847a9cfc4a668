"""The one error that the section's modules raise on bad input."""

from pathlib import Path


class InputError(Exception):
    """Input that cannot be read: one line that says what is wrong, where, and what to do."""


def printable(text: str) -> str:
    r"""Text that is safe on a terminal: control characters and undecodable bytes (surrogates) become `\x1b`, `\udce9`.

    File names and file contents are somebody else's: an escape sequence in one of them must not act on the terminal.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def reason(error: OSError) -> str:
    """The system's word for what went wrong, without the path that `str(error)` repeats."""
    return (error.strerror or type(error).__name__).lower()


def regular_file(path: Path) -> Path:
    """Return `path` when it can be read as a file.

    Raises:
        InputError: there is none, or it is a folder, a pipe or a device (reading a pipe could wait for ever).

    """
    try:
        mode_is_file = path.is_file()
        exists = mode_is_file or path.exists()
    except (OSError, ValueError) as error:
        raise InputError(f"{printable(str(path))}: cannot be reached; check the path") from error
    if not exists:
        raise InputError(f"{printable(str(path))}: no such file; check the path and the file's name")
    if path.is_dir():
        raise InputError(f"{printable(str(path))}: is a folder; name a file inside it")
    if not mode_is_file:
        raise InputError(f"{printable(str(path))}: is not a regular file (a pipe or a device); copy it to a file first")
    return path
