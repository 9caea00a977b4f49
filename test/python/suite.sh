#!/bin/bash
# suite.sh BUILD: the tests of the Python module, where the module was built and pytest is there.
set -uo pipefail
build=$1
here=$(dirname "$0")
python=$(sed -n 's/^DOTK_PYTHON:[A-Z]*=//p' "$build/CMakeCache.txt")

if [ -z "$python" ] || ! ls "$build"/python/dotk/_dotk.*.so >/dev/null 2>&1; then
    echo "skipped: no Python 3.11 with its headers, numpy and pytest." \
        "'make python' sets one up, or tools/install-deps python; then configure anew"
    exit 77
fi
if grep -qE '^DOTK_SANITIZE:[A-Z]*=.+' "$build/CMakeCache.txt"; then
    echo "skipped: Python itself would have to be built with the sanitizer"
    exit 77
fi
export PYTHONPATH=$build/python PYTHONDONTWRITEBYTECODE=1
exec "$python" -m pytest -q -p no:cacheprovider -rs "$here"
