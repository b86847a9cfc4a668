"""A model checker finds no fault in the protocol, and one wherever a part is missing; the code does the same."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.check import MODEL, VARIANTS, Variant, check
from system import SECTION, needs

MARKER = re.compile(r"/\* code: (\S+) (\S+): (.+?) \*/")
APPS = ("analysis", "archive", "ingest", "jobs")
CHANGES = re.compile(
    r"(?:UPDATE|INTO|DELETE FROM) (?:jobs_job|analysis_result|archive_instance)\b"
    r"|store\(\)\.(?:put|delete)\(|objects\.publish\("
)
NOT_IN_THE_MODEL = {
    "jobs/queue.py delete_jobs": "erasure: the instance is no longer acknowledged",
    "archive/erasure.py erase_study": "the same",
    "archive/management/commands/restore.py Command.handle": "runs alone, in an empty system",
}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name.replace(" ", "-"))
def test_the_checker_finds_the_faults_of_incomplete_protocols_and_no_other(variant: Variant) -> None:
    needs("spin", "spin")
    needs("gcc", "gcc")
    assert check(variant).fault == variant.fault


def sources() -> dict[str, str]:
    """The source of each function, method and constant of the apps, by file and name, with its spaces folded."""
    found = {}
    paths = [path for app in APPS for path in (SECTION / app).rglob("*.py") if "migrations" not in path.parts]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        for name, node in named_nodes(ast.parse(text)):
            found[f"{path.relative_to(SECTION)} {name}"] = fold(ast.get_source_segment(text, node) or "")
    return found


def named_nodes(owner: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in owner.body:
        if isinstance(node, ast.ClassDef):
            yield from named_nodes(node, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node


def fold(text: str) -> str:
    """Fold spaces, and join the parts of a string that is written in several lines."""
    return re.sub(r'" f?"', "", " ".join(text.split()))


def test_every_transition_of_the_model_is_in_the_code() -> None:
    markers = MARKER.findall(Path(MODEL).read_text(encoding="utf-8"))
    code = sources()
    missing = [
        f"{path} {name}: {fragment}"
        for path, name, fragment in markers
        if fold(fragment) not in code.get(f"{path} {name}", "")
    ]
    assert len(markers) > 20
    assert missing == []


def test_every_change_in_the_code_is_in_the_model() -> None:
    modelled = {f"{path} {name}" for path, name, _ in MARKER.findall(Path(MODEL).read_text(encoding="utf-8"))}
    changes = {place for place, source in sources().items() if CHANGES.search(source)}
    assert changes - modelled - NOT_IN_THE_MODEL.keys() == set()
