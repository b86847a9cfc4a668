"""The error that the section's modules raise on bad input, and what several of them need."""

from pathlib import Path


class InputError(Exception):
    """Input that cannot be used: what is wrong, where, and what to do.

    Attributes:
        path: The file or folder; None where the input is not a file.
        problem: What is wrong, without the path ("not a DICOM file (no DICM prefix at byte 128)").
        advice: What to do about it ("check the path"); may be empty.
        line: The line of a text file, from 1; None where there is none.
    """

    def __init__(self, path: Path | str | None, problem: str, advice: str = "", line: int | None = None) -> None:
        super().__init__(path, problem, advice, line)
        self.path, self.problem, self.advice, self.line = path, problem, advice, line

    def __str__(self) -> str:
        """Return the message as one line that is safe on a terminal."""
        place = "" if self.path is None else f"{printable(str(self.path))}: "
        line = "" if self.line is None else f"line {self.line:,}: "
        return f"{place}{line}{self.problem}" + (f"; {self.advice}" if self.advice else "")


def printable(text: str) -> str:
    r"""Return `text` with control characters and undecodable bytes (surrogates) as `\x1b`, `\udce9`.

    File names and file contents are untrusted: an escape sequence in one of them must not act on the terminal.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def count_noun(number: int, noun: str) -> str:
    """Return `1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def os_error_text(error: OSError) -> str:
    """Return the system's description of an error, without the path that `str(error)` repeats."""
    return (error.strerror or type(error).__name__).lower()


def require_regular_file(path: Path) -> Path:
    """Return `path` if it is a file, not a folder, a pipe or a device (reading a pipe could block forever)."""
    try:
        if path.is_file():
            return path
        exists = path.exists()
    except (OSError, ValueError) as error:
        raise InputError(path, "cannot be reached", "check the path") from error
    if not exists:
        raise InputError(path, "no such file", "check the path and the file's name")
    if path.is_dir():
        raise InputError(path, "is a folder", "name a file inside it")
    raise InputError(path, "not a regular file (a pipe or a device)", "copy it to a file first")
