#!/bin/sh
# Runs test programs in parallel, each in its own temporary directory, and counts their results.
# Usage: run.sh PROGRAM...   Prints failing programs' output and ends with "N passed, N failed"
# (", N skipped" follows when tests were).
# EMULATOR='qemu-aarch64-static' runs programs that were built for another processor.
set -u

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT INT TERM
jobs=${TEST_JOBS:-$(nproc)}
CHIPSHOT_SHARED=$(realpath -m "${CHIPSHOT_SHARED:-../shared}")
export logs CHIPSHOT_SHARED

printf '%s\n' "$@" | xargs -P "$jobs" -I{} sh -c '
    program=$1
    name=$(echo "$program" | tr / _)
    mkdir -p "$logs/$name.tmp"
    TMPDIR="$logs/$name.tmp" timeout "${TEST_TIMEOUT:-600}" ${EMULATOR:-} "$program" >"$logs/$name.log" 2>&1
    status=$?
    # Some versions of cmocka call skipped tests not ok.
    sed -i "s/^not ok \([0-9]* # SKIP\)/ok \1/" "$logs/$name.log"
    # A crash ends a program before its TAP lines are complete: it counts as one failure.
    if [ $status -ne 0 ] && ! grep -q "^not ok" "$logs/$name.log"; then
        echo "not ok - $program exited with status $status" >>"$logs/$name.log"
    fi
    if grep -q "^not ok" "$logs/$name.log"; then
        echo "FAIL $program"
        cat "$logs/$name.log"
    else
        echo "ok   $program ($(grep -c "^ok" "$logs/$name.log") tests)"
        grep -hE "^(skipped|note):" "$logs/$name.log"
    fi
    rm -rf "$logs/$name.tmp"
' sh {}

passed=$(cat "$logs"/*.log | grep "^ok" | grep -vc "# SKIP")
failed=$(cat "$logs"/*.log | grep -c "^not ok")
skipped=$(cat "$logs"/*.log | grep "^ok" | grep -c "# SKIP")
[ "$skipped" -eq 0 ] || failed_text="$failed failed, $skipped skipped"
echo "$passed passed, ${failed_text:-$failed failed}"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
