"""Check that no section depends on another: a section works when only its folder is copied out.

Rejected in the Python files of a section: an import of another section by its folder's name, an import of a module
that only another section has, and a string that names another section's folder.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

SECTION = re.compile(r"\bsection\d_[a-z]+")


def list_modules(section: Path) -> set[str]:
    """Return the names that `import` finds in a section's folder: its modules and its packages."""
    files = {path.stem for path in section.glob("*.py")}
    packages = {path.name for path in section.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    return files | packages


def iter_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the top-level name of every import, nested ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.lineno, node.module.split(".")[0]


def iter_section_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of every section folder that appears in a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((node.lineno, name) for name in SECTION.findall(node.value))


def find_violations(root: Path) -> Iterator[str]:
    """Yield one line for each dependency of a section under `root` on another section."""
    sections = sorted(path for path in root.glob("section[1-9]_*") if path.is_dir())
    modules = {section: list_modules(section) for section in sections}
    for section in sections:
        foreign = set().union(*(modules[other] for other in sections if other != section)) - modules[section]
        foreign |= {other.name for other in sections}
        for path in sorted(section.rglob("*.py")):
            tree = ast.parse(path.read_bytes(), str(path))
            for line, name in iter_imports(tree):
                if name in foreign:
                    yield f"{path.relative_to(root)}:{line}: imports {name}, which is not in {section.name}"
            for line, name in iter_section_names(tree):
                if name != section.name:
                    yield f"{path.relative_to(root)}:{line}: names {name}; a section must not refer to another"


def main(root: Path = Path(__file__).parent.parent) -> int:
    """Print the violations; return 1 if there are any."""
    violations = list(find_violations(root))
    for violation in violations:
        print(violation)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
