#!/usr/bin/env bash
# The Debian packages: they build, lintian finds no error, and in a clean chroot they install, are
# enabled by one command, serve openssl, and go without a trace. Exit code 77 and the reason where
# that is not possible. See --help.
# shellcheck source-path=SCRIPTDIR/../..
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tools/console.sh"
. "$ROOT/tools/packages.sh"
. "$ROOT/tools/ci/chroot.sh"
STEP_NAME=packages

usage() {
    cat <<'TEXT'
tools/ci/package-test.sh [SUITE]

SUITE is bookworm (what this is if it is not said) or trixie. The packages are built on this machine
where it has that suite, else in a chroot of it.
TEXT
}
SUITE=bookworm
case ${1:-} in
    -h | --help) usage && exit 0 ;;
    '') ;;
    *) SUITE=$1 ;;
esac

T=$(mktemp -d)
build_here() {
    cd "$ROOT"
    attempt "cmake" cmake --preset packages
    attempt "build" cmake --build --preset packages
    rm -rf build/packages/deb
    attempt "cpack" env -C build/packages cpack
    cp build/packages/deb/*.deb "$T"
}
build_in_chroot() {
    copy_tree_into_chroot "$ROOT"
    # shellcheck disable=SC2046  # package names are words
    in_chroot $(packages_of package) <<'TEXT'
apt_get update
apt_get install "$@"
cd /hwid
{ cmake --preset packages && cmake --build --preset packages && cd build/packages && cpack; } \
    > /tmp/build.log 2>&1 || { tail -n 60 /tmp/build.log; exit 1; }
TEXT
    cp "$CHROOT"/hwid/build/packages/deb/*.deb "$T"
    rm -rf --one-file-system "$CHROOT"
}

. /etc/os-release
if [ "${VERSION_CODENAME:-}" = "$SUITE" ]; then
    build_here
else
    make_chroot "$SUITE"
    build_in_chroot
fi
for deb in "$T"/*.deb; do
    dpkg-deb -f "$deb" Package Version Depends
    dpkg-deb -c "$deb" | awk '$1 !~ /^d/ {print "  " $3 " " $6}'
done
if command -v lintian > /dev/null; then
    lintian --fail-on error --suppress-tags bogus-mail-host "$T"/*.deb
fi

make_chroot "$SUITE"
trap 'rm -rf --one-file-system "$CHROOT" "$T"' EXIT
cp -r "$T" "$CHROOT/debs"
cp "$ROOT/tools/ci/package-use.sh" "$CHROOT/use.sh"
in_chroot <<'TEXT'
files() { # but for what dpkg, SoftHSM and passwd keep for themselves
    find /etc /usr /var/lib -xdev -not -path '/var/lib/dpkg/*' -not -path '/var/lib/apt/*' \
        -not -path '/var/lib/softhsm/*' -not -path '/etc/*-' | sort
}
apt_get update
apt_get install openssl softhsm2
files > /tmp/before
sha256sum /etc/ssl/openssl.cnf > /tmp/openssl.cnf.before
apt_get install /debs/*.deb
bash /use.sh
apt_get purge hwid hwid-provider libhwid-transport0 libhwid-transport-dev
apt_get autoremove --purge
sha256sum --quiet -c /tmp/openssl.cnf.before
files > /tmp/after
diff /tmp/before /tmp/after
echo "Installed, used, and gone."
TEXT
