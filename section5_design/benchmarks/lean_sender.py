"""Send files over one association with next to no work of its own, so that a benchmark shows the receiver's speed.

`python benchmarks/lean_sender.py TITLE PORT < LIST`: the list has a path on each line. It reads all files, writes
"ready", waits for a line, and sends one C-STORE after the other. storescu's preparations cost as much as a receiver.
"""

import socket
import struct
import sys
from pathlib import Path


def item(kind: int, content: bytes) -> bytes:
    """Return an item of an A-ASSOCIATE-RQ (PS3.8, 9.3.2)."""
    return struct.pack(">BxH", kind, len(content)) + content


def element(number: int, value: bytes) -> bytes:
    """Return an element of a command set (PS3.7, 6.3.1)."""
    return struct.pack("<HHL", 0, number, len(value)) + value


def pad(uid: bytes) -> bytes:
    """Return a UID of an even length."""
    return uid + b"\0" * (len(uid) % 2)


def parse_file(content: bytes) -> tuple[dict[int, bytes], bytes]:
    """Return the UIDs of the file meta information (PS3.10, 7.1) and the data set."""
    (length,) = struct.unpack_from("<L", content, 140)
    at, end, uids = 144, 144 + length, {}
    while at < end:
        _, number, vr, size = struct.unpack_from("<HH2sH", content, at)
        at += 8
        if vr == b"OB":
            (size,) = struct.unpack_from("<L", content, at)
            at += 4
        uids[number] = content[at : at + size].rstrip(b"\0 ")
        at += size
    return uids, content[end:]


def build_request(title: bytes, sop_class: bytes, syntax: bytes) -> bytes:
    """Return an A-ASSOCIATE-RQ with a single presentation context."""
    context = b"\1\0\0\0" + item(0x30, sop_class) + item(0x40, syntax)
    user = item(0x51, struct.pack(">L", 1 << 17)) + item(0x52, b"2.25.1")
    items = item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, context) + item(0x50, user)
    content = struct.pack(">HH16s16s32x", 1, 0, title.ljust(16), b"LEAN".ljust(16)) + items
    return struct.pack(">BxL", 1, len(content)) + content


def build_message(sop_class: bytes, sop_instance: bytes, data_set: bytes, max_length: int) -> bytes:
    """Return the PDUs of a C-STORE-RQ (PS3.7, 9.3.1.1) for a peer that takes PDUs of `max_length` bytes."""
    command = element(0x0002, pad(sop_class)) + element(0x0100, b"\1\0") + element(0x0110, b"\1\0")
    command += element(0x0700, b"\0\0") + element(0x0800, b"\0\0") + element(0x1000, pad(sop_instance))
    command = element(0, struct.pack("<L", len(command))) + command
    size = max_length - 6
    parts = [(3, command)]
    parts += [
        (2 if at + size >= len(data_set) else 0, data_set[at : at + size]) for at in range(0, len(data_set), size)
    ]
    return b"".join(
        struct.pack(">BxLLBB", 4, len(part) + 6, len(part) + 2, 1, control) + part for control, part in parts
    )


def receive_pdu(connection: socket.socket) -> tuple[int, bytes]:
    """Return the type and the content of the next PDU."""
    kind, length = struct.unpack(">BxL", connection.recv(6, socket.MSG_WAITALL))
    return kind, connection.recv(length, socket.MSG_WAITALL)


def peer_max_length(content: bytes) -> int:
    """Return the maximum length in an A-ASSOCIATE-AC (PS3.8, D.1)."""
    return int.from_bytes(content[content.index(b"\x51\0\0\4") + 4 :][:4], "big") or 1 << 17


def main() -> None:
    """Send the files that standard input lists."""
    title, port = sys.argv[1].encode(), int(sys.argv[2])
    paths = []
    while line := sys.stdin.readline().strip():
        paths.append(line)
    files = [parse_file(Path(path).read_bytes()) for path in paths]
    print("ready", flush=True)
    sys.stdin.readline()
    with socket.create_connection(("localhost", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(build_request(title, files[0][0][2], files[0][0][0x10]))
        kind, content = receive_pdu(connection)
        if kind != 2:
            sys.exit("the association was rejected")
        limit = peer_max_length(content)
        for uids, data_set in files:
            connection.sendall(build_message(uids[2], uids[3], data_set, limit))
            kind, content = receive_pdu(connection)
            if kind != 4 or struct.pack("<HHLH", 0, 0x0900, 2, 0) not in content:
                sys.exit(f"{uids[3].decode()} was not stored")
        connection.sendall(b"\5\0\0\0\0\4\0\0\0\0")
        receive_pdu(connection)


if __name__ == "__main__":
    main()
