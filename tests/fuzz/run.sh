#!/bin/sh
# Builds each fuzz target with clang's libFuzzer and the address and undefined sanitizers, and runs it for
# FUZZ_SECONDS (default 60). Stops at the first finding, whose input it leaves in build/fuzz.
set -eu
cd "$(dirname "$0")/../.."
out=build/fuzz
mkdir -p "$out"
# The kernels for one processor's instructions are compiled for them, as the Makefile does.
clang -std=c17 -I. -g -O1 -mavx2 -mfma -c engine/encoder/kernels/avx2.c -o "$out/avx2.o"
clang -std=c17 -I. -g -O1 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma \
    -c engine/encoder/kernels/avx512.c -o "$out/avx512.o"
kernels="engine/encoder/kernels/kernels.c engine/encoder/kernels/portable.c engine/encoder/kernels/scalar.c
engine/encoder/kernels/winograd_matrices.c $out/avx2.o $out/avx512.o"
for target in tests/fuzz/fuzz_*.c; do
    name=$(basename "$target" .c)
    mkdir -p "$out/corpus-$name"
    clang -std=c17 -D_GNU_SOURCE -I. -include base/banned.h -g -O1 \
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
        "$target" base/*.c engine/image/*.c engine/encoder/*.c $kernels \
        $(pkg-config --cflags --libs jansson libpng zlib libisal) -lm -pthread -o "$out/$name"
    "$out/$name" -max_total_time="${FUZZ_SECONDS:-60}" -artifact_prefix="$out/" "$out/corpus-$name"
done
