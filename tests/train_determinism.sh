#!/bin/sh
# The pipeline's unit tests. Then trains a few steps with one config three times, the third time in two pieces, and
# compares the files; the same from given weights and in two cycles. Then looks that drawing keeps to one device.
set -eu

training=models/training
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
train() {
    /usr/bin/python3 $training/train.py --config $training/smoke.toml --set run.validation_episodes=0 \
        --steps 6 "$@" >>"$work/log" || { cat "$work/log" >&2; exit 1; }
}

/usr/bin/python3 tests/training/test_pipeline.py
train --out "$work/first.safetensors"
train --out "$work/second.safetensors"
train --out "$work/pieces.safetensors" --until 3
train --out "$work/pieces.safetensors"
again() { train --start "$work/first.safetensors" --set optimiser.cycles=2 "$@"; }
again --out "$work/started.safetensors"
again --out "$work/started-pieces.safetensors" --until 4
again --out "$work/started-pieces.safetensors"
sha256sum "$work"/*.safetensors | sed "s|$work/||"
cmp "$work/first.safetensors" "$work/second.safetensors"
cmp "$work/first.safetensors" "$work/pieces.safetensors"
cmp "$work/started.safetensors" "$work/started-pieces.safetensors"
cmp "$work/started.cycle1.safetensors" "$work/started-pieces.cycle1.safetensors"
echo "the same seed gave the same file, also after a stop and from given weights"
/usr/bin/python3 tests/train_device.py
