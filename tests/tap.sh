# TAP for shell tests: source this file, call these functions, end with done_testing.
#   run COMMAND...          runs it; status, out and err hold what came of it
#   is NAME FOUND WANTED    like NAME TEXT PATTERN (a shell pattern)
#   ok NAME TEST...             skip NAME WHY             sanitized: whether $LORAC is
# shellcheck shell=bash disable=SC2034 # what run() sets is used by the tests
: "${LORAC:=build/lorac}"
: "${LORAC_TEST_DATA:=../shared/data}"
tests=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

run() {
    status=0
    "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
    out=$(<"$scratch/out") err=$(<"$scratch/err")
}

report() { # report NAME WHETHER WHY
    tests=$((tests + 1))
    if [ "$2" = 0 ]; then
        echo "ok $tests - $1"
    else
        echo "not ok $tests - $1"
        echo "# ${3//$'\n'/$'\n'# }"
    fi
}

ok() {
    local name=$1
    shift
    if "$@"; then report "$name" 0 ""; else report "$name" 1 "failed: $*"; fi
}
is() { if [ "$2" = "$3" ]; then report "$1" 0 ""; else report "$1" 1 "found:  $2
wanted: $3"; fi; }
# shellcheck disable=SC2053 # the third is a pattern
like() { if [[ $2 == $3 ]]; then report "$1" 0 ""; else report "$1" 1 "found:  $2
wanted: $3"; fi; }

# Built with AddressSanitizer: slow, and with memory of its own.
sanitized() { grep -q __asan_init "$LORAC"; }

skip() { # skip NAME WHY
    tests=$((tests + 1))
    echo "ok $tests - $1 # SKIP $2"
}

done_testing() { echo "1..$tests"; }
