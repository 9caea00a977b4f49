#!/bin/bash
# suite.sh BUILD: the tests of the Python module, where the module was built and pytest is there.
set -uo pipefail
build=$1
here=$(dirname "$0")
python=$(sed -n 's/^DOTK_PYTHON:[A-Z]*=//p' "$build/CMakeCache.txt")

if ! ls "$build"/python/dotk/_dotk.*.so >/dev/null 2>&1; then
    echo "skipped: the module was not built (sanitizers, another processor, or no headers of" \
        "Python 3.11 or later: 'tools/install-deps python' brings them; then configure anew)"
    exit 77
elif [ -z "$python" ]; then
    echo "skipped: no Python with numpy and pytest. 'make python' sets one up from PyPI," \
        "'tools/install-deps python' installs Debian's"
    exit 77
fi
export PYTHONPATH=$build/python PYTHONDONTWRITEBYTECODE=1
exec "$python" -m pytest -q -p no:cacheprovider -rs "$here"
