"""Reading back, beside Orthanc with its DICOMweb plugin (Debian: orthanc, orthanc-dicomweb), in one run.

`reading.py prepare FOLDER` fills an Orthanc with 100,000 studies; `reading.py FOLDER` compares:
QIDO-RS over 100,000 studies, WADO-RS, C-GET and C-MOVE of a study of 500 images of 0.5 MB, and the memory of ours while
it sends 2 GB. In turns, medians.
"""

import contextlib
import http.client
import io
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]
os.environ["TCP_NODELAY"] = "1"  # DCMTK's tools and Orthanc read it

import numpy as np  # noqa: E402
import psutil  # noqa: E402
import pydicom  # noqa: E402
from pydicom.data import get_testdata_file  # noqa: E402
from pydicom.uid import UID, generate_uid  # noqa: E402

from local.embedded_postgres import EmbeddedPostgres  # noqa: E402
from system import System, database, family, free_port, instance, listens, public_folder, until  # noqa: E402

STUDIES, IMAGES, ROUNDS = 100_000, 500, 5
STUDY, LARGE = "1.2.3.4", "1.2.3.5"
MARK, MARKED_DATE = "777777777", "19000101"  # in the study of Orthanc that is copied
PLUGIN = "/usr/share/orthanc/plugins"
QUERIES = {
    "one patient": "PatientID=P4711",
    "a name with a wildcard": "PatientName=Doe4711*",
    "a name with a wildcard at its start": "PatientName=*4711*",
    "a day": "StudyDate=20200315&limit=100",
    "the first 100": "limit=100",
}
FILL = """
    INSERT INTO archive_study (uid, patient_id, patient_name, study_date, accession_number, study_description)
    SELECT '1.9.' || n, 'P' || n, 'Doe' || n || '^Jane', '2020' || to_char(1 + n %% 12, 'FM00') || to_char(1 + n %% 28,
        'FM00'), 'A' || n, 'Chest' FROM generate_series(1, %s) AS n;
    INSERT INTO archive_series (study_id, uid, modality, series_number)
        SELECT id, uid || '.1', 'CT', 1 FROM archive_study;
    INSERT INTO archive_instance (sop_instance_uid, sha256, series_id, sop_class_uid, transfer_syntax_uid, size,
        decoded_size, source, conflict) SELECT uid || '.1', md5(uid), id, '1.2.840.10008.5.1.4.1.1.2',
        '1.2.840.10008.1.2.1', 1000, 0, 'dicom:CT', false FROM archive_series;
    ANALYZE
"""


