#!/bin/bash
# Every case of the tables of malformed files (scripts/malformed_*.py) against the program.
set -u
cd "$(dirname "$0")/.." || exit 1
command -v python3 >/dev/null || { echo "1..0 # SKIP no python3 to make the files"; exit 0; }
exec python3 scripts/make-malformed.py check
