#!/bin/sh
# Everything that `make lint` checks; the arguments are the sections.
set -eu
bin=.venv/bin
say() { printf '%s\n' "lint: $*"; }

say "ruff format and rules"
$bin/ruff format --check --quiet .
$bin/ruff check --quiet .

for section in "$@" tools; do
    say "mypy --strict $section"
    # Each from its own folder: every section has a main.py and a tests folder of its own.
    (cd "$section" && MYPYPATH=tests ../$bin/mypy --config-file ../pyproject.toml .)
done

say "isolation of the sections"
$bin/python tools/check_isolation.py

say "workflows: GitHub's schema, zizmor"
$bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
$bin/zizmor --offline --quiet .github/workflows

say "clean"
