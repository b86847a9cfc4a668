"""Feed altered conversations to the DICOM upper layer and the header scanner; nothing may escape, nothing may leak.

python benchmarks/fuzz_receiver.py [--minutes M] [--seed N]. Each round takes a valid conversation (association, C-ECHO,
C-STORE of a sample file, N-ACTION, release), alters, repeats, drops or truncates some of it, and serves it. A round
fails if anything but ProtocolError and OSError is raised, if a file is left behind, if it takes over a second of CPU
time, or if the scanner finds other identifiers than pydicom.
"""

import argparse
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

SECTION = Path(__file__).parent.parent
sys.path[:0] = [str(SECTION), str(SECTION / "tests")]

import pydicom  # noqa: E402

from ingest.dimse import pdu  # noqa: E402
from ingest.dimse.association import ActionRequest, Settings, serve_association  # noqa: E402
from ingest.dimse.pdu import ProtocolError  # noqa: E402
from ingest.header import Header, RefusedError, read_header  # noqa: E402
from ingest.header_scanner import HeaderScanner  # noqa: E402
from test_dimse_association import ECHO, STORE, associate_request, command, p_data, pdv  # noqa: E402
from test_header_scanner import read_by_pydicom  # noqa: E402

MAX_SIZE = 48_000  # bytes of a sample, so that a conversation fits the socket's buffer
CPU_SECONDS = 1.0


class FileSink:
    """Writes to a file and scans the header, as the receiver's sink does."""

    def __init__(self, folder: Path, counts: Counter[str]) -> None:
        self._path = folder / f"{time.monotonic_ns()}"
        self._file = self._path.open("w+b")
        self._scanner = HeaderScanner()
        self._counts = counts

    def write(self, part: memoryview | bytes) -> None:
        self._file.write(part)
        self._scanner.feed(part)

    def finish(self) -> int:
        try:
            header = read_header(self._scanner)
        except RefusedError:
            self._counts["header refused"] += 1
        else:
            self._file.seek(0)
            expected = read_by_pydicom(self._file.read())
            if isinstance(expected, Header) and replace(header, decoded_size=0) != replace(expected, decoded_size=0):
                raise AssertionError(f"the scanner reads {header}, pydicom {expected}")
            self._counts[
                "header read as by pydicom" if header == expected else "header read, pydicom stopped early"
            ] += 1
        self.abort()
        return 0

    def abort(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


class Handlers:
    def __init__(self, folder: Path, counts: Counter[str]) -> None:
        self._folder, self._counts = folder, counts

    def authorize(self, *_: str) -> None:
        return None

    def open_sink(self, _: str) -> FileSink:
        return FileSink(self._folder, self._counts)

    def commitment(self, _: ActionRequest) -> int:
        return 0

    def query(self, *_: Any) -> None:
        raise AssertionError


def make_conversation(generator: random.Random, samples: list[bytes]) -> list[bytes]:
    """Return the PDUs of a valid conversation."""
    data = generator.choice(samples)
    size = generator.choice([64, 1000, 16_000, MAX_SIZE])
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    fragments = [p_data(pdv(3, 2 if number == len(parts) else 0, part)) for number, part in enumerate(parts, 1)]
    action = p_data(pdv(5, 3, command(0x130, data_set=True, action=1)), pdv(5, 2, data[:500]))
    messages = [[ECHO], [p_data(pdv(3, 3, STORE)), *fragments], [action]]
    generator.shuffle(messages)
    return [associate_request(), *(part for one in messages for part in one), pdu.encode_pdu(pdu.RELEASE_RQ, bytes(4))]


def alter(generator: random.Random, pdus: list[bytes]) -> bytes:
    """Return the bytes of the conversation, with a few of them changed."""
    for _ in range(generator.choice([0, 1, 1, 1, 2, 3])):
        place = generator.randrange(len(pdus))
        kind = generator.randrange(4)
        if kind == 0:
            pdus.insert(place, generator.choice(pdus))
        elif kind == 1 and len(pdus) > 1:
            del pdus[place]
        else:
            one = bytearray(pdus[place])
            for _ in range(generator.choice([1, 1, 2, 8])):
                at = generator.randrange(min(len(one), generator.choice([12, 100, 2000, 1 << 20])))
                one[at] = generator.choice(
                    [0, 1, 0xFF, one[at] ^ 1 << generator.randrange(8), generator.randrange(256)]
                )
            pdus[place] = bytes(one)
    content = b"".join(pdus)
    return content[: generator.randrange(len(content))] if generator.random() < 0.2 else content


def serve(content: bytes, folder: Path, counts: Counter[str]) -> None:
    """Serve a conversation, in this thread: everything was sent before."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for one in (ours, theirs):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.setblocking(False)
        theirs.sendall(content)
        theirs.shutdown(socket.SHUT_WR)
        try:
            serve_association(ours, "127.0.0.1", Settings(idle_seconds=5), Handlers(folder, counts))
            counts["association ended"] += 1
        except ProtocolError:
            counts["association aborted"] += 1
        except OSError:
            counts["connection broke"] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    files = sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*.dcm"))
    contents = [path.read_bytes() for path in files if path.stat().st_size < MAX_SIZE]
    samples = [one[144 + int.from_bytes(one[140:144], "little") :] for one in contents if one[128:132] == b"DICM"]
    counts: Counter[str] = Counter()
    end, rounds = time.monotonic() + options.minutes * 60, 0
    with tempfile.TemporaryDirectory() as name:
        while time.monotonic() < end:
            generator = random.Random(f"{options.seed} {rounds}")
            started = time.process_time()
            serve(alter(generator, make_conversation(generator, samples)), Path(name), counts)
            if time.process_time() - started > CPU_SECONDS:
                raise AssertionError(f"round {rounds} took {time.process_time() - started:.1f} s of CPU time")
            if left := list(Path(name).iterdir()):
                raise AssertionError(f"round {rounds} left {len(left)} files")
            rounds += 1
    print(f"{rounds:,} conversations in {options.minutes:g} minutes: nothing escaped, no file was left")
    for what, count in counts.most_common():
        print(f"{count:>10,}  {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
