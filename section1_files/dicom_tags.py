"""Parse the notations of DICOM tags: numbers, pairs, keywords and paths."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.tag import Tag

from errors import InputError, printable

TAG_HALF = re.compile(r"(?:0x)?[0-9a-f]{1,4}", re.IGNORECASE)
FULL_TAG = re.compile(r"\(?\s*(?:0x)?([0-9a-f]{4})\s*,?\s*(?:0x)?([0-9a-f]{4})\s*\)?", re.IGNORECASE)
KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9]*")
PATH_STEP = re.compile(r"(?P<tag>[^\[\]]+?)\s*(?:\[(?P<item>[0-9]+)\])?")

HELP = "write 0x0008 0x0016, 0x00080016, 0008,0016, a keyword like SOPClassUID, or a path like Sequence[0].Keyword"


@dataclass(frozen=True)
class PathStep:
    """A data element, and the sequence item (from 0) in which the path continues."""

    tag: int
    item: int | None = None


@dataclass(frozen=True)
class TagPath:
    """The path to one data element, through the items of sequences."""

    steps: tuple[PathStep, ...]

    @property
    def tag(self) -> int:
        """The tag of the data element."""
        return self.steps[-1].tag

    @property
    def keyword(self) -> str:
        """The keyword of the tag (PS3.6); empty for a private tag."""
        return keyword_for_tag(Tag(self.tag))

    def __str__(self) -> str:
        """Return the path as `(0008,1110)[0].(0008,1155)`."""
        return ".".join(
            f"({step.tag >> 16:04X},{step.tag & 0xFFFF:04X})" + ("" if step.item is None else f"[{step.item}]")
            for step in self.steps
        )


def parse_tags(words: Sequence[object]) -> list[TagPath]:
    """Parse words as the paths of data elements.

    Args:
        words: Text as typed in a shell, numbers, or (group, element) pairs. Two consecutive words of at most 16 bits
            are group and element. Numbers in text are hexadecimal, with or without `0x`.

    Raises:
        InputError: A word is not a tag; the message lists the valid notations.

    """
    paths: list[TagPath] = []
    group: str | None = None
    for word in _split_words(words):
        if TAG_HALF.fullmatch(word) and not tag_for_keyword(word):
            if group is None:
                group = word
            else:
                paths.append(TagPath((PathStep(int(group, 16) << 16 | int(word, 16)),)))
                group = None
        elif group is not None:
            break
        else:
            paths.append(TagPath(tuple(_parse_steps(word))))
    if group is not None:
        raise InputError(None, f"{printable(group)} is a group without its element number", HELP)
    return paths


def is_tag(word: str) -> bool:
    """Return whether a word is a tag, or a group or element number."""
    try:
        return bool(TAG_HALF.fullmatch(word.strip(" ,"))) or bool(parse_tags([word]))
    except InputError:
        return False


def _split_words(words: Iterable[object]) -> Iterable[str]:
    for word in words:
        if isinstance(word, int):
            yield f"0x{word:04X}" if 0 <= word <= 0xFFFF else f"0x{word:08X}"
        elif isinstance(word, tuple) and len(word) == 2 and all(isinstance(half, int) for half in word):
            yield f"({word[0]:04X},{word[1]:04X})"
        else:
            text = str(word).strip()
            if FULL_TAG.fullmatch(text) or "[" in text:
                yield text
            else:  # `0x0008,` and `0x0008, 0x0016`: the comma only separates two words
                yield from (piece for piece in re.split(r",\s*|\s+", text) if piece)


def _parse_steps(word: str) -> Iterable[PathStep]:
    pieces = word.split(".")
    for number, piece in enumerate(pieces, 1):
        match = PATH_STEP.fullmatch(piece.strip())
        tag = match and _parse_tag(match["tag"].strip())
        if match is None or tag is None:
            raise InputError(None, f"{printable(word)!r} is not a tag", HELP)
        item = None if match["item"] is None else int(match["item"])
        if (item is None) != (number == len(pieces)):
            raise InputError(None, f"{printable(word)!r}: each sequence needs an item number, from 0", HELP)
        yield PathStep(tag, item)


def _parse_tag(text: str) -> int | None:
    if match := FULL_TAG.fullmatch(text):
        return int(match[1] + match[2], 16)
    return tag_for_keyword(text) if KEYWORD.fullmatch(text) else None
