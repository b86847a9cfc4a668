"""Send over HTTP: STOW-RS (PS3.18, 10.5), and webhooks signed as standardwebhooks.com describes."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from archive.encryption import decrypt_text
from delivery.errors import RefusedError, UnavailableError
from delivery.models import Delivery, Destination

ANSWER_SECONDS = 60
MAX_ANSWER = 1 << 20  # bytes
CHUNK = 1 << 18
TRY_AGAIN = (408, 425, 429)
FAILURES, FAILURE_REASON = ("00081198", "0008119A"), "00081197"  # instances, and others
OUT_OF_RESOURCES = range(0xA700, 0xA800)


def send_stow(destination: Destination, path: Path) -> None:
    """Send a file to a STOW-RS service.

    Raises:
        RefusedError: it refused the instance.
        UnavailableError: it cannot be reached, or did not answer completely.

    """
    boundary = uuid.uuid4().hex
    start = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    end = f"\r\n--{boundary}--\r\n".encode()
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Content-Length": str(len(start) + path.stat().st_size + len(end)),
        "Accept": "application/dicom+json",
    }
    if destination.secret:
        headers["Authorization"] = f"Bearer {decrypt_text(bytes(destination.secret))}"
    status, answer = post(f"{destination.url.rstrip('/')}/studies", iter_body(start, path, end), headers)
    if reason := find_failure(answer):
        if reason in OUT_OF_RESOURCES:
            raise UnavailableError(f"is out of resources (reason {reason:04X})")
        raise RefusedError(f"refused the instance (HTTP {status}, reason {reason:04X})")
    check_status(status)


def iter_body(start: bytes, path: Path, end: bytes) -> Iterator[bytes]:
    """Iterate over the parts of a body."""
    yield start
    with path.open("rb") as file:
        while part := file.read(CHUNK):
            yield part
    yield end


def find_failure(answer: bytes) -> int:
    """Return the failure reason of a response's first failed instance; 0 if it names none."""
    try:
        document = json.loads(answer)
        items = next(document[sequence]["Value"] for sequence in FAILURES if sequence in document)
        return int(items[0][FAILURE_REASON]["Value"][0])
    except (ValueError, LookupError, TypeError, StopIteration):
        return 0


def send_webhook(delivery: Delivery, event: Mapping[str, Any]) -> None:
    """Send an event, signed.

    Its `webhook-id` is the same each time it is sent, so that a receiver recognises a repetition.

    Raises:
        RefusedError: it refused the event.
        UnavailableError: it cannot be reached, or did not answer completely.

    """
    body = json.dumps(event).encode()
    name, moment = f"delivery-{delivery.pk}", str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "webhook-id": name,
        "webhook-timestamp": moment,
        "webhook-signature": sign(decrypt_text(bytes(delivery.destination.secret)), name, moment, body),
    }
    status, _ = post(delivery.destination.url, [body], headers)
    check_status(status)


def sign(secret: str, name: str, moment: str, body: bytes) -> str:
    """Sign an event with HMAC-SHA256."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{name}.{moment}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def post(url: str, body: Iterable[bytes], headers: dict[str, str]) -> tuple[int, bytes]:
    """Send a POST request; return status and body. Redirections are not followed.

    Raises:
        UnavailableError: no complete answer came.

    """
    target = urlsplit(url)
    connect = HTTPSConnection if target.scheme == "https" else HTTPConnection
    client = connect(target.hostname or "", target.port, timeout=ANSWER_SECONDS)
    try:
        client.request("POST", target.path + (f"?{target.query}" if target.query else ""), body, headers)
        response = client.getresponse()
        answer = response.read(MAX_ANSWER)
        if response.length and len(answer) < MAX_ANSWER:
            raise IncompleteRead(answer, response.length)
        return response.status, answer
    except (HTTPException, OSError) as error:
        raise UnavailableError(f"cannot be reached, or did not answer completely ({type(error).__name__})") from None
    finally:
        client.close()


def check_status(status: int) -> None:
    """Check an HTTP status.

    Raises:
        RefusedError: it refused.
        UnavailableError: it is not able to answer now.

    """
    if status >= 500 or status in TRY_AGAIN:
        raise UnavailableError(f"answered HTTP {status}")
    if not 200 <= status < 300:
        raise RefusedError(f"answered HTTP {status}")
