#!/usr/bin/env bash
# Builds and tests in a Debian 13 chroot, which has OpenSSL 3.5. Exit code 77 and the reason where
# that is not possible.
# shellcheck source-path=SCRIPTDIR/../..
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tools/console.sh"
. "$ROOT/tools/packages.sh"
STEP_NAME='OpenSSL 3.5'

skip() {
    say "SKIPPED: $*"
    exit 77
}
[ "$(id -u)" = 0 ] || skip "a chroot needs root"
command -v debootstrap > /dev/null || skip "debootstrap is not installed"
unshare --mount true 2> /dev/null || skip "this machine allows no mount namespace"

CHROOT=$(mktemp -d "${TMPDIR:-/var/tmp}/hwid-trixie-XXXXXX")
chmod 0755 "$CHROOT" # the root of what is inside, for all its users
# Mounts are made in a namespace of their own and are gone before this.
trap 'rm -rf --one-file-system "$CHROOT"' EXIT
# shellcheck disable=SC2016  # apt's own format
mapfile -t MIRRORS < <(apt-get indextargets --format '$(REPO_URI)' 2> /dev/null | sort -u |
    grep -v security)
[ ${#MIRRORS[@]} -gt 0 ] || skip "apt knows no Debian mirror"
say "debootstrap trixie from ${MIRRORS[0]}"
attempt_quietly debootstrap debootstrap --variant=minbase trixie "$CHROOT" "${MIRRORS[0]}" ||
    skip "debootstrap could not make the chroot"
if [ -n "$(ls /etc/apt/apt.conf.d)" ]; then # proxies
    cp -n /etc/apt/apt.conf.d/* "$CHROOT/etc/apt/apt.conf.d/" 2> /dev/null || true
fi
cp -L /etc/resolv.conf "$CHROOT/etc/resolv.conf" 2> /dev/null || true
printf '#!/bin/sh\nexit 101\n' > "$CHROOT/usr/sbin/policy-rc.d"
chmod 0755 "$CHROOT/usr/sbin/policy-rc.d"
mkdir "$CHROOT/hwid"
tar -C "$ROOT" --exclude=./build --exclude=./.git -cf - . | tar -C "$CHROOT/hwid" -xf -

cat > "$CHROOT/inside.sh" <<'TEXT'
set -e
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t tmpfs tmpfs /dev/shm
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts -o newinstance,ptmxmode=0666
ln -sf pts/ptmx /dev/ptmx
apt-get -q update > /tmp/apt.log 2>&1 || { tail /tmp/apt.log; exit 75; }
apt-get -q -y --no-install-recommends install "$@" > /tmp/apt.log 2>&1 ||
    { tail -n 30 /tmp/apt.log; exit 75; }
openssl version
cd /hwid
cmake --preset dev > /dev/null
cmake --build --preset dev > /tmp/build.log 2>&1 || { tail -n 60 /tmp/build.log; exit 1; }
exec ctest --test-dir build/dev -j2 --output-on-failure -LE '^(slow|matrix)$' < /dev/null
TEXT
code=0
# pkcs11-provider, which Debian 12 has not, is tried beside us.
# shellcheck disable=SC2046  # package names are words
unshare --mount chroot "$CHROOT" bash /inside.sh $(packages_of test) pkcs11-provider || code=$?
[ $code != 75 ] || skip "apt could not install into the chroot"
exit $code
