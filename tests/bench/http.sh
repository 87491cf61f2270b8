#!/bin/sh
# Requests a second and latency of GET /livez and GET /v1/jobs/{id} over keep-alive, beside a bare
# libmicrohttpd program, without and with a job running: wrk (Debian's) against each in turn, ROUNDS
# times, medians. Usage: http.sh CHIPSHOT BASELINE. The server runs with --background (NORMAL=1: without).
# Skips with a word where wrk is not installed.
set -eu

chipshot=$1
baseline=$2
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-2}
connections=${CONNECTIONS:-2}
for tool in wrk curl jq; do
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "bench-http: skipped: $tool is not installed"
        exit 0
    fi
done

work=$(mktemp -d)
pids=""
stop() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop EXIT INT TERM

mkfifo "$work/ready" "$work/hold"
"$baseline" <"$work/hold" >"$work/ready" &
pids="$pids $!"
exec 3>"$work/hold"
read -r line <"$work/ready"
bare=${line##* }
background=--background
[ -z "${NORMAL:-}" ] || background=
"$chipshot" serve $background --listen 127.0.0.1:0 --data "$work/data" --log-level "${LOG_LEVEL:-warn}" \
    >"$work/ready" 2>"$work/log" &
pids="$pids $!"
read -r line <"$work/ready"
url=${line##* }

post() { # post PATH JSON
    curl -sS --fail-with-body -H 'Content-Type: application/json' -d "$2" "$url$1"
}

# A job to look at, and a support set for those that run meanwhile.
"$chipshot" simulate --scene perovskite-on-diamond --out "$work/scene"
project=$(post /v1/projects '{"name": "bench"}' | jq -r .id)
image=$(curl -sS --fail-with-body -H 'Content-Type: image/png' --data-binary "@$work/scene/image.png" \
    "$url/v1/projects/$project/images?name=scene" | jq -r .id)
set=$(post "/v1/projects/$project/support-sets" "$(jq -c --arg id "$image" \
    '.classes[].examples[] += {image_id: $id}' "$work/scene/support.json")" | jq -r .id)
submit() { # submit MORE: a job, with more members; prints its id
    post "/v1/projects/$project/jobs" \
        "{\"support_set_id\": \"$set\", \"image_ids\": [\"$image\"]$1}" | jq -r .id
}
job=$(submit "")
curl -fsS -H 'Prefer: wait=30' "$url/v1/jobs/$job" >/dev/null

# load URL FILE: adds "requests/s p50 p99" (in microseconds) to FILE.
load() {
    wrk -t1 -c"$connections" -d"${seconds}s" --latency "$1" >"$work/wrk"
    if grep -q 'Non-2xx\|Socket errors' "$work/wrk"; then
        cat "$work/wrk" >&2
        exit 1
    fi
    awk 'function us(t) { return t ~ /us$/ ? t + 0 : t ~ /ms$/ ? t * 1e3 : t * 1e6 }
        /Requests\/sec/ {rate = $2} $1 == "50%" {p50 = us($2)} $1 == "99%" {p99 = us($2)}
        END {print rate, p50, p99}' "$work/wrk" >>"$2"
}
median() { # median COLUMN FILE
    awk -v column="$1" '{print $column}' "$2" | sort -g |
        awk '{v[NR] = $1} END {print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2}'
}

for round in $(seq "$rounds"); do
    load "$bare/" "$work/bare"
    load "$url/livez" "$work/livez"
    load "$url/v1/jobs/$job" "$work/job"
done

# A job that lasts: stride 1 on the scene, many chips. It is cancelled when all is measured.
long=$(submit ', "stride": {"x": 2, "y": 2}')
state=queued
for _ in $(seq 100); do
    state=$(curl -fsS "$url/v1/jobs/$long" | jq -r .state)
    [ "$state" = queued ] || break
    sleep 0.1
done
for round in $(seq "$rounds"); do
    load "$bare/" "$work/bare-busy"
    load "$url/livez" "$work/livez-busy"
    load "$url/v1/jobs/$job" "$work/job-busy"
done
state=$(curl -fsS "$url/v1/jobs/$long" | jq -r .state)
if [ "$state" != running ]; then
    echo "bench-http: the job was $state before the end of the measurement" >&2
    exit 1
fi
curl -fsS -X POST "$url/v1/jobs/$long/cancel" >/dev/null

echo "$connections connections, wrk with 1 thread, $rounds rounds of $seconds s, $(nproc) processors${background:+, $background}"
printf '%-24s %12s %10s %10s %10s %10s\n' "" "requests/s" "of bare" "p50 us" "p99 us" "p99 ratio"
for name in bare livez job; do
    for busy in "" "-busy"; do
        printf '%-24s %12.0f %10.2f %10.0f %10.0f %10.2f\n' "$name${busy:+, a job runs}" \
            "$(median 1 "$work/$name$busy")" \
            "$(echo "$(median 1 "$work/$name$busy") $(median 1 "$work/bare$busy")" | awk '{print $1 / $2}')" \
            "$(median 2 "$work/$name$busy")" "$(median 3 "$work/$name$busy")" \
            "$(echo "$(median 3 "$work/$name$busy") $(median 3 "$work/$name")" | awk '{print $1 / $2}')"
    done
done
