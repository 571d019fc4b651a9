#!/usr/bin/env bash
# Builds for other architectures in a Debian chroot that has their libraries, makes packages of that, and
# runs the unit tests under qemu-user (not the fuzzers' corpus). Exit code 77 and the reason where that is
# not possible. See --help.
# shellcheck source-path=SCRIPTDIR/../..
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tools/console.sh"
. "$ROOT/tools/packages.sh"
. "$ROOT/tools/ci/chroot.sh"
STEP_NAME='cross build'

usage() {
    cat <<'TEXT'
tools/ci/cross-test.sh [arm64|armhf]...

Default: both, one after the other.
TEXT
}
ARCHITECTURES=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage && exit 0 ;;
        arm64 | armhf) ARCHITECTURES+=("$1") ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done
[ ${#ARCHITECTURES[@]} -gt 0 ] || ARCHITECTURES=(arm64 armhf)

for architecture in "${ARCHITECTURES[@]}"; do
    step "$architecture"
    make_chroot bookworm
    copy_tree_into_chroot "$ROOT"
    # shellcheck disable=SC2046  # package names are words
    in_chroot "$architecture" $(packages_of package) <<'TEXT'
architecture=$1
shift
dpkg --add-architecture "$architecture"
apt_get update
# Libraries are the other architecture's, and what runs here is this one's.
packages=("crossbuild-essential-$architecture" ccache doctest-dev "libsofthsm2:$architecture" openssl python3 qemu-user)
for package in "$@"; do
    case $package in
        g++) ;;
        *-dev)
            if apt-cache show --no-all-versions "$package" | grep -qx 'Architecture: all'; then
                packages+=("$package")
            else
                packages+=("$package:$architecture")
            fi
            ;;
        *) packages+=("$package") ;;
    esac
done
apt_get install "${packages[@]}"
cd /hwid
triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH "-a$architecture" 2> /dev/null)
cross=(--toolchain cmake/toolchains/debian-cross.cmake "-DHWID_TRIPLET=$triplet")
{
    cmake --preset packages "${cross[@]}" && cmake --build --preset packages && (cd build/packages && cpack) &&
    cmake --preset dev "${cross[@]}" -DHWID_TEST_PATIENCE=10 &&
    cmake --build --preset dev --target hwid unit-tests transport_unit
} > /tmp/build.log 2>&1 || { tail -n 60 /tmp/build.log; exit 1; }
wrong() { # PACKAGE WHAT
    echo "FAILED (packages): $1: $2"
    exit 1
}
for package in build/packages/deb/*.deb; do
    dpkg-deb -f "$package" Package Architecture Depends
    [ "$(dpkg-deb -f "$package" Architecture)" = "$architecture" ] || wrong "$package" "not for $architecture"
done
depends_on() { # PACKAGE LIBRARIES: dpkg-shlibdeps leaves out what it does not find
    dpkg-deb -f "$1" Depends | grep -q "$2" || wrong "$1" "does not depend on $2"
}
depends_on build/packages/deb/hwid-provider_*.deb 'libssl3 .*libtss2-tctildr0'
depends_on build/packages/deb/libhwid-transport0*.deb 'libcurl4 .*libpaho-mqttpp3-1'
apt-get -q install --simulate --no-install-recommends ./build/packages/deb/*.deb > /tmp/apt.log 2>&1 ||
    { tail -n 30 /tmp/apt.log; exit 1; } # what they need is there for it
exec ctest --test-dir build/dev -j2 --output-on-failure --no-tests=error -R '^(unit-tests|transport_unit)$' < /dev/null
TEXT
    rm -rf --one-file-system "$CHROOT"
done
good "Built for ${ARCHITECTURES[*]}; the unit tests pass under qemu-user."
