"""Names of data elements, in every way that people write them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.tag import Tag

from errors import InputError, printable

HALF = re.compile(r"(?:0x)?[0-9a-f]{1,4}", re.IGNORECASE)
WHOLE = re.compile(r"\(?\s*(?:0x)?([0-9a-f]{4})\s*,?\s*(?:0x)?([0-9a-f]{4})\s*\)?", re.IGNORECASE)
KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9]*")
STEP = re.compile(r"(?P<tag>[^\[\]]+?)\s*(?:\[(?P<item>[0-9]+)\])?")

HELP = "write 0x0008 0x0016, 0x00080016, 0008,0016, a keyword like SOPClassUID, or a path like Sequence[0].Keyword"


@dataclass(frozen=True)
class Step:
    """A data element, and the item (from 0) where the path goes on inside a sequence."""

    tag: int
    item: int | None = None


@dataclass(frozen=True)
class TagPath:
    """The way to one data element: through the items of sequences, to its tag."""

    steps: tuple[Step, ...]

    @property
    def tag(self) -> int:
        """The tag of the data element at the end."""
        return self.steps[-1].tag

    @property
    def keyword(self) -> str:
        """The keyword of that tag (PS3.6); empty where the standard has none."""
        return keyword_for_tag(Tag(self.tag))

    def __str__(self) -> str:
        return ".".join(
            f"({step.tag >> 16:04X},{step.tag & 0xFFFF:04X})" + ("" if step.item is None else f"[{step.item}]")
            for step in self.steps
        )


def parse_tags(words: Sequence[object]) -> list[TagPath]:
    """The data elements that the words name, in their order.

    A word is text as typed in a shell, a number, or a (group, element) pair. Two words of at most 16 bits in a row are
    group and element; numbers in text are hexadecimal, with or without `0x`, as DICOM prints them.

    Raises:
        InputError: a word names no data element; the message shows the ways to write one.

    """
    paths: list[TagPath] = []
    group: str | None = None
    for word in _words(words):
        if HALF.fullmatch(word) and not tag_for_keyword(word):
            if group is None:
                group = word
            else:
                paths.append(TagPath((Step(int(group, 16) << 16 | int(word, 16)),)))
                group = None
        elif group is not None:
            break
        else:
            paths.append(TagPath(tuple(_steps(word))))
    if group is not None:
        raise InputError(f"{printable(group)}: is half a tag, its element number must follow; {HELP}")
    return paths


def _words(words: Iterable[object]) -> Iterable[str]:
    for word in words:
        if isinstance(word, int):
            yield f"0x{word:04X}" if 0 <= word <= 0xFFFF else f"0x{word:08X}"
        elif isinstance(word, tuple) and len(word) == 2 and all(isinstance(half, int) for half in word):
            yield f"({word[0]:04X},{word[1]:04X})"
        else:
            text = str(word).strip()
            if WHOLE.fullmatch(text) or "[" in text:
                yield text
            else:  # `0x0008,` and `0x0008, 0x0016`: the comma only parts two words
                yield from (piece for piece in re.split(r",\s*|\s+", text) if piece)


def _steps(word: str) -> Iterable[Step]:
    pieces = word.split(".")
    for number, piece in enumerate(pieces, 1):
        match = STEP.fullmatch(piece.strip())
        tag = match and _tag(match["tag"].strip())
        if match is None or tag is None:
            raise InputError(f"{printable(word)}: names no data element; {HELP}")
        item = None if match["item"] is None else int(match["item"])
        if (item is None) != (number == len(pieces)):
            raise InputError(f"{printable(word)}: every step but the last needs the number of an item, from 0; {HELP}")
        yield Step(tag, item)


def _tag(text: str) -> int | None:
    if whole := WHOLE.fullmatch(text):
        return int(whole[1] + whole[2], 16)
    return tag_for_keyword(text) if KEYWORD.fullmatch(text) else None
