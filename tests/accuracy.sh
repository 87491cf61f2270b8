#!/bin/sh
# Few-shot accuracy on the labelled micrographs of CHIPSHOT_SHARED: `chipshot evaluate` for each task, then
# the mean over tasks. Usage: accuracy.sh CHIPSHOT [EVALUATE OPTION...]
set -eu

chipshot=$1
shift
root=${CHIPSHOT_SHARED:-../shared}/data/accuracy
if [ ! -d "$root" ]; then
    echo "skipped: $root is absent (set CHIPSHOT_SHARED)"
    exit 0
fi
printf '%-20s | %6s | %17s | %11s\n' task groups "balanced accuracy" "worst group"
for manifest in "$root"/*.csv; do
    "$chipshot" evaluate --manifest "$manifest" --root "$root" "$@" |
        awk -v task="$(basename "$manifest" .csv)" '$1 == "mean" {
            printf "%-20s | %6d | %17.4f | %11.4f\n", task, $6, $2, $4}'
done | awk '{print; sum += $5; worst += $7; n++}
    END {if (n == 0) exit 1; printf "mean over %d tasks: %.4f, mean of the worst groups: %.4f\n", n, sum / n, worst / n}'
