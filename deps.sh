#!/bin/sh
# Installs the Debian packages that building (build), the demo (demo), testing (test), the gate of raw
# requests (gate), checking (check), training (train), comparing with PyTorch (parity) or with other
# methods (study), measuring speed (bench) or maps (borders), the cases (cases) and fuzzing (fuzz) need. Prints what it
# will install; does nothing when all is there.
set -eu

build="gcc libc6-dev make pkg-config libmicrohttpd-dev libjansson-dev libpng-dev
libsqlite3-dev nettle-dev zlib1g-dev libisal-dev libopenblas-serial-dev"
demo="curl jq"
test="curl jq libcurl4-openssl-dev libcmocka-dev"
gate="python3"
check="clang-format python3-minimal python3-yaml"
train="python3-torch python3-numpy python3-pil jq"
parity="python3-torch python3-torchvision python3-numpy"
bench="libopenblas-serial-dev wrk"
fuzz="clang"
study="python3-torch python3-numpy python3-pil"
borders="python3-numpy python3-pil"
cases="python3-pil"

wanted=""
for set in "$@"; do
    case $set in
    build) wanted="$wanted $build" ;;
    demo) wanted="$wanted $demo" ;;
    test) wanted="$wanted $test" ;;
    gate) wanted="$wanted $gate" ;;
    check) wanted="$wanted $check" ;;
    train) wanted="$wanted $train" ;;
    parity) wanted="$wanted $parity" ;;
    bench) wanted="$wanted $bench" ;;
    study) wanted="$wanted $study" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    borders) wanted="$wanted $borders" ;;
    cases) wanted="$wanted $cases" ;;
    *)
        echo "deps.sh: unknown set '$set' (build, demo, test, gate, check, train, parity, bench, study, fuzz, borders, cases)" >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    echo "deps.sh: not Debian or Ubuntu; make sure that these, by their Debian names, are there:" >&2
    echo $wanted >&2
    exit 0
fi

# Libraries may be there for other architectures too.
architecture=$(dpkg --print-architecture)
missing=""
for package in $wanted; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package:$architecture" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

# No quotes: the names are to be split.
echo "Installing with apt:" $missing
sudo=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "deps.sh: run as root, or install:" $missing >&2; exit 1; }
    sudo=sudo
fi
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
