#!/usr/bin/env bash
# The Debian packages: they build, lintian finds no error, and in a clean chroot they install, are
# enabled by one command, serve openssl and who builds with the library, keep the administrator's
# settings when they are upgraded or removed, and go without a trace when they are purged. Exit code 77
# and the reason where that is not possible. See --help.
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

# What is read of a package before it is installed.
check_control() { # DEB...
    local deb name
    for deb in "$@"; do
        name=$(dpkg-deb -f "$deb" Package)
        if dpkg-deb -f "$deb" Description | sed 1d | grep -v '^ [^ ]'; then
            fail "$name: lines of the description are indented as examples are"
        fi
        case $name in
            hwid) ;;
            *) [ "$(dpkg-deb -f "$deb" Multi-Arch)" = same ] || fail "$name is not Multi-Arch: same" ;;
        esac
    done
    # What is built with the library may have any later one of that soname.
    dpkg-deb -I "$T"/libhwid-transport0*.deb shlibs | grep '^libhwid-transport [0-9.]* libhwid-transport[0-9.]* (>= ' ||
        fail "what is built with libhwid-transport would need this very version"
    if for deb in "$@"; do dpkg-deb -f "$deb" Description | head -n 1; done | sort | uniq -d | grep .; then
        fail "several packages have this synopsis"
    fi
    for name in samples/fleet/fleet.sh hwid-greengrass-hook; do
        dpkg-deb -c "$T"/hwid_*.deb | grep "^-rwxr-xr-x .*/usr/share/doc/hwid/examples/$name\$" ||
            fail "hwid has no $name that can be run"
    done
    for name in java/TlsClient.java node/tls_client.js python/tls_client.py python/mqtt_publish.py; do
        dpkg-deb -c "$T"/hwid_*.deb | grep "/usr/share/doc/hwid/examples/samples/$name\$" ||
            fail "hwid has no sample $name"
    done
}

# The same, as the next version: what an upgrade installs.
next_version() { # DIRECTORY DEB...
    local directory=$1 deb tree version
    shift
    mkdir "$directory"
    for deb in "$@"; do
        tree=$directory/tree
        version=$(dpkg-deb -f "$deb" Version)
        dpkg-deb --raw-extract "$deb" "$tree"
        sed -i "s/\b${version//./\\.}\b/$version.next/g" "$tree/DEBIAN/control"
        dpkg-deb --build -Znone --root-owner-group "$tree" "$directory" > /dev/null
        rm -rf "$tree"
    done
}

command -v lintian > /dev/null || skip "lintian is not installed"
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
lintian --allow-root --fail-on error "$T"/*.deb
check_control "$T"/*.deb
next_version "$T/next" "$T"/*.deb

make_chroot "$SUITE"
trap 'rm -rf --one-file-system "$CHROOT" "$T"' EXIT
cp -r "$T" "$CHROOT/debs"
cp "$ROOT/tools/ci/package-use.sh" "$CHROOT/use.sh"
cp -r "$ROOT/tools/ci/consumer" "$CHROOT/consumer"
in_chroot <<'TEXT'
files() { # but for what dpkg, SoftHSM and passwd keep for themselves
    find /etc /usr /var/lib -xdev -not -path '/var/lib/dpkg/*' -not -path '/var/lib/apt/*' \
        -not -path '/var/lib/softhsm/*' -not -path '/etc/*-' | sort
}
purge() { # all is as it was
    # shellcheck disable=SC2046  # package names are words
    apt_ours purge hwid hwid-provider $(dpkg-query -W -f '${Package} ' 'libhwid-transport*')
    sha256sum --quiet -c /tmp/openssl.cnf.sum
    files > /tmp/after
    diff /tmp/before /tmp/after
}
failed() { echo "$*" && exit 1; }
apt_get update

# Nothing but what the packages depend on, which comes first: some of that, systemd and adduser, is
# not all gone when it is removed.
depended_on() {
    apt-get -s --no-install-recommends install /debs/*.deb |
        awk '/^Inst / && $2 !~ /hwid/ {print $2}'
}
# shellcheck disable=SC2046  # package names are words
apt_get install $(depended_on)
files > /tmp/before
apt_ours install /debs/*.deb
sha256sum /etc/ssl/openssl.cnf > /tmp/openssl.cnf.sum
hwid enable > /tmp/enabled
grep -q 'openssl genpkey' /tmp/enabled || failed "enable tried no openssl command"
openssl list -providers | grep -qw hwid
purge

# With what people use them with.
# shellcheck disable=SC2046  # package names are words
apt_get install softhsm2 systemd g++ make pkg-config \
    $(dpkg-deb -f /debs/libhwid-transport-dev_*.deb Suggests | tr -d ,)
files > /tmp/before
apt_ours install /debs/*.deb
sha256sum /etc/ssl/openssl.cnf > /tmp/openssl.cnf.sum
bash /use.sh

# Neither an upgrade nor a removal takes the administrator's settings.
cp /etc/ssl/hwid.cnf /tmp/hwid.cnf
kept() { # WHEN
    cmp /etc/ssl/hwid.cnf /tmp/hwid.cnf || failed "the settings are not kept: $1"
    echo "The settings are kept: $1."
}
works() { # WHEN
    openssl req -new -subj /CN=packaged -key hwid://device -out /tmp/device.csr ||
        failed "the key is not used: $1"
    openssl req -verify -noout -in /tmp/device.csr
    kept "$1"
}
apt_ours install /debs/next/*.deb
dpkg-query -W hwid | grep -q '\.next$'
works "after an upgrade"
apt_ours remove hwid hwid-provider
[ -z "$(find /usr/lib -name hwid.so)" ]
sha256sum --quiet -c /tmp/openssl.cnf.sum
openssl genpkey -algorithm EC -pkeyopt group:P-256 -out /dev/null
cp -p /etc/ssl/openssl.cnf /tmp/openssl.cnf
kept "after a removal"
apt_ours install /debs/next/*.deb
works "after an installation again"
cmp /etc/ssl/openssl.cnf.hwid-backup /tmp/openssl.cnf
# An openssl.cnf that was changed meanwhile, so that it would not work, stays.
apt_ours remove hwid hwid-provider
printf '[cut' >> /etc/ssl/openssl.cnf
cp /etc/ssl/openssl.cnf /tmp/openssl.cnf.cut
apt_ours install /debs/next/*.deb
cmp /etc/ssl/openssl.cnf /tmp/openssl.cnf.cut
kept "after openssl.cnf was changed"
cat /tmp/openssl.cnf > /etc/ssl/openssl.cnf
purge
echo "Installed, used, and gone."
TEXT
