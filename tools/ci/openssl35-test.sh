#!/usr/bin/env bash
# Builds and tests in a Debian 13 chroot, which has OpenSSL 3.5. Exit code 77 and the reason where
# that is not possible.
# shellcheck source-path=SCRIPTDIR/../..
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tools/console.sh"
. "$ROOT/tools/packages.sh"
. "$ROOT/tools/ci/chroot.sh"
STEP_NAME='OpenSSL 3.5'

make_chroot trixie
copy_tree_into_chroot "$ROOT"
# What Debian 12 has not: pkcs11-provider, which is tried beside us, and OpenSSL's FIPS provider, which
# is tried before us (tests/tls/fips.sh).
# shellcheck disable=SC2046  # package names are words
in_chroot $(packages_of test) $(packages_of matrix) pkcs11-provider openssl-provider-fips <<'TEXT'
apt_get update
apt_get install "$@"
openssl version
cd /hwid
cmake --preset dev > /dev/null
cmake --build --preset dev > /tmp/build.log 2>&1 || { tail -n 60 /tmp/build.log; exit 1; }
# But for two that take minutes, and are not about OpenSSL.
code=0
ctest --test-dir build/dev -j2 --output-on-failure -E '^(transport_chaos_long|tool/fleet_200)$' < /dev/null || code=$?
. tools/console.sh
why_skipped build/dev
exit $code
TEXT
