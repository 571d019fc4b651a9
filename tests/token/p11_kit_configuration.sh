#!/bin/bash
# Without a module in openssl.cnf, those of p11-kit's configuration: one in another process
# (`remote:`), and one that wants arguments (`x-init-reserved:`), whose other token takes no PIN.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
need p11-kit certutil setpriv pkg-config
softokn=$(pkg-config --variable=libdir p11-kit-1)/libsoftokn3.so
[ -e "$softokn" ] || softokn=$(dirname "$softokn")/nss/libsoftokn3.so
[ -e "$softokn" ] || skip 'NSS softokn is not installed'

# p11-kit reads a user's configuration, which root has none of.
mkdir -p "$T/home/.config/pkcs11/modules"
echo 'user-config: only' > "$T/home/.config/pkcs11/pkcs11.conf"
modules=$T/home/.config/pkcs11/modules
cp "$HWID_MODULE_DIR/hwid.so" "$T/hwid.so"
HWID_MODULE_DIR=$T
as_user() {
    local user=(env HOME="$T/home" XDG_CONFIG_HOME="$T/home/.config" OPENSSL_CONF="$T/openssl.cnf")
    if [ "$(id -u)" = 0 ]; then
        chmod -R a+rwX "$T"
        user=(setpriv --reuid=65534 --regid=65534 --clear-groups "${user[@]}")
    fi
    "${user[@]}" "$@"
}
provider() { # LINE...
    printf '%s\n' 'openssl_conf = init' '[init]' 'providers = all' '[all]' 'default = first' \
        'hwid = second' '[first]' 'activate = 1' '[second]' "module = $T/hwid.so" 'activate = 1' \
        "$@" > "$T/openssl.cnf"
}
expect_signature() { # URI
    as_user openssl pkey -in "$1" -pubout -out "$T/key.pub"
    as_user openssl dgst -sha256 -sign "$1" -out "$T/signature" "$T/message"
    plain_openssl dgst -sha256 -verify "$T/key.pub" -signature "$T/signature" "$T/message" \
        > /dev/null
}
echo 'a message' > "$T/message"
provider "pkcs11-module-token-pin = $PIN"

make_token far 'rsa:2048,label=rsa,id=01'
echo "remote: |p11-kit remote $HWID_SOFTHSM_MODULE" > "$modules/far.module"
expect_signature 'pkcs11:token=far;object=rsa;type=private'
as_user openssl storeutl -noout 'pkcs11:token=far' > "$T/out"
expect_text "$T/out" 'Total found: 2'
rm "$modules/far.module"

mkdir "$T/db"
env -u LD_PRELOAD certutil -N -d "sql:$T/db" -f "$T/pin"
{
    echo "module: $softokn"
    echo "x-init-reserved: configdir='sql:$T/db' certPrefix='' keyPrefix='' secmod='secmod.db'"
} > "$modules/nss.module"
as_user openssl genpkey -propquery provider=hwid -algorithm EC -pkeyopt group:P-256 \
    -pkeyopt 'hwid_uri:pkcs11:token=NSS%20Certificate%20DB;object=p256' -out "$T/p256.ref"
expect_signature 'pkcs11:object=p256;type=private' # the PIN goes to the one token that takes one
