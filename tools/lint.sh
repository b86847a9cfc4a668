#!/bin/sh
# Run every check of `make lint`; the arguments are the sections.
set -eu
bin=.venv/bin
run() {
    printf 'lint: %s\n' "$1"
    shift
    "$@"
}

run "ruff format" $bin/ruff format --check --quiet .
run "ruff check" $bin/ruff check --quiet .
run "codespell" $bin/codespell

for section in "$@" tools; do
    # Each from its own folder: every section has a main.py and a tests folder.
    (cd "$section" && MYPYPATH=tests run "mypy --strict $section" ../$bin/mypy --config-file ../pyproject.toml .)
    [ ! -f "$section/.importlinter" ] || (cd "$section" && run "import contract of $section" ../$bin/lint-imports)
done

run "sections import nothing from each other" $bin/python tools/check_isolation.py
run "workflow schema" $bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
run "dependabot schema" $bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
run "zizmor" $bin/zizmor --offline --quiet .github
