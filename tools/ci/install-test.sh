#!/usr/bin/env bash
# An installed tree works: openssl makes a key and a request with it, the samples start, the manual
# pages are there, and programs outside of the source tree are built with it, by CMake and by
# pkg-config. Installs below a directory of its own.
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
for program in hwid hwid-publish hwid-subscribe hwid-request hwid-reply hwid-telemetry; do
    "$T/prefix/bin/$program" --help > /dev/null || fail "the installed $program does not start"
done
for page in doc/*.[1-9].md; do
    page=$(basename "$page" .md)
    [ -s "$T/prefix/share/man/man${page##*.}/$page" ] || fail "$page is not installed"
done
for unit in hwid-renew.service hwid-renew.timer hwid-telemetry.service; do
    [ -s "$T/prefix/lib/systemd/system/$unit" ] || fail "$unit is not installed"
done
for script in samples/fleet/fleet.sh hwid-greengrass-hook; do
    [ -x "$T/prefix/share/doc/hwid/examples/$script" ] || fail "$script cannot be run"
done
for sample in java/TlsClient.java node/tls_client.js python/tls_client.py python/mqtt_publish.py; do
    [ -s "$T/prefix/share/doc/hwid/examples/samples/$sample" ] || fail "$sample is not installed"
done
[ -s "$T/prefix/share/bash-completion/completions/hwid" ] || fail "bash's completion is not installed"

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

# The library, by who knows nothing but the prefix. The tree is moved first: nothing in it may
# depend on where it was installed.
mv "$T/prefix" "$T/moved"
export OPENSSL_MODULES=${OPENSSL_MODULES/$T\/prefix/$T/moved}
EXAMPLES=$T/moved/share/doc/hwid/examples
cp -r "$ROOT/tools/ci/consumer" "$EXAMPLES/samples" "$T"
printf 'endpoint = print://here\nclient-id = consumer\n' > "$T/consumer.conf"
build_outside() { # DIRECTORY
    attempt "$1: cmake" cmake -S "$T/$1" -B "$T/$1/build" -DCMAKE_PREFIX_PATH="$T/moved" \
        -DCMAKE_BUILD_TYPE=Release
    attempt "$1: build" cmake --build "$T/$1/build"
}
expect_consumer() { # PROGRAM
    "$1" "$T/consumer.conf" > "$T/out" || fail "$1 failed: $(cat "$T/out")"
    [ "$(cat "$T/out")" = "a/topic a payload" ] || fail "$1 printed: $(cat "$T/out")"
}
build_outside consumer
expect_consumer "$T/consumer/build/consumer"
sed -i 's/hwid-transport 0\.1/hwid-transport 0.2/' "$T/consumer/CMakeLists.txt"
if cmake -S "$T/consumer" -B "$T/consumer/newer" -DCMAKE_PREFIX_PATH="$T/moved" > "$T/out" 2>&1; then
    fail "the package passes for a version that it is not"
fi

PACKAGES=$(dirname "$(find "$T/moved" -name hwid-transport.pc)")
export PKG_CONFIG_PATH=$PACKAGES
LIBRARIES=$(pkg-config --variable=libdir hwid-transport)
# shellcheck disable=SC2046  # options are words
attempt "consumer: pkg-config" "${CXX:-c++}" -std=c++20 -Wall -Wextra -Werror \
    $(pkg-config --cflags hwid-transport) "$T/consumer/consumer.cpp" -o "$T/consumer/by-pkg-config" \
    $(pkg-config --libs hwid-transport)
LD_LIBRARY_PATH=$LIBRARIES expect_consumer "$T/consumer/by-pkg-config"
[ "$(pkg-config --modversion hwid-transport)" = "$(sed -n 's/^project(hwid VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)" ] ||
    fail "pkg-config names another version than CMakeLists.txt"

# The samples as a user copies them, with the installed key.
build_outside samples
for program in hwid-publish hwid-subscribe hwid-request hwid-reply hwid-telemetry; do
    "$T/samples/build/$program" --help > /dev/null || fail "the copied $program does not start"
done
printf '%s\n' 'openssl_conf = init' '[init]' 'providers = list' '[list]' 'default = one' 'hwid = one' \
    '[one]' 'activate = 1' > "$T/openssl.cnf"
OPENSSL_CONF=$T/openssl.cnf "$T/samples/build/openssl-sign" \
    "pkcs11:token=installed;object=k;type=private?pin-value=1111" < "$T/request.csr" > "$T/signature"
openssl req -in "$T/request.csr" -noout -pubkey > "$T/public.pem"
openssl dgst -sha256 -verify "$T/public.pem" -signature "$T/signature" "$T/request.csr"
good "The installed tree works."
