"""Check that no section reaches into another: a section works when only its folder is copied out.

Refused in the Python files of a section: an import of another section by its folder's name, an import of a module
that only another section has, and a string that names another section's folder.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

SECTION = re.compile(r"\bsection\d_[a-z]+")


def modules_of(section: Path) -> set[str]:
    """Names that `import` finds in a section's folder: its modules and its packages."""
    files = {path.stem for path in section.glob("*.py")}
    packages = {path.name for path in section.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    return files | packages


def imported_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.lineno, node.module.split(".")[0]


def named_sections(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of every section folder that a string in the code names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((node.lineno, name) for name in SECTION.findall(node.value))


def violations(root: Path) -> Iterator[str]:
    """One line for each place where a section under `root` reaches into another."""
    sections = sorted(path for path in root.glob("section[1-9]_*") if path.is_dir())
    modules = {section: modules_of(section) for section in sections}
    for section in sections:
        foreign = set().union(*(modules[other] for other in sections if other != section)) - modules[section]
        foreign |= {other.name for other in sections}
        for path in sorted(section.rglob("*.py")):
            tree = ast.parse(path.read_bytes(), str(path))
            for line, name in imported_names(tree):
                if name in foreign:
                    yield f"{path.relative_to(root)}:{line}: imports {name}, which is not in {section.name}"
            for line, name in named_sections(tree):
                if name != section.name:
                    yield f"{path.relative_to(root)}:{line}: names {name}; a section knows nothing of another"


def main(root: Path = Path(__file__).parent.parent) -> int:
    """Print what was found; 1 when a section reaches into another."""
    found = list(violations(root))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
