#!/bin/bash
# hwid init token and generate on a TPM behind tpm2-pkcs11, as on any PKCS#11 token.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

MODULE=${HWID_TPM2_PKCS11_MODULE:-$(find /usr/lib* -name libtpm2_pkcs11.so -print -quit)}
if [ -z "$MODULE" ]; then skip "libtpm2_pkcs11.so (libtpm2-pkcs11-1) is not installed"; fi
start_tpm
make_parent 0x81000001
mkdir "$T/store"
(umask 077 && printf '%s\n' "$PIN" > "$T/pin" && printf '%s\n' "$SO_PIN" > "$T/so-pin")
HWID_CONF_MODULE=$MODULE make_conf "$T/openssl.cnf" default-first chip \
    "dev.environment = TPM2_PKCS11_STORE=$T/store TPM2_PKCS11_TCTI=$TPM_TCTI TPM2_PKCS11_LOG_LEVEL=0" \
    'keys.device=pkcs11:token=chip;object=device'
export OPENSSL_CONF=$T/openssl.cnf TSS2_LOG=all+NONE

expect_exit 0 hwid init token pkcs11: --label chip --so-pin-source "file:$T/so-pin" \
    --pin-source "file:$T/pin"
expect_text "$T/out" pkcs11:token=chip
refused 1 'initialized already' hwid init token pkcs11:token=chip --label other \
    --so-pin-source "file:$T/so-pin" --pin-source "file:$T/pin"
for key in ec:P-256 rsa:2048; do
    expect_exit 0 hwid generate "pkcs11:token=chip;object=${key/:/-}" --type $key --json
    uri=$(json "d['uri']")
    json "d['public_key']" | sed '/^$/d' > "$T/shown.pem"
    openssl dgst -sha256 -sign "$uri" -out "$T/signature" "$T/plain.cnf"
    plain_openssl dgst -sha256 -verify "$T/shown.pem" -signature "$T/signature" "$T/plain.cnf" \
        > "$T/text" || fail "$key: $(cat "$T/text")"
done
expect_exit 0 hwid generate hwid://device
expect_exit 1 hwid generate hwid://device
expect_text "$T/err" 'is there already'

# What hwid list shows of it, and hwid delete.
expect_exit 0 hwid list --json
[ "$(json "sorted(o['label'] + ' ' + o.get('type', '?') for o in d['tokens'][0]['objects'])")" = \
    "['device EC P-256', 'ec-P-256 EC P-256', 'rsa-2048 RSA 2048']" ] || fail "$(cat "$T/out")"
[ "$(json "{o['exportable'] for o in d['tokens'][0]['objects']}")" = '{False}' ] ||
    fail "$(cat "$T/out")"
expect_exit 0 hwid list
expect_text "$T/out" 'token chip'
expect_text "$T/out" 'name hwid://device'
expect_exit 0 hwid delete hwid://device --yes
expect_text "$T/out" 'deleted private key device'
expect_text "$T/out" 'deleted public key device'
expect_exit 1 hwid list hwid://device
expect_text "$T/err" 'no object matches'

# PINs: the keys stay usable, with what the PIN's file then has.
signs() {
    openssl dgst -sha256 -sign 'pkcs11:token=chip;object=ec-P-256' -out "$T/signature" "$T/plain.cnf"
}
expect_exit 0 hwid pin state pkcs11:token=chip --json
NEW=22222222 expect_exit 0 hwid pin change pkcs11:token=chip --new-pin-source env:NEW
[ "$(cat "$T/pin")" = 22222222 ] || fail "$(cat "$T/pin")"
signs
expect_exit 0 hwid pin change pkcs11:token=chip --generate
signs
echo wrong-one > "$T/pin"
expect_exit 1 hwid pin change pkcs11:token=chip --generate
expect_text "$T/err" CKR_PIN_INCORRECT
[ "$(cat "$T/pin")" = wrong-one ] || fail "$(cat "$T/pin")"
expect_exit 0 hwid pin unblock pkcs11:token=chip --so-pin-source "file:$T/so-pin" --generate
signs
