#!/usr/bin/env python3
"""Update the line numbers of the README's links: `[`Class.method`](module.py#L10)` leads to its definition."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\[`([\w.]+)`\]\(([\w/]+\.py)#L\d+\)")


def find_line(path: Path, name: str) -> int:
    """Return the line at which a function, class or method is defined.

    Raises:
        LookupError: the module does not define it.

    """
    node: ast.AST = ast.parse(path.read_bytes())
    for part in name.split("."):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and child.name == part:
                node = child
                break
        else:
            raise LookupError(f"{path}: {name} is not defined there")
    return int(node.lineno)  # type: ignore[attr-defined]  # of a definition


def main() -> int:
    """Rewrite README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    updated = LINK.sub(lambda m: f"[`{m[1]}`]({m[2]}#L{find_line(ROOT / m[2], m[1])})", text)
    readme.write_text(updated, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
