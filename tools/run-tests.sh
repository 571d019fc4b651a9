#!/usr/bin/env bash
# Installs what is needed, builds, and runs the tests. See --help.
# shellcheck source-path=SCRIPTDIR/..
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$ROOT/tools/console.sh"
. "$ROOT/tools/packages.sh"

usage() {
    cat <<'TEXT'
tools/run-tests.sh [--preset NAME] [--label LABELS]... [--target NAME] [--no-install]
                   [CTEST ARGUMENT...]

Installs what is needed with apt, builds, and runs the tests.

  --preset NAME    the CMake preset: dev (default), asan-ubsan, tsan
  --label LABELS   only tests with this label (a regular expression: "unit|token"); default: all
                   but slow and matrix
  --target NAME    build only this target, such as unit-and-token-tests; default: all
  --no-install     install nothing
  --verbose        show what apt-get and cmake print

Other arguments go to ctest: tools/run-tests.sh -R uri --repeat until-fail:20
TEXT
}

PRESET=dev LABELS='' INSTALL=yes VERBOSE=no TARGET=all
CTEST_ARGUMENTS=()
while [ $# -gt 0 ]; do
    case $1 in
        --preset) PRESET=${2:?--preset NAME} && shift ;;
        --label) LABELS=${LABELS:+$LABELS|}${2:?--label LABELS} && shift ;;
        --target) TARGET=${2:?--target NAME} && shift ;;
        --no-install) INSTALL=no ;;
        --verbose) VERBOSE=yes ;;
        -h | --help) usage && exit 0 ;;
        *) CTEST_ARGUMENTS+=("$1") ;;
    esac
    shift
done
if [ -n "$LABELS" ]; then
    SELECTION=(-L "^($LABELS)\$")
    case "|$LABELS|" in
        *'|slow|'* | *'|matrix|'*) ;;
        *) SELECTION+=(-LE '^(slow|matrix)$') ;;
    esac
else
    SELECTION=(-LE '^(slow|matrix)$')
fi

export VERBOSE
cd "$ROOT"
if [ $INSTALL = yes ]; then
    step "Packages"
    install_packages test
fi
step "Build (preset $PRESET)"
attempt "cmake --preset $PRESET" cmake --preset "$PRESET"
attempt "cmake --build --preset $PRESET" cmake --build --preset "$PRESET" --target "$TARGET"
step "Tests"
code=0
# One more than there are processors: some tests wait most of their time.
ctest --test-dir "$ROOT/build/$PRESET" -j$(($(nproc) + 1)) --output-on-failure --no-tests=error \
    "${SELECTION[@]}" "${CTEST_ARGUMENTS[@]}" < /dev/null || code=$?
why_skipped "$ROOT/build/$PRESET"
exit $code
