#!/bin/sh
# The main job through HTTP, as a user would do it: upload an image, define a support set, classify,
# look at the map. Usage: demo.sh CHIPSHOT [OUT_DIR]. Exits non-zero on any failure.
set -eu

chipshot=$1
out=${2:-build/demo}
shared=${CHIPSHOT_SHARED:-../shared}
work=$(mktemp -d)
server=""
stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT INT TERM

mkdir -p "$out"
mkfifo "$work/ready"
"$chipshot" serve --listen 127.0.0.1:0 --data "$work/data" --log-level warn >"$work/ready" &
server=$!
read -r line <"$work/ready"
url=${line##* }
echo "server: $line"

seconds() { date +%s.%N; }
since() { echo "$(seconds) $1" | awk '{printf "%.2f", $1 - $2}'; }
metric() { # metric SERIES: its value
    curl -fsS "$url/metrics" | awk -v series="$1" '$1 == series {print $NF}'
}
phase() { # seconds spent in a phase of all jobs so far
    metric "chipshot_job_phase_seconds_total{phase=\"$1\"}"
}
post() { # post PATH FILE [HEADER...]: a JSON body, the answer on stdout
    path=$1 body=$2
    shift 2
    curl -sS --fail-with-body -X POST -H 'Content-Type: application/json' "$@" \
        --data-binary "@$body" "$url$path"
}

echo '{"name": "demo"}' >"$work/project.json"
project=$(post /v1/projects "$work/project.json" | jq -r .id)

# run_job SET IMAGE: sets job_id and job_seconds, from start to end as the service stored them.
run_job() {
    jq -n --arg set "$1" --arg image "$2" '{support_set_id: $set, image_ids: [$image]}' >"$work/job.json"
    job=$(post "/v1/projects/$project/jobs" "$work/job.json" -H 'Prefer: wait=30')
    job_id=$(echo "$job" | jq -r .id)
    state=$(echo "$job" | jq -r .state)
    while [ "$state" = queued ] || [ "$state" = running ]; do
        job=$(curl -fsS -H 'Prefer: wait=30' "$url/v1/jobs/$job_id")
        state=$(echo "$job" | jq -r .state)
    done
    if [ "$state" != succeeded ]; then
        echo "$job" | jq .error >&2
        exit 1
    fi
    job_seconds=$(echo "$job" | jq '[.created_at, .finished_at] | map((.[:19] + "Z" | fromdate) +
        (.[19:23] | tonumber)) | .[1] - .[0]')
}

# classify NAME IMAGE SUPPORT TRUTH: TRUTH is a CSV with the columns row,column,x,y,label.
classify() {
    name=$1 image=$2 support=$3 truth=$4
    echo
    echo "== $name"
    decode_before=$(phase decode) encode_before=$(phase encode) classify_before=$(phase classify)
    start=$(seconds)
    image_id=$(curl -sS --fail-with-body -H 'Content-Type: image/png' --data-binary "@$image" \
        "$url/v1/projects/$project/images?name=$name" | jq -r .id)
    upload=$(since "$start")
    jq --arg id "$image_id" --arg name "$name" \
        '.name = $name | .classes[].examples[] += {image_id: $id}' "$support" >"$work/support.json"
    set_id=$(post "/v1/projects/$project/support-sets" "$work/support.json" | jq -r .id)
    run_job "$set_id" "$image_id"
    first=$job_seconds
    result="$url/v1/jobs/$job_id/results/$image_id"
    curl -fsS "$result.csv" >"$work/labels.csv"
    curl -fsS "$result" | jq -r '.classes[] | [.name, .n_chips, .area_fraction] | @tsv' >"$work/classes.tsv"
    for map in overlay labels; do
        curl -fsS -o "$out/$name-$map.png" "$result/$map.png"
    done
    table "$truth"
    awk -v upload="$upload" -v job="$first" -v d0="$decode_before" -v d1="$(phase decode)" \
        -v e0="$encode_before" -v e1="$(phase encode)" -v c0="$classify_before" -v c1="$(phase classify)" \
        'BEGIN {printf "upload %.2f s, decode %.2f s, encode %.2f s, classify %.3f s, job %.2f s\n",
                upload, d1 - d0, e1 - e0, c1 - c0, job}'
    classify_again
    echo "wrote $out/$name-overlay.png and $out/$name-labels.png"
}

# The same image with one example less a class: no chip is encoded again.
classify_again() {
    encoded=$(metric chipshot_chips_encoded_total)
    jq '.classes[].examples |= .[1:]' "$work/support.json" >"$work/second.json"
    set_id=$(post "/v1/projects/$project/support-sets" "$work/second.json" | jq -r .id)
    run_job "$set_id" "$image_id"
    awk -v first="$first" -v second="$job_seconds" -v chips="$(metric chipshot_chips_encoded_total)" \
        -v before="$encoded" 'BEGIN {
            printf "again with 4 examples a class: %d chips encoded, job %.3f s (%.3f of the first)\n",
                chips - before, second, second / first
            exit chips != before}'
}

# Accuracy of each class over the chips whose truth is known (an empty label is a mixed chip).
table() {
    awk -F, -v OFS='\t' 'FNR == 1 {next}
        NR == FNR {truth[$1 "," $2] = $5; next}
        {t = truth[$1 "," $2]}
        t != "" {n[t]++; if ($5 == t) right[t]++}
        END {for (t in n) print t, n[t], right[t] + 0}' "$1" "$work/labels.csv" >"$work/accuracy.tsv"
    awk -F'\t' 'BEGIN {printf "%-20s | %6s | %13s | %8s\n", "class", "chips", "area fraction", "accuracy"}
        NR == FNR {n[$1] = $2; right[$1] = $3; all += $2; good += $3; next}
        {printf "%-20s | %6d | %13.4f | %8s\n", $1, $2, $3,
            (n[$1] ? sprintf("%.4f", right[$1] / n[$1]) : "-")}
        END {if (all == 0) exit 1; printf "accuracy %.4f on %d chips of known class\n", good / all, all}' \
        "$work/accuracy.tsv" "$work/classes.tsv"
}

for scene in perovskite-on-diamond ordered-oxide; do
    "$chipshot" simulate --scene "$scene" --out "$work/$scene"
    classify "$scene" "$work/$scene/image.png" "$work/$scene/support.json" "$work/$scene/truth.csv"
done
if [ -f "$shared/data/sto-ge/sto-ge-haadf.png" ]; then
    classify sto-ge "$shared/data/sto-ge/sto-ge-haadf.png" "$shared/data/sto-ge/support.json" \
        "$shared/data/sto-ge/clear-chips.csv"
else
    echo "skipped: the STO/Ge micrograph is absent (set CHIPSHOT_SHARED)"
fi