@contextlib.contextmanager
def orthanc(folder: Path, destination: int, *, sync: bool = True) -> Iterator[tuple[int, int]]:
    """Run an Orthanc with its DICOMweb plugin."""
    web, dicom = free_port(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    configuration = {"StorageDirectory": str(folder), "HttpPort": web, "DicomPort": dicom, "Plugins": [PLUGIN]}
    configuration |= {"AuthenticationEnabled": False, "DicomAet": "ORTHANC", "DicomAlwaysAllowStore": True}
    configuration |= {"DicomAlwaysAllowGet": True, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowMove": True}
    configuration |= {"DicomModalities": {"bench": ["BENCH", "127.0.0.1", destination]}, "DicomWeb": {"Enable": True}}
    configuration |= {"SyncStorageArea": sync, "StoreMD5ForAttachments": sync}
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    command = ["Orthanc", str(folder / "orthanc.json")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: listens(web) and listens(dicom))
            yield web, dicom
        finally:
            process.terminate()


def prepare(folder: Path) -> None:
    """Fill an Orthanc with as many studies as ours gets: one by its interface, the others as copies in its index."""
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    small = pydicom.Dataset()
    small.file_meta = dataset.file_meta
    small.SOPClassUID, small.Modality, small.SeriesNumber = dataset.SOPClassUID, "CT", 1
    small.StudyInstanceUID, small.SeriesInstanceUID = UID(f"1.9.{MARK}"), UID(f"1.9.{MARK}.1")
    small.SOPInstanceUID = small.file_meta.MediaStorageSOPInstanceUID = UID(f"1.9.{MARK}.1.1")
    small.PatientID, small.PatientName, small.AccessionNumber = f"P{MARK}", f"Doe{MARK}^Jane", f"A{MARK}"
    small.StudyDate, small.StudyDescription = MARKED_DATE, "Chest"
    target = io.BytesIO()
    small.save_as(target, enforce_file_format=True)
    with orthanc(folder, 1, sync=False) as (web, _):
        post(web, "/instances", target.getvalue())
    with contextlib.closing(sqlite3.connect(folder / "index")) as index, index:
        copy_study(index)


def copy_study(index: sqlite3.Connection) -> None:
    """Copy the only study of an index, with its patient, series and instance."""
    tables = {
        name: index.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
        for name in ("Resources", "MainDicomTags", "DicomIdentifiers", "Metadata", "AttachedFiles")
    }
    size = len(tables["Resources"])

    def change(value: Any, number: int) -> Any:
        date = f"2020{1 + number % 12:02}{1 + number % 28:02}"
        return value.replace(MARK, str(number)).replace(MARKED_DATE, date) if isinstance(value, str) else value

    def copies(name: str) -> Iterator[list[Any]]:
        for number in range(1, STUDIES + 1):
            for key, *values in tables[name]:
                row = [key + size * number, *(change(value, number) for value in values)]
                if name == "Resources":
                    row[2] = f"{number:08x}-{key:08x}-00000000-00000000-00000000"
                    row[3] = row[3] and row[3] + size * number
                yield row

    for name, rows in tables.items():
        places = ", ".join("?" * len(rows[0]))
        index.executemany(f"INSERT INTO {name} VALUES ({places})", copies(name))


def image(number: int, study: str = STUDY, times: int = 4) -> bytes:
    """Return an image of 0.5 MB."""
    source = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False))).pixel_array
    pixels = np.kron(source, np.ones((times, times), source.dtype)).tobytes()
    changes: dict[str, Any] = {"Rows": 128 * times, "Columns": 128 * times, "PixelData": pixels}
    changes |= {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "InstanceNumber": number}
    return instance(**changes, SOPInstanceUID=generate_uid())[1]


def post(port: int, path: str, content: bytes) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as client:
        client.request("POST", path, content, {"Content-Type": "application/dicom"})
        if client.getresponse().status != 200:
            sys.exit(f"{path} does not take an image")


def get(port: int, path: str, accept: str) -> tuple[float, int]:
    """Return the seconds and the bytes of a response."""
    start, size = time.perf_counter(), 0
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=600)) as client:
        client.request("GET", path, headers={"Accept": accept})
        response = client.getresponse()
        if response.status != 200:
            sys.exit(f"{path}: {response.status}")
        while part := response.read(1 << 20):
            size += len(part)
    return time.perf_counter() - start, size


