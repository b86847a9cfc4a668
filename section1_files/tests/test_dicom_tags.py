import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_tags import parse_tags
from errors import InputError

SOP_CLASS = "(0008,0016)"


@pytest.mark.parametrize(
    "words",
    [
        (0x0008, 0x0016),
        (0x00080016,),
        ((0x0008, 0x0016),),
        ("0x0008", "0x0016"),
        ("0x0008,", "0x0016"),
        ("0x0008, 0x0016",),
        ("0x0008,0x0016",),
        ("0008", "0016"),
        ("8", "16"),
        ("0x00080016",),
        ("00080016",),
        ("0008,0016",),
        ("(0008,0016)",),
        ("(0008, 0016)",),
        ("SOPClassUID",),
    ],
)
def test_all_tag_notations_give_the_same_element(words: tuple[object, ...]) -> None:
    assert [str(path) for path in parse_tags(words)] == [SOP_CLASS]


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)), max_size=5))
def test_consecutive_numbers_are_group_and_element(pairs: list[tuple[int, int]]) -> None:
    words = [f"0x{half:04X}" for pair in pairs for half in pair]
    assert [path.tag for path in parse_tags(words)] == [group << 16 | element for group, element in pairs]


def test_tag_notations_can_be_mixed() -> None:
    paths = parse_tags(["0x0008", "0x0060", "PatientID", "0010,0010"])
    assert [path.keyword for path in paths] == ["Modality", "PatientID", "PatientName"]


@pytest.mark.parametrize(
    "word",
    [
        "ReferencedStudySequence[0].ReferencedSOPInstanceUID",
        "0008,1110[0].0008,1155",
        "(0008,1110)[0].ReferencedSOPInstanceUID",
    ],
)
def test_sequence_paths_are_parsed(word: str) -> None:
    assert [str(path) for path in parse_tags([word])] == ["(0008,1110)[0].(0008,1155)"]


@pytest.mark.parametrize(
    "words",
    [
        ("0x0008",),
        ("0x0008", "PatientID"),
        ("Nonsense",),
        ("", "0x12345"),
        ("PatientID[0]",),
        ("ReferencedStudySequence.PatientID",),
        ("A[x].B",),
        ("0008,00160",),
        ("…",),
        (-1,),
        (2**32,),
    ],
)
def test_invalid_tag_error_lists_the_valid_notations(words: tuple[object, ...]) -> None:
    with pytest.raises(InputError, match="write 0x0008 0x0016"):
        parse_tags(words)
