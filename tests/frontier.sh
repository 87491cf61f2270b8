#!/bin/sh
# What an embedding may consist of, what that gives on the labelled micrographs of CHIPSHOT_SHARED, and what it
# costs on this machine: two tables in Markdown. Speed is of one thread; run it on an idle machine.
# Usage: frontier.sh CHIPSHOT [ENCODER]
set -eu

chipshot=$1
encoder=${2:+--encoder=$2}
root=${CHIPSHOT_SHARED:-../shared}/data/accuracy
if [ ! -d "$root" ]; then
    echo "skipped: $root is absent (set CHIPSHOT_SHARED)"
    exit 0
fi

# score OPTION...: dimension | mean over tasks | mean of the worst groups
score() {
    lines=$(for manifest in "$root"/*.csv; do
        output=$("$chipshot" evaluate --manifest "$manifest" --root "$root" "$@") || exit 1
        printf '%s\n' "$output" | tail -n 1
    done) || exit 1
    printf '%s\n' "$lines" | awk '{sum += $2; worst += $4; n++; dimension = $8}
        END {printf "%d | %.4f | %.4f\n", dimension, sum / n, worst / n}'
}

# The time of a chip at several sizes is the sum of its times.
chips_per_second() {
    for size in $(echo "$1" | tr , ' '); do
        "$chipshot" bench encoder $encoder --size "$size" --threads 1 --rounds 3 | awk '$1 == "speed:" {print $2}'
    done | awk '{seconds += 1 / $1; n++} END {if (n == 0) exit 1; printf "%.0f\n", 1 / seconds}'
}

info=$("$chipshot" encoder info ${2:-})
name=$(printf '%s\n' "$info" | sed -n 's/^name: *//p')
own_size=$(printf '%s\n' "$info" | sed -n 's/^input:.* \([0-9]*\) px.*/\1/p')
pooled=$(printf '%s\n' "$info" | grep '^pooled:')
statistics=$(case $pooled in *mean*deviation*) echo mean mean,std ;; *deviation*) echo std ;; *) echo mean ;; esac)
# The last pooled stage, the last two, ... all.
stage_sets=$(printf '%s\n' "$pooled" | grep -o 'stage [0-4]' | sort -r |
    awk '{set = set == "" ? $2 : $2 "," set; print set}')

echo "Encoder $name; $("$chipshot" --version); one thread of:" \
    "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)."
echo
echo "| input size | chips/s | pooled stages | statistics | dimension | mean accuracy | worst groups |"
echo "|---|---|---|---|---|---|---|"
for size in 32 48 64 96 32,64 48,64 48,96; do
    speed=$(chips_per_second "$size")
    for stages in $stage_sets; do
        for statistic in $statistics; do
            result=$(score $encoder --input-size "$size" --stages "$stages" --statistics "$statistic")
            echo "| $size | $speed | $stages | $statistic | $result |" | sed 's/,/+/g'
        done
    done
done
echo "| | | none | mean+std of the chip | $(score --features mean-std) |"
echo
echo "| transform | distance | accuracy at $own_size px | worst groups |"
echo "|---|---|---|---|"
for transform in none l2 cl2n standardise; do
    for distance in euclidean cosine; do
        result=$(score $encoder --transform "$transform" --distance "$distance")
        echo "| $transform | $distance | ${result#* | } |"
    done
done
