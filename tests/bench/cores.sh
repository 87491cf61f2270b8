#!/bin/sh
# How fast the encoder is with each of OpenBLAS's sets of kernels: a table in Markdown, rounds interleaved.
# Those that this processor cannot run are left out.
# Usage: cores.sh CHIPSHOT [ROUNDS]
set -eu

chipshot=$1
rounds=${2:-3}
cores="Prescott Sandybridge Haswell SkylakeX Cooperlake"
kinds="default resnet18 resnet50"
figures=$(mktemp)
trap 'rm -f "$figures"' EXIT
trap 'exit 1' INT TERM
unset OPENBLAS_CORETYPE

flags=" $(sed -n 's/^flags[^:]*: *//p' /proc/cpuinfo | head -n 1) "
can_run() {
    case $1 in
    Sandybridge) needed=avx ;;
    Haswell) needed=fma ;;
    SkylakeX) needed=avx512vl ;;
    Cooperlake) needed=avx512_bf16 ;;
    *) return 0 ;;
    esac
    case $flags in *" $needed "*) return 0 ;; *) return 1 ;; esac
}

# speed KIND CORE: appends "KIND CORE CHIPS/S KERNELS". "-" leaves the choice to the program.
speed() {
    case $1 in default) arch="" ;; *) arch="--arch=$1" ;; esac
    if [ "$2" = - ]; then
        output=$("$chipshot" bench encoder $arch --size 64 --rounds 1 --round-ms 150)
    else
        output=$(OPENBLAS_CORETYPE=$2 "$chipshot" bench encoder $arch --size 64 --rounds 1 --round-ms 150)
    fi
    printf '%s\n' "$output" | awk -v name="$1 $2" '
        $1 == "speed:" {speed = $2}
        $1 == "kernels:" {sub(/^kernels: */, ""); kernels = $0}
        END {if (speed == "") exit 1; print name, speed, kernels}' >>"$figures"
}

round=0
while [ "$round" -lt "$rounds" ]; do
    for core in - $cores; do
        can_run "$core" || continue
        for kind in $kinds; do
            speed "$kind" "$core"
        done
    done
    round=$((round + 1))
done

# median KIND CORE
median() {
    awk -v kind="$1" -v core="$2" '$1 == kind && $2 == core {print $3}' "$figures" | sort -n |
        awk '{values[NR] = $1} END {printf "%.0f", (values[int((NR + 1) / 2)] + values[int(NR / 2) + 1]) / 2}'
}

echo "Chips a second on one thread at 64 px in batches of 32, of: $(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo |
    head -n 1). Medians of $rounds interleaved rounds; random weights but for the default encoder."
echo
echo "| \`OPENBLAS_CORETYPE\` | kernels | default encoder | ResNet-18 | ResNet-50 |"
echo "| --- | --- | ---: | ---: | ---: |"
for core in - $cores; do
    can_run "$core" || continue
    kernels=$(awk -v core="$core" '$2 == core {$1 = $2 = $3 = ""; sub(/^ */, ""); print; exit}' "$figures")
    name=$([ "$core" = - ] && echo "not set" || echo "$core")
    echo "| $name | $kernels | $(median default "$core") | $(median resnet18 "$core") | $(median resnet50 "$core") |"
done
