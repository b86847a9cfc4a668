#!/bin/sh
# Pin the requirements of the sections and of the tools. The alternatives in the benchmarks have a separate lock.
set -eu
venv=.venv
[ -x $venv/bin/python ] || "${PYTHON:-python3}" -m venv $venv
$venv/bin/python -m pip install --quiet --disable-pip-version-check uv
compile() {
    $venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-config --custom-compile-command "make lock" "$@"
}
compile ${UPGRADE:+--upgrade} section*/requirements*.txt tools/requirements.txt -o requirements.lock
compile ${UPGRADE:+--upgrade} section*/benchmarks/requirements.txt --constraint requirements.lock -o requirements-bench.lock
