#!/bin/sh
# The training pipeline from end to end: trains a small encoder for about a minute and lets the service use
# it. Fails unless the service loads it and it beats both chip mean+std and the same network untrained on
# drawings of the scene where mean+std is weakest. Usage: train_smoke.sh CHIPSHOT
set -eu

chipshot=$1
training=models/training
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
train() { /usr/bin/python3 $training/train.py --config $training/smoke.toml --tell 25 "$@"; }

train --out "$work/untrained.safetensors" --until 0
train --out "$work/trained.safetensors"
"$chipshot" encoder info "$work/trained.safetensors"

for seed in 1 2 3; do
    "$chipshot" simulate --scene ordered-oxide --seed $seed --out "$work/$seed" >"$work/log"
    jq -r .chip.width "$work/$seed/support.json" >"$work/size"
    awk -F, -v OFS=, -v size="$(cat "$work/size")" 'NR == 1 {print "image,x,y,size,label,group"}
        NR > 1 && $5 != "" {print "image.png", $3, $4, size, $5, "all"}' \
        "$work/$seed/truth.csv" >"$work/$seed/manifest.csv"
done
mean() { awk '{sum += $1; n++} END {if (n != 3) exit 1; printf "%.4f\n", sum / n}'; }
service() { # service WEIGHTS: mean balanced accuracy by `chipshot evaluate`
    for seed in 1 2 3; do
        "$chipshot" evaluate --manifest "$work/$seed/manifest.csv" --root "$work/$seed" --encoder "$1"
    done | awk '$1 == "mean" {print $2}' | mean
}
baseline() {
    for seed in 1 2 3; do
        /usr/bin/python3 $training/evaluate.py mean-std --manifest "$work/$seed/manifest.csv" --root "$work/$seed"
    done | mean
}

trained=$(service "$work/trained.safetensors")
untrained=$(service "$work/untrained.safetensors")
mean_std=$(baseline)
echo "balanced accuracy, 5 shots, three drawings of ordered-oxide:"
echo "trained $trained, untrained $untrained, chip mean+std $mean_std"
echo "$trained $untrained $mean_std" | awk '{exit !($1 > $2 && $1 > $3)}' || {
    echo "train-smoke: the trained encoder is not the best of the three" >&2
    exit 1
}
