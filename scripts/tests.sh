#!/usr/bin/env bash
# Every test, in two processes side by side: whole stacks (tests/e2e) mostly wait, the others compute.
# tests.sh PYTHON
set -u
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$1" -m pytest tests/e2e >"$log" 2>&1 &
stacks=$!
"$1" -m pytest --ignore=tests/e2e
others_code=$?
wait "$stacks"
stacks_code=$?
cat "$log"
exit $((others_code > stacks_code ? others_code : stacks_code))
