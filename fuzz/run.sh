#!/usr/bin/env bash
# Builds the fuzz targets with clang and runs them. See --help.
# shellcheck source-path=SCRIPTDIR/..
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$ROOT/tools/console.sh"

usage() {
    cat <<'TEXT'
fuzz/run.sh [--seconds N] [--merge] [TARGET...]

Runs each target (the *_fuzz.cpp of this folder; default: all) from fuzz/corpus/TARGET.
New inputs go to build/fuzz/found/TARGET, so that the next run goes on from there; so does what
failed, as crash-*, timeout-*, oom-* or leak-*: build/fuzz/fuzz/hwid-fuzz-TARGET FILE shows it again.

  --seconds N   how long each target runs; default 60
  --merge       instead: adds to the corpus what covers more than it does
TEXT
}

SECONDS_EACH=60 MERGE=no TARGETS=()
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) SECONDS_EACH=${2:?--seconds N} && shift ;;
        --merge) MERGE=yes ;;
        -h | --help) usage && exit 0 ;;
        -*) usage >&2 && exit 2 ;;
        *) TARGETS+=("$1") ;;
    esac
    shift
done
cd "$ROOT"
if [ ${#TARGETS[@]} = 0 ]; then
    for source in fuzz/*_fuzz.cpp; do TARGETS+=("$(basename "$source" _fuzz.cpp)"); done
fi
step "Build (preset fuzz)"
attempt "cmake --preset fuzz" cmake --preset fuzz
attempt "cmake --build --preset fuzz" cmake --build --preset fuzz --target fuzz

run_target() { # NAME
    local program=build/fuzz/fuzz/hwid-fuzz-$1 corpus=fuzz/corpus/$1 found=build/fuzz/found/$1
    local options=(-timeout=10 -rss_limit_mb=2048 "-artifact_prefix=$found/") log
    mkdir -p "$found"
    log=$(mktemp)
    if [ -f "fuzz/$1.dict" ]; then options+=("-dict=fuzz/$1.dict"); fi
    if [ $MERGE = yes ]; then
        "$program" "${options[@]}" -merge=1 "$corpus" "$found" > "$log" 2>&1
    else
        "$program" "${options[@]}" "-max_total_time=$SECONDS_EACH" -max_len=8400 -len_control=20 \
            -print_final_stats=1 "$found" "$corpus" > "$log" 2>&1
    fi || {
        grep -avE '^#[0-9]+|^ +"|^###' "$log" | tail -n 60 >&2
        fail "hwid-fuzz-$1 found something: see above, and $found"
    }
    say "$1: $(grep -a -E 'number_of_executed_units|MERGE-OUTER: .* new files' "$log" | tail -n 1)"
    rm -f "$log"
}

step "Fuzzing"
for target in "${TARGETS[@]}"; do run_target "$target"; done
