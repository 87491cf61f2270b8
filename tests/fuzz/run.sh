#!/bin/sh
# Builds each fuzz target with clang's libFuzzer and the address and undefined sanitizers, runs it for
# FUZZ_SECONDS (default 60) from its committed corpus and prints the edges that it has reached then, beside those
# that the committed corpus reaches alone. Stops at the first finding, whose input it leaves in build/fuzz. With
# FUZZ_MERGE=1 what it found is merged into the committed corpus: only inputs that reach something new.
# FUZZ_TARGETS names the targets (the Makefile's: all).
set -eu
cd "$(dirname "$0")/../.."
out=build/fuzz
sanitize=fuzzer-no-link,address,undefined
build=build/fuzzer-no-link-address-undefined
mkdir -p "$out"
# The program's own library is built as always, so that a new source needs no word here; its warnings are gcc's
# business.
${MAKE:-make} -s CC="${FUZZ_CC:-clang}" WARNINGS= SANITIZE=$sanitize $build/libchipshot.a $build/libtests.a
# Data directories of fuzz_api: synced at every step, which a disk would make slow.
scratch=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$scratch"' EXIT

edges() { # PROGRAM FOLDERS...: what the inputs in them reach
    "$@" -runs=0 2>&1 | sed -n 's/.* cov: \([0-9]*\) .*/\1/p' | tail -n 1
}

for name in $FUZZ_TARGETS; do
    seeds=tests/fuzz/corpus/$name
    found=$out/corpus-$name
    mkdir -p "$found"
    clang -std=c17 -D_GNU_SOURCE -I. -include base/banned.h -g -O1 \
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all "tests/fuzz/$name.c" \
        $build/libtests.a $build/libchipshot.a \
        $(pkg-config --cflags --libs cmocka libcurl libmicrohttpd jansson libpng sqlite3 nettle zlib libisal) \
        -lm -pthread -o "$out/$name"
    folders="$found $seeds"
    [ "$name" != fuzz_encoder ] || folders="$folders tests/fixtures/encoder"
    options="-timeout=20 -rss_limit_mb=2048 -artifact_prefix=$out/"
    [ ! -f "tests/fuzz/dictionaries/$name.dict" ] || options="$options -dict=tests/fuzz/dictionaries/$name.dict"
    # shellcheck disable=SC2086 # the lists are to be split
    committed=$(edges "$out/$name" ${folders#* })
    # shellcheck disable=SC2086
    TMPDIR=$scratch "$out/$name" -max_total_time="${FUZZ_SECONDS:-60}" -print_final_stats=1 $options $folders \
        >"$out/$name.log" 2>&1 || { tail -n 60 "$out/$name.log" >&2; exit 1; }
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$name.log")
    # shellcheck disable=SC2086
    echo "$name: $committed edges from the corpus, $(edges "$out/$name" $folders) after $executions inputs"
    if [ "${FUZZ_MERGE:-0}" = 1 ]; then
        mkdir -p "$seeds"
        # shellcheck disable=SC2086
        TMPDIR=$scratch "$out/$name" -merge=1 $options "$seeds" "$found" >>"$out/$name.log" 2>&1
    fi
done
