# Sourced by the scripts here: where builds and test data go, and what this machine can do.
# shellcheck shell=bash

# Both caches lie outside the checkout, so that the next clone finds them; nothing needs them.
cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}
if mkdir -p "$cache/silo-test" 2>/dev/null && [ -w "$cache/silo-test" ]; then
    : "${SILO_TEST_DATA:=$cache/silo-test}" "${CARGO_TARGET_DIR:=$cache/silo-target}"
else
    : "${SILO_TEST_DATA:=$PWD/target/test-data}" "${CARGO_TARGET_DIR:=$PWD/target}"
fi
export SILO_TEST_DATA CARGO_TARGET_DIR
export PATH="$PATH:$SILO_TEST_DATA/venv/bin"

say() { printf '\n== %s\n' "$*" >&2; }

# step NAME COMMAND...: runs it, then tells how long it took.
step() {
    local name=$1 start=$SECONDS
    shift
    say "$name"
    "$@"
    printf '== %s: %d s\n' "$name" "$((SECONDS - start))" >&2
}

# missing WHAT WHY: tests are left out; under CI nothing may be.
missing() {
    if [ "${CI:-}" = true ]; then
        printf 'silo: %s: %s; CI=true allows nothing to be left out\n' "$1" "$2" >&2
        exit 1
    fi
    printf 'silo: left out: %s: %s\n' "$1" "$2" >&2
}
