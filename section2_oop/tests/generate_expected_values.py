"""Write expected_values.json: what DCMTK's dcmdump reads in every DICOM file of pydicom's wheel and of pydicom-data.

Run with DCMTK (Debian package dcmtk). A value that DCMTK cannot convert to UTF-8 is null; test_character_sets.py
has these.
"""

import json
import re
import subprocess
from pathlib import Path

from support import corpus_files

TAGS = {
    "name": "0010,0010", "patient_id": "0010,0020", "patient_id_type": "0010,0022", "birth_date": "0010,0030",
    "sex": "0010,0040", "age": "0010,1010", "weight": "0010,1030", "modality": "0008,0060", "study_date": "0008,0020",
    "study_time": "0008,0030", "study_instance_uid": "0020,000d", "series_number": "0020,0011",
    "number_of_frames": "0028,0008",
}  # fmt: skip
NAMES = {tag: name for name, tag in TAGS.items()}
LINE = re.compile(
    rb"^\(([0-9a-f]{4},[0-9a-f]{4})\) (\S\S) (?:\[(.*)\]|(\(no value available\))|(.*?))\s+#", re.MULTILINE
)


def dump(path: Path) -> dict[str, str | None] | None:
    """Return the attributes of a file as text, or None if DCMTK does not read it."""
    command = ["dcmdump", "-q", "+E", "-Un", "+L", "+p"]  # +p marks nested elements
    command += [word for tag in TAGS.values() for word in ("+P", tag)]
    done = subprocess.run([*command, str(path)], capture_output=True)
    utf8 = subprocess.run([*command, "+U8", str(path)], capture_output=True)
    if done.returncode and not done.stdout:
        return None
    converted = not utf8.returncode
    values: dict[str, str | None] = {}
    for tag, vr, text, empty, other in LINE.findall(utf8.stdout if converted else done.stdout):
        value = b"" if empty else text or other
        if vr == b"UN" and not text and not empty:
            value = bytes.fromhex(value.decode().replace("\\", ""))
        readable = (converted and b"\x1b" not in value) or (value.isascii() and b"\x1b" not in value)
        values[NAMES[tag.decode()]] = value.decode("utf-8", "replace").strip(" \0") if readable else None
    return values


def main() -> None:
    table = {name: values for name, path in corpus_files() if (values := dump(path)) is not None}
    target = Path(__file__).with_name("expected_values.json")
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in sorted(table.items()))
    target.write_text("{\n" + lines + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
