#!/usr/bin/env bash
# An installed tree works: openssl makes a key and a request with it, the samples start, the manual
# pages are there. Installs below a directory of its own.
# shellcheck source-path=SCRIPTDIR/../..
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tools/console.sh"
STEP_NAME=installation

T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
unset OPENSSL_CONF OPENSSL_MODULES
SOFTHSM=$(find /usr/lib -name libsofthsm2.so 2> /dev/null | head -n 1)
[ -n "$SOFTHSM" ] || fail "SoftHSM is not installed"

cd "$ROOT"
cmake --preset release > /dev/null
attempt "build" cmake --build --preset release
# What has an absolute path would land in the system: DESTDIR shows it.
DESTDIR=$T/outside cmake --install build/release --prefix "$T/prefix" > "$T/install.log"
if [ -n "$(find "$T/outside" -type f -not -path "$T/outside$T/prefix/*" | tee "$T/strays")" ]; then
    fail "these files do not follow --prefix: $(sed "s,^$T/outside,," "$T/strays" | xargs)"
fi
cmake --install build/release --prefix "$T/prefix" > "$T/install.log"
(cd "$T/prefix" && find . -type f -o -type l | sort)

MODULE=$(find "$T/prefix" -name hwid.so)
[ -n "$MODULE" ] || fail "hwid.so is not installed"
for program in hwid-publish hwid-subscribe; do
    "$T/prefix/bin/$program" --help > /dev/null || fail "the installed $program does not start"
done
for page in man7/hwid-provider.7 man1/hwid-publish.1 man1/hwid-subscribe.1 man5/device.conf.5; do
    [ -s "$T/prefix/share/man/$page" ] || fail "$page is not installed"
done

mkdir "$T/tokens"
printf 'directories.tokendir = %s\n' "$T/tokens" > "$T/softhsm2.conf"
export SOFTHSM2_CONF=$T/softhsm2.conf PKCS11_PROVIDER_MODULE=$SOFTHSM
OPENSSL_MODULES=$(dirname "$MODULE")
export OPENSSL_MODULES
softhsm2-util --init-token --free --label installed --pin 1111 --so-pin 00000000 > /dev/null
openssl genpkey -provider hwid -provider default -propquery provider=hwid -algorithm EC \
    -pkeyopt ec_paramgen_curve:P-256 \
    -pkeyopt "pkcs11_uri:pkcs11:token=installed;object=k?pin-value=1111" -out "$T/reference.pem"
openssl req -provider hwid -provider default -new -subj /CN=installed \
    -key "pkcs11:token=installed;object=k;type=private?pin-value=1111" -out "$T/request.csr"
openssl req -verify -noout -in "$T/request.csr"
good "The installed tree works."
