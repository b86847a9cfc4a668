#!/bin/sh
# Pins what the sections and the tools ask for. The peers of the benchmarks have a lock of their own, on top.
set -eu
venv=.venv
[ -x $venv/bin/python ] || "${PYTHON:-python3}" -m venv $venv
$venv/bin/python -m pip install --quiet --disable-pip-version-check uv
compile() {
    $venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-config --custom-compile-command "make lock" "$@"
}
compile --upgrade section*/requirements.txt tools/requirements.txt -o requirements.lock
compile --upgrade section*/benchmarks/requirements.txt --constraint requirements.lock -o requirements-bench.lock
