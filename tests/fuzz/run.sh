#!/bin/sh
# Builds each fuzz target with clang's libFuzzer and the address and undefined sanitizers, and runs it for
# FUZZ_SECONDS (default 60). Stops at the first finding, whose input it leaves in build/fuzz.
set -eu
cd "$(dirname "$0")/../.."
out=build/fuzz
mkdir -p "$out"
for target in tests/fuzz/fuzz_*.c; do
    name=$(basename "$target" .c)
    mkdir -p "$out/corpus-$name"
    clang -std=c17 -D_GNU_SOURCE -I. -include base/banned.h -g -O1 \
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
        "$target" base/*.c engine/image/*.c engine/encoder/*.c \
        $(pkg-config --cflags --libs openblas jansson libpng zlib) -lm -pthread -o "$out/$name"
    "$out/$name" -max_total_time="${FUZZ_SECONDS:-60}" -artifact_prefix="$out/" "$out/corpus-$name"
done
