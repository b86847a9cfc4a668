#!/bin/sh
# Create .venv from the given lock files, or reuse it when it was created from the same locks.
set -eu
venv=.venv

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 ""; do
    if [ -n "$candidate" ] && is_new_enough "$candidate"; then break; fi
done
if [ -z "$candidate" ]; then
    echo "This project needs Python 3.11 or newer: install it (Debian, Ubuntu: apt install python3 python3-venv)" \
        "or name it: make PYTHON=/path/to/python3.12" >&2
    exit 1
fi

# A fingerprint of the interpreter and the locks: when it changes, the environment is updated.
fingerprint=$("$candidate" -c 'import hashlib, pathlib, sys
print(sys.version.split()[0], *(hashlib.sha256(pathlib.Path(p).read_bytes()).hexdigest()[:16] for p in sys.argv[1:]))' "$@")
case "$(cat $venv/fingerprint 2>/dev/null || true)" in
    "$fingerprint"*) exit 0 ;;
esac

if ! "$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    echo "Python's venv module is missing: install it (Debian, Ubuntu: apt install python3-venv)" >&2
    exit 1
fi
echo "Setting up $venv with $("$candidate" --version) from $*: about a minute, once ..."
if [ ! -f $venv/fingerprint ] || ! is_new_enough $venv/bin/python; then rm -rf $venv; fi
rm -f $venv/fingerprint
"$candidate" -m venv $venv
for lock in "$@"; do
    $venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes --requirement "$lock"
done
$venv/bin/python -m compileall -q -j 0 $venv/lib >/dev/null || true # pip would use one processor; some files are templates
echo "$fingerprint" > $venv/fingerprint
echo "Environment ready."
