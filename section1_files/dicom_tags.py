"""Parse the notations of DICOM tags: numbers, pairs, keywords and paths."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.tag import Tag

from errors import InputError, printable

TAG_HALF = re.compile(r"(?:0x)?[0-9a-f]{1,4}", re.IGNORECASE)
FULL_TAG = re.compile(r"\(?\s*(?:0x)?([0-9a-f]{4})\s*,?\s*(?:0x)?([0-9a-f]{4})\s*\)?", re.IGNORECASE)
PATH_STEP = re.compile(r"([^\[\]]+?)\s*(?:\[([0-9]+)\])?")
HELP = "write 0x0008 0x0016, 0x00080016, 0008,0016, a keyword like SOPClassUID, or a path like Sequence[0].Keyword"


@dataclass(frozen=True)
class TagPath:
    """A data element: its tag, and the sequences with the items (from 0) that contain it, from the outside in."""

    tag: int
    parents: tuple[tuple[int, int], ...] = ()

    @property
    def keyword(self) -> str:
        """The keyword of the tag (PS3.6); empty for a private tag."""
        return keyword_for_tag(Tag(self.tag))

    def __str__(self) -> str:
        """Return the path as `(0008,1110)[0].(0008,1155)`."""
        return "".join(f"{format_tag(tag)}[{item}]." for tag, item in self.parents) + format_tag(self.tag)


def format_tag(tag: int) -> str:
    """Return a tag as `(0008,0016)`."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def parse_tags(words: Iterable[object]) -> list[TagPath]:
    """Parse words as the paths of data elements.

    Args:
        words: Text as typed in a shell, numbers, or (group, element) pairs. Two consecutive words of at most 16 bits
            are group and element. Numbers in text are hexadecimal, with or without `0x`.

    Raises:
        InputError: A word is not a tag; the message lists the valid notations.
    """
    paths: list[TagPath] = []
    group = ""
    for word in _split_words(words):
        is_half = TAG_HALF.fullmatch(word) and not tag_for_keyword(word)
        if group and not is_half:
            break
        if not is_half:
            paths.append(_parse_path(word))
        elif group:
            paths.append(TagPath(int(group, 16) << 16 | int(word, 16)))
            group = ""
        else:
            group = word
    if group:
        raise InputError(None, f"{printable(group)} is a group without its element number", HELP)
    return paths


def is_tag(word: str) -> bool:
    """Return whether a word is a tag, or a group or element number."""
    try:
        return bool(TAG_HALF.fullmatch(word.strip(" ,"))) or bool(parse_tags([word]))
    except InputError:
        return False


def _split_words(words: Iterable[object]) -> Iterator[str]:
    for word in words:
        if isinstance(word, int):
            yield f"0x{word:04X}" if 0 <= word <= 0xFFFF else f"0x{word:08X}"
        elif isinstance(word, tuple) and len(word) == 2 and all(isinstance(half, int) for half in word):
            yield f"({word[0]:04X},{word[1]:04X})"
        elif FULL_TAG.fullmatch(text := str(word).strip()) or "[" in text:
            yield text
        else:  # `0x0008,` and `0x0008, 0x0016`: the comma only separates two words
            yield from (piece for piece in re.split(r",\s*|\s+", text) if piece)


def _parse_path(word: str) -> TagPath:
    steps = [PATH_STEP.fullmatch(step.strip()) for step in word.split(".")]
    tags = [tag for step in steps if step and (tag := _parse_tag(step[1].strip())) is not None]
    if len(tags) < len(steps):
        raise InputError(None, f"{printable(word)!r} is not a tag", HELP)
    *items, last_item = [step[2] for step in steps if step]
    if None in items or last_item is not None:
        raise InputError(None, f"{printable(word)!r}: each sequence needs an item number, from 0", HELP)
    return TagPath(tags[-1], tuple(zip(tags, map(int, items), strict=False)))


def _parse_tag(text: str) -> int | None:
    match = FULL_TAG.fullmatch(text)
    return int(match[1] + match[2], 16) if match else tag_for_keyword(text)
