"""A running Orthanc that can be killed and started again on the same data."""

import contextlib
import http.client
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from system import free_port, listens, needs, until

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


class Orthanc:
    """Orthanc as a PACS, with its AE title ORTHANC."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.http, self.dicom = free_port(), free_port()
        configuration = {
            "StorageDirectory": str(folder / "orthanc"),
            "HttpPort": self.http,
            "DicomPort": self.dicom,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowStore": True,
            "Plugins": [],
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "orthanc.json"
        self._file.write_text(json.dumps(configuration | options))
        self._program = needs("Orthanc", "orthanc", path=os.environ["PATH"] + ":/usr/sbin")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Orthanc":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([self._program, str(self._file)], **silent)  # type: ignore[call-overload]
        until(lambda: listens(self.http) and listens(self.dicom))

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def ask(self, path: str, body: Any = None) -> Any:
        """GET a resource, or POST a document to it."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.http, timeout=60)) as client:
            client.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body))
            response = client.getresponse()
            assert response.status == 200, response.read()
            return json.loads(response.read())

    def instances(self) -> list[str]:
        """The SOP Instance UIDs that it stores, each as often as it stores it."""
        return sorted(one["MainDicomTags"]["SOPInstanceUID"] for one in self.ask("/instances?expand"))
