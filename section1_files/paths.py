"""Checks of the paths that a user names."""

from pathlib import Path

from errors import InputError


def require_regular_file(path: Path) -> Path:
    """Return `path` when it can be read as a file.

    Raises:
        InputError: The path does not exist, or is a folder, a pipe or a device (reading a pipe could block forever).

    """
    try:
        is_file = path.is_file()
        exists = is_file or path.exists()
    except (OSError, ValueError) as error:
        raise InputError(path, "cannot be reached", "check the path") from error
    if not exists:
        raise InputError(path, "no such file", "check the path and the file's name")
    if path.is_dir():
        raise InputError(path, "is a folder", "name a file inside it")
    if not is_file:
        raise InputError(path, "not a regular file (a pipe or a device)", "copy it to a file first")
    return path
