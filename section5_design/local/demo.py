"""The demo: send real DICOM files over C-STORE and HTTP, and show the progress of each."""

import http.client
import io
import sys
import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from django.db import connection
from pydicom.uid import generate_uid

if TYPE_CHECKING:
    from local.supervisor import Supervisor

PATIENCE = 60  # seconds until all results must be in
NAMES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "JPEG2000.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "MR_small_RLE.dcm",
    "liver_1frame.dcm",
    "reportsi.dcm",
    "JPGExtended.dcm",
)
STATES = """
    SELECT source, modality, job.state, job.attempts, left(instance.sop_instance_uid, 30), size,
        figures ->> 'average_before_normalization', figures ->> 'number_of_frames', job.reason
    FROM archive_instance AS instance
    JOIN analysis_job AS job ON job.instance_id = instance.id
    JOIN archive_series AS series ON series.id = series_id
    LEFT JOIN analysis_result AS result ON result.instance_id = instance.id AND NOT superseded
    WHERE instance.received_at >= %s ORDER BY instance.id
"""


def send_and_show(http_port: int, dicom_port: int, supervisor: "Supervisor") -> int:
    """Send half of the files over each interface and show a live table until each has its result; 0 if all have."""
    files = samples()
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        since = cursor.fetchone()[0]
    wait_for_port(http_port)
    wait_for_port(dicom_port)
    half = len(files) // 2
    sent = send_dicom(dicom_port, files[:half]) + send_http(http_port, files[half:])
    print(f"{sent} of {len(files)} files sent and acknowledged: {half} over C-STORE, {len(files) - half} over HTTP\n")
    started, drawn = time.monotonic(), 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(STATES, (since,))
            rows = cursor.fetchall()
        open_ = [row for row in rows if row[2] in ("queued", "running")]
        waited = time.monotonic() - started
        if sys.stdout.isatty() or not open_ or waited > PATIENCE:
            drawn = draw(rows, drawn)
        if not open_ or waited > PATIENCE:
            break
        time.sleep(0.2)
    done = sum(row[2] == "done" for row in rows)
    print(f"\n{done} results, {len(rows) - done - len(open_)} quarantined, after {waited:.1f} seconds", flush=True)
    del supervisor
    return 0 if sent == len(files) == len(rows) and not open_ else 1


def samples() -> list[bytes]:
    """Return pydicom's sample files, some compressed or in colour, and a generated one of 40 frames."""
    from pydicom.data import get_testdata_file

    made = []
    for name in NAMES:
        path = get_testdata_file(name, download=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(str(path))
            # Each run sends new instances; the same ones would be duplicates.
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            target = io.BytesIO()
            dataset.save_as(target)
        made.append(target.getvalue())
    return [*made, many_frames(40)]


def many_frames(frames: int) -> bytes:
    """Generate a multi-frame CT of a moving gradient."""
    from pydicom.data import get_testdata_file

    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    ramp = np.add.outer(np.arange(256), np.arange(256)).astype(np.uint16)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Rows = dataset.Columns = 256
    dataset.NumberOfFrames, dataset.PixelRepresentation = frames, 0
    dataset.PixelData = np.stack([np.roll(ramp, number * 6, axis=1) for number in range(frames)]).tobytes()
    target = io.BytesIO()
    dataset.save_as(target)
    return target.getvalue()


def send_dicom(port: int, files: list[bytes]) -> int:
    """Send files over C-STORE; return how many were acknowledged."""
    from pynetdicom import AE

    datasets = [pydicom.dcmread(io.BytesIO(file)) for file in files]
    entity = AE(ae_title="DEMO")
    for dataset in datasets:
        entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title="SECTION5")
    statuses = [association.send_c_store(dataset) for dataset in datasets] if association.is_established else []
    association.release()
    return sum(status.get("Status") == 0 for status in statuses)


def send_http(port: int, files: list[bytes]) -> int:
    """Send files in one STOW-RS request; return how many were acknowledged."""
    import json

    boundary = "a-boundary"
    parts = [f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + file + b"\r\n" for file in files]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("POST", "/dicom-web/studies", body, {"Content-Type": kind})
    response = json.loads(client.getresponse().read())
    client.close()
    return len(response.get("00081199", {}).get("Value", []))


def wait_for_port(port: int) -> None:
    """Wait until a port is open."""
    import socket

    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


def draw(rows: list[tuple[object, ...]], drawn: int) -> int:
    """Draw the table over the previous one; return its number of lines."""
    lines = [f"{'sent by':<16} {'kind':<4} {'bytes':>9} {'frames':>6} {'state':<11} {'average':>10}  instance"]
    for source, modality, state, _, uid, size, average, frames, reason in rows:
        shown = f"{float(str(average)):10.2f}" if average else f"{'':10}"
        note = f"{uid}…" if not reason else str(reason)
        lines.append(f"{source!s:<16} {modality!s:<4} {size:>9,} {frames or '':>6} {state!s:<11} {shown}  {note}")
    if drawn and sys.stdout.isatty():
        print(f"\x1b[{drawn}A\x1b[J", end="")
    print("\n".join(lines), flush=True)
    return len(lines)
