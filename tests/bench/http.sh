#!/bin/sh
# Requests a second and latency of GET /livez and GET /v1/jobs/{id} over keep-alive, beside a bare
# libmicrohttpd program: without a job; while a job runs; while a job runs with --background; and of
# the bare program beside busy threads of its own that have the lowest policy (SCHED_IDLE), which
# shows what the kernel's scheduler does to any server. wrk (Debian's) against each in turn, ROUNDS
# times, medians. Usage: http.sh CHIPSHOT BASELINE. Skips with a word where wrk is not installed.
#
# On a virtual machine a moment in which its host runs something else shows as a latency, and wrk
# counts the requests that it would have sent meanwhile. What was measured while the host did so
# ("steal" in /proc/stat) is measured again, up to four times.
set -eu

chipshot=$1
baseline=$2
rounds=${ROUNDS:-7}
seconds=${SECONDS_EACH:-1}
connections=${CONNECTIONS:-2}
for tool in wrk curl jq; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "bench-http: skipped: $tool is not installed"
        exit 0
    fi
done

work=$(mktemp -d)
pids=""
again=0
stop() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    pids=""
}
trap 'stop; rm -rf "$work"' EXIT INT TERM
mkfifo "$work/ready" "$work/hold"

# ---- servers ----

# start COMMAND...: starts a server, which says where it listens; $url.
start() {
    "$@" <"$work/hold" >"$work/ready" 2>>"$work/log" &
    pids="$pids $!"
    exec 3>"$work/hold"
    read -r line <"$work/ready"
    url=${line##* }
}
post() { # post PATH JSON
    curl -sS --fail-with-body -H 'Content-Type: application/json' -d "$2" "$url$1"
}
state() { # state JOB
    curl -fsS "$url/v1/jobs/$1" | jq -r .state
}
submit() { # submit MORE: a job, with more members; prints its id
    post "/v1/projects/$project/jobs" \
        "{\"support_set_id\": \"$set\", \"image_ids\": [\"$image\"]$1}" | jq -r .id
}

# serve OPTION...: a server with an image, a support set and a job that has ended; $job.
serve() {
    start "$chipshot" serve "$@" --listen 127.0.0.1:0 --data "$work/data$*" --drain-timeout 1 \
        --log-level warn
    project=$(post /v1/projects '{"name": "bench"}' | jq -r .id)
    image=$(curl -sS --fail-with-body -H 'Content-Type: image/png' \
        --data-binary "@$work/scene/image.png" \
        "$url/v1/projects/$project/images?name=scene" | jq -r .id)
    set=$(post "/v1/projects/$project/support-sets" "$(jq -c --arg id "$image" \
        '.classes[].examples[] += {image_id: $id}' "$work/scene/support.json")" | jq -r .id)
    job=$(submit "")
    curl -fsS -H 'Prefer: wait=30' "$url/v1/jobs/$job" >/dev/null
    n_long=0
    long=""
}

# Sees to it that a job runs: one of many chips that no job has had.
keep_busy() {
    while [ -z "$long" ] || [ "$(state "$long")" != running ]; do
        if [ -z "$long" ] || [ "$(state "$long")" = succeeded ]; then
            long=$(submit ", \"stride\": {\"x\": 2, \"y\": 2}, \"offset\": {\"x\": $n_long, \"y\": 0}")
            n_long=$((n_long + 1))
        fi
        sleep 0.1
    done
}

# ---- measuring ----

stolen() {
    awk '$1 == "cpu" {print $9}' /proc/stat
}
# load URL FILE [busy]: adds "requests/s p50 p99" (in microseconds) to FILE.
load() {
    for attempt in 1 2 3 4 5; do
        [ -z "${3:-}" ] || keep_busy
        before=$(stolen)
        wrk -t1 -c"$connections" -d"${seconds}s" --latency "$1" >"$work/wrk"
        if grep -q 'Non-2xx\|Socket errors' "$work/wrk"; then
            cat "$work/wrk" >&2
            exit 1
        fi
        if [ "$(stolen)" = "$before" ] && { [ -z "${3:-}" ] || [ "$(state "$long")" = running ]; }; then
            break
        fi
        [ "$attempt" = 5 ] || again=$((again + 1))
    done
    awk 'function us(t) { return t ~ /us$/ ? t + 0 : t ~ /ms$/ ? t * 1e3 : t * 1e6 }
        /Requests\/sec/ {rate = $2} $1 == "50%" {p50 = us($2)} $1 == "99%" {p99 = us($2)}
        END {print rate, p50, p99}' "$work/wrk" >>"$2"
}
# load_all SUFFIX [busy]: the bare program and both routes, in turn.
load_all() {
    for _ in $(seq "$rounds"); do
        load "$bare/" "$work/bare$1" "${2:-}"
        load "$url/livez" "$work/livez$1" "${2:-}"
        load "$url/v1/jobs/$job" "$work/job$1" "${2:-}"
    done
}
median() { # median COLUMN FILE
    awk -v column="$1" '{print $column}' "$work/$2" | sort -g |
        awk '{v[NR] = $1} END {print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2}'
}
ratio() {
    echo "$1 $2" | awk '{print $1 / $2}'
}
# row TITLE FILE OF: requests a second as a share of those in file OF, p99 beside that without a job.
row() {
    printf '%-32s %10.0f %8.2f %8.0f %8.0f %9.2f\n' "$1" "$(median 1 "$2")" \
        "$(ratio "$(median 1 "$2")" "$(median 1 "$3")")" "$(median 2 "$2")" "$(median 3 "$2")" \
        "$(ratio "$(median 3 "$2")" "$(median 3 "${2%%-*}")")"
}

"$chipshot" simulate --scene perovskite-on-diamond --out "$work/scene"
start "$baseline" "$(nproc)"
spun=$url
for _ in $(seq "$rounds"); do
    load "$spun/" "$work/bare-spun"
done
stop
start "$baseline"
bare=$url
serve
load_all ""
load_all -busy busy
stop
start "$baseline"
bare=$url
serve --background
load_all -background busy

echo "$connections connections, wrk with 1 thread, $rounds rounds of $seconds s, $(nproc) processors," \
    "$again measured again"
printf '%-32s %10s %8s %8s %8s %9s\n' "" "requests/s" "of bare" "p50 us" "p99 us" "p99 ratio"
for name in bare livez job; do
    row "$name" "$name" bare
    row "$name, a job runs" "$name-busy" bare-busy
    row "$name, a job runs, --background" "$name-background" bare-background
    [ "$name" != bare ] || row "bare, its own idle threads spin" bare-spun bare-spun
done
