"""Fetch the OHIF viewer from the npm registry, with npm, which verifies it."""

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@ohif/app@3.12.10"
CONTENT = "package/dist/"
# Source maps, and the models of a segmentation that runs in the browser.
LEFT_OUT = (".map", ".br", ".gz")
LEFT_OUT_FOLDERS = ("ort/",)
# The package is built for the root of a server; here it is served below /viewer/.
ADDRESSES = (
    (b'__webpack_require__.p = "/"', b'__webpack_require__.p = "/viewer/"'),
    (b"PUBLIC_URL = '/'", b"PUBLIC_URL = '/viewer/'"),
    (b'src="/', b'src="/viewer/'),
    (b'href="/', b'href="/viewer/'),
    (b"url(/", b"url(/viewer/"),
)


class ViewerError(Exception):
    """The viewer cannot be fetched; the message says why."""


def fetch_viewer(folder: Path) -> None:
    """Fetch the viewer into a folder, in place of what was there.

    Raises:
        ViewerError: npm is missing, or does not reach its registry.

    """
    npm = shutil.which("npm")
    if npm is None:
        raise ViewerError("the viewer needs npm, which is not installed; everything else works without it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        command = [npm, "pack", PACKAGE, "--silent", "--pack-destination", name]
        try:
            subprocess.run(command, cwd=name, check=True, capture_output=True, timeout=600)  # noqa: S603
            (packed,) = Path(name).glob("*.tgz")
            unpack(packed, Path(name) / "viewer")
        except (OSError, subprocess.SubprocessError, ValueError, tarfile.TarError) as error:
            raise ViewerError(f"npm cannot fetch {PACKAGE} ({type(error).__name__})") from None
        shutil.rmtree(folder, ignore_errors=True)
        (Path(name) / "viewer").rename(folder)


def unpack(packed: Path, folder: Path) -> None:
    """Unpack the built viewer."""
    with tarfile.open(packed) as archive:
        for member in archive:
            name = member.name.removeprefix(CONTENT)
            if name == member.name or name.endswith(LEFT_OUT) or name.startswith(LEFT_OUT_FOLDERS):
                continue
            member.name = name
            archive.extract(member, folder, filter="data")
    for path in (*folder.glob("*.js"), *folder.glob("*.css"), folder / "index.html"):
        content = path.read_bytes()
        for built, served in ADDRESSES:
            content = content.replace(built, served)
        path.write_bytes(content)
