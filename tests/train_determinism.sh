#!/bin/sh
# Trains a few steps with one config three times, the third time in two pieces, and compares the files. Then
# looks that drawing keeps to one device.
set -eu

training=models/training
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
train() {
    /usr/bin/python3 $training/train.py --config $training/smoke.toml --set run.validation_episodes=0 \
        --steps 6 "$@" >>"$work/log" || { cat "$work/log" >&2; exit 1; }
}

train --out "$work/first.safetensors"
train --out "$work/second.safetensors"
train --out "$work/pieces.safetensors" --until 3
train --out "$work/pieces.safetensors"
sha256sum "$work"/*.safetensors | sed "s|$work/||"
cmp "$work/first.safetensors" "$work/second.safetensors"
cmp "$work/first.safetensors" "$work/pieces.safetensors"
echo "the same seed gave the same file, also after a stop"
/usr/bin/python3 tests/train_device.py
