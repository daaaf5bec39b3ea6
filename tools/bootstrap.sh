#!/usr/bin/env bash
# Sets up what a make target needs: tools/bootstrap.sh [main|bench|spark40|duckdb]. Finds Python; tools/bootstrap.py does the rest.
set -u
cd "$(dirname "$0")/.." || exit 2
for python in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
  [ -n "$python" ] || continue
  if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then
    exec "$python" -B tools/bootstrap.py "$@"
  fi
done
echo "Python 3.11 is needed and was not found on PATH: install it, or name it with PYTHON=/path/to/python3.11." >&2
exit 2