def run_tool(*command: str) -> float:
    """Return the seconds that one of DCMTK's tools takes."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return time.perf_counter() - start


def compare(title: str, unit: str, peers: dict[str, Callable[[], float]]) -> None:
    """Print the medians of both, and their ratio."""
    found: dict[str, list[float]] = {name: [] for name in peers}
    for number in range(ROUNDS + 1):
        for name, measure in peers.items():
            value = measure()
            if number:  # the first warms up
                found[name].append(value)
    ours, theirs = (statistics.median(values) for values in found.values())
    print(f"{title}: section 5 {ours:.4g} {unit}, Orthanc {theirs:.4g} {unit}: {ours / theirs:.2f}", flush=True)


def main(folder: Path) -> None:
    System.web_processes = 2
    said = subprocess.run(["Orthanc", "--version"], capture_output=True, text=True, check=False).stdout.split("\n")[0]
    print(f"Python {platform.python_version()}, {said}, {psutil.cpu_count()} cores; medians of {ROUNDS}")
    destination = free_port()
    with public_folder() as ours_folder, EmbeddedPostgres(ours_folder / "data") as postgres:
        os.environ["DATABASE_URL"] = postgres.url
        with (
            database("reading") as url,
            System(ours_folder / "system", url) as ours,
            orthanc(folder, destination) as (web, dicom),
        ):
            ours.kill("worker")
            ours.kill("maintenance")
            for statement in FILL.split(";"):
                ours.query(statement, *([STUDIES] if "%s" in statement else []))
            for number in range(IMAGES):
                content = image(number)
                post(ours.http, "/dicom-web/studies", content)
                post(web, "/instances", content)
            command = [sys.executable, str(SECTION / "manage.py"), "ae", "add", "BENCH", "127.0.0.1"]
            more = ["--port", str(destination), "--group", "operators"]
            subprocess.run([*command, *more], env=ours.environment, check=True)
            for title, query in QUERIES.items():
                compare_queries(f"QIDO-RS, {title}", query, ours.http, web)
            path, accept = f"/dicom-web/studies/{STUDY}", 'multipart/related; type="application/dicom"'
            compare(
                "WADO-RS, 500 images of 0.5 MB",
                "MB/s",
                {
                    "ours": lambda: rate(*get(ours.http, path, f"{accept}; transfer-syntax=*")),
                    "theirs": lambda: rate(*get(web, path, accept)),
                },
            )
            key = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}", "-aet", "BENCH")
            for tool, options in (("getscu", ()), ("movescu", ("-aem", "BENCH", "+P", str(destination)))):
                words = [tool, "-S", "--ignore", *options, *key, "-aec"]
                compare(
                    f"{'C-GET' if tool == 'getscu' else 'C-MOVE'}, 500 images of 0.5 MB",
                    "images/s",
                    {
                        "ours": lambda words=words: (
                            IMAGES  # type: ignore[misc]
                            / run_tool(*words, "SECTION5", "127.0.0.1", str(ours.dicom))
                        ),
                        "theirs": lambda words=words: (
                            IMAGES  # type: ignore[misc]
                            / run_tool(*words, "ORTHANC", "127.0.0.1", str(dicom))
                        ),
                    },
                )
            show_memory(ours)


def compare_queries(title: str, query: str, ours: int, theirs: int) -> None:
    """Compare the time of a search for studies."""
    path, accept = f"/dicom-web/studies?{query}", "application/dicom+json"
    peers = {
        "ours": lambda: get(ours, path, accept)[0] * 1000,
        "theirs": lambda: get(theirs, path, accept)[0] * 1000,
    }
    compare(title, "ms", peers)


def rate(seconds: float, size: int) -> float:
    """Return megabytes a second."""
    return size / seconds / 1e6


def show_memory(ours: System) -> None:
    """Print the memory of the web part before, and at most while it sends a study of 2 GB."""
    for number in range(32):  # 64 MB each
        post(ours.http, "/dicom-web/studies", image(number, LARGE, 45))
    before = most = megabytes(ours.parts["web"].pid)
    path = f"/dicom-web/studies/{LARGE}"
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    size = 0
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", ours.http, timeout=600)) as client:
        client.request("GET", path, headers={"Accept": accept})
        response = client.getresponse()
        while part := response.read(1 << 26):
            size += len(part)
            most = max(most, megabytes(ours.parts["web"].pid))
    print(f"Memory: {before:.0f} MB before, at most {most:.0f} MB while a study of {size / 1e9:.1f} GB is sent")


def megabytes(pid: int) -> float:
    """Return the memory of a part's processes, what they share counted once."""
    return float(sum(one.memory_full_info().pss for one in family(pid))) / 2**20


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]))
