#!/bin/sh
# Builds each fuzz target with clang's libFuzzer and the address and undefined sanitizers, and runs it for
# FUZZ_SECONDS (default 60). Stops at the first finding, whose input it leaves in build/fuzz. The program's own
# library is built as always, so that a new source needs no word here; its warnings are gcc's business.
set -eu
cd "$(dirname "$0")/../.."
out=build/fuzz
mkdir -p "$out"
library=build/fuzzer-no-link-address-undefined/libchipshot.a
${MAKE:-make} -s CC=clang WARNINGS= SANITIZE=fuzzer-no-link,address,undefined "$library"
for target in tests/fuzz/fuzz_*.c; do
    name=$(basename "$target" .c)
    mkdir -p "$out/corpus-$name"
    clang -std=c17 -D_GNU_SOURCE -I. -include base/banned.h -g -O1 \
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all "$target" "$library" \
        $(pkg-config --cflags --libs jansson libpng zlib libisal) -lm -pthread -o "$out/$name"
    "$out/$name" -max_total_time="${FUZZ_SECONDS:-60}" -artifact_prefix="$out/" "$out/corpus-$name"
done
