#!/usr/bin/env bash
# Builds and tests the provider in a Debian chroot with OpenSSL 4 of experimental. All other libraries
# there, curl's and Paho's among them, have OpenSSL 3: neither transport nor tools are built, and the
# tests' programs have nothing but OpenSSL 4 themselves (doc/platforms.md). Exit code 77 and the reason
# where that is not possible.
# shellcheck source-path=SCRIPTDIR/../..
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tools/console.sh"
. "$ROOT/tools/packages.sh"
. "$ROOT/tools/ci/chroot.sh"
STEP_NAME='OpenSSL 4'

make_chroot sid
copy_tree_into_chroot "$ROOT"
# shellcheck disable=SC2046  # package names are words
in_chroot $(packages_of build) <<'TEXT'
sed -n 's/^\(deb [^ ]*\) sid /\1 experimental /p' /etc/apt/sources.list \
    > /etc/apt/sources.list.d/experimental.list
apt_get update
if ! apt-cache madison libssl-dev | grep -q '| *4\.'; then
    echo "SKIPPED: experimental has no OpenSSL 4"
    exit 77
fi
apt_get install "$@" binutils ccache doctest-dev python3 softhsm2 opensc p11-kit p11-kit-modules procps gdb \
    swtpm swtpm-tools tpm2-tools
apt_get install -t experimental openssl libssl-dev
openssl version
cd /hwid
cmake --preset dev -DHWID_TEST_PATIENCE=10 > /dev/null
cmake --build --preset dev --target hwid unit-tests token-tests tpm-tests > /tmp/build.log 2>&1 ||
    { tail -n 60 /tmp/build.log; exit 1; }
# What OpenSSL's own commands do with the keys is in tls/, token/ and tpm/; the rest of tls/ are other
# programs. Not token-tests/random: SoftHSM's own OpenSSL 3 in the same process asks the token, and waits for ever.
exec ctest --test-dir build/dev -j2 --output-on-failure --no-tests=error \
    -R '^(unit-tests$|token-tests/|tpm-tests/|token/|tpm/|tls/openssl_)' -E '^token-tests/random$' < /dev/null
TEXT
