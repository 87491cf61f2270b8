#!/bin/sh
# Few-shot accuracy on the labelled micrographs of CHIPSHOT_SHARED: `chipshot evaluate` for each task, beside it
# the same protocol on nothing but each chip's mean and standard deviation, then the means over tasks.
# Usage: accuracy.sh CHIPSHOT [EVALUATE OPTION...]; with --unknown, what its table says instead.
set -eu

chipshot=$1
shift
root=${CHIPSHOT_SHARED:-../shared}/data/accuracy
if [ ! -d "$root" ]; then
    echo "skipped: $root is absent (set CHIPSHOT_SHARED)"
    exit 0
fi

# The baseline takes the options that are not about an encoder.
protocol=
after=
for argument in "$@"; do
    case $after in
    skip) after= && continue ;;
    keep) after= && protocol="$protocol $argument" && continue ;;
    esac
    case $argument in
    --encoder=* | --input-size=* | --stages=* | --statistics=* | --features=* | --precision=* | --encoding=*) ;;
    --encoder | --input-size | --stages | --statistics | --features | --precision | --encoding) after=skip ;;
    *=*) protocol="$protocol $argument" ;;
    *) protocol="$protocol $argument" after=keep ;;
    esac
done

# The last line of the output: mean M worst W ... ece E
evaluate() {
    output=$("$chipshot" evaluate --root "$root" "$@") || exit 1
    printf '%s\n' "$output" | tail -n 1
}

# With --unknown: how well chips of a class without examples are told from the others, by novelty and by
# probability (which tells nothing where one class is left).
case " $* " in
*" --unknown "*)
    printf '%-20s | %7s | %11s | %21s | %20s\n' task novelty probability "known, called unknown" "unknown, found"
    for manifest in "$root"/*.csv; do
        evaluate --manifest "$manifest" "$@" | awk -v task="$(basename "$manifest" .csv)" '{
            printf "%-20s | %7s | %11s | %21s | %20s\n", task, $2, $4, $6, $8}' || exit 1
    done | awk '{ print; novelty += $3; known += $7; found += $9; n++
            if ($5 != "-") { probability += $5; n_probability++ } }
        END { printf "mean over %d tasks: %.4f, by probability: %.4f, known called unknown: %.4f, unknown found: %.4f\n", n,
            novelty / n, probability / n_probability, known / n, found / n }'
    exit
    ;;
esac

rows=$(for manifest in "$root"/*.csv; do
    scores=$(evaluate --manifest "$manifest" "$@") || exit 1
    baseline=$(evaluate --manifest "$manifest" --features mean-std $protocol) || exit 1
    echo "$scores $baseline" | awk -v task="$(basename "$manifest" .csv)" '{
        for (i = NF; i > 0 && $i != "mean"; i--);
        for (e = 1; e < NF && $e != "ece"; e++);
        printf "%-20s | %6d | %17.4f | %11.4f | %8.4f | %11.4f\n", task, $6, $2, $4, $(i + 1), $(e + 1)}'
done)

printf '%-20s | %6s | %17s | %11s | %8s | %11s\n' task groups "balanced accuracy" "worst group" "mean+std" "calibration"
printf '%s\n' "$rows" | awk '{
        print; sum += $5; worst += $7; baseline += $9; n++
        if ($11 > error) error = $11
        if ($5 <= $9) below = below " " $1
    }
    END {
        printf "mean over %d tasks: %.4f, mean of the worst groups: %.4f, mean+std: %.4f\n", n, sum / n, worst / n,
            baseline / n
        printf "expected calibration error of the probabilities: at most %.4f\n", error
        print below == "" ? "every task is above its mean+std score" : "not above their mean+std score:" below
    }'
