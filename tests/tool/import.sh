#!/bin/bash
# hwid import: certificates go beside their keys, and nowhere else.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
need pkcs11-tool

certificates_on() { # TOKEN: how many
    env -u LD_PRELOAD OPENSSL_CONF="$T/plain.cnf" pkcs11-tool --module "$HWID_SOFTHSM_MODULE" \
        --token-label "$1" -O --type cert > "$T/objects" 2> "$T/err" || fail "$(cat "$T/err")"
    grep -c '^Certificate Object' "$T/objects" || true
}

serial_of() { # NAME: of the certificate $T/NAME.pem
    plain_openssl x509 -in "$T/$1.pem" -noout -serial | cut -d= -f2
}

make_ca ca
make_token line rsa:2048,label=rsa,id=01 $'ec:P-256,label=odd\e[31m,id=02' ec:P-256,label=ec,id=0a0b
make_token other ec:P-256,label=ec,id=01
make_conf "$T/openssl.cnf" default-first line "keys.rsa=$(key_uri line rsa)" \
    'keys.ec=pkcs11:token=line;object=ec' 'keys.line=pkcs11:token=line'
export OPENSSL_CONF=$T/openssl.cnf
for key in rsa ec; do
    openssl req -new -key "hwid:$key" -subj "/O=Example/CN=device-$key" -out "$T/$key.csr"
    issue_cert ca "$key" client "$T/$key.csr"
    cp "$T/$key.pem" "$T/$key-old.pem"
    issue_cert ca "$key" client "$T/$key.csr" # renewed
done

# By name; found by the key's identifier afterwards, by OpenSSL as well.
hwid import hwid:ec "$T/ec.pem" > "$T/out" 2> "$T/err"
expect_text "$T/out" 'Certificate: stored'
expect_text "$T/out" 'pkcs11:token=line;id=%0a%0b;type=cert'
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
[ "$(certificates_on line)" = 1 ] || fail "$(cat "$T/objects")"
for text in 'label:      ec' 'ID:         0a0b' 'CN=device-ec'; do expect_text "$T/objects" "$text"; done
hwid export hwid:ec | cmp - "$T/ec.pem"
openssl storeutl -certs 'pkcs11:token=line;id=%0a%0b;type=cert' > "$T/out"
expect_text "$T/out" 'Total found: 1'

# Again: it is there. Another one: it stays, unless it is forced.
hwid import hwid:ec "$T/ec.pem" --json > "$T/out"
[ "$(json 'd["result"], d["id"], d["label"], d["token"]')" = "('was there', '0a0b', 'ec', 'line')" ] ||
    fail "$(cat "$T/out")"
[ "$(json 'd["replaced"]')" = '[]' ] || fail "$(cat "$T/out")"
refused 1 '--force' hwid import hwid:ec "$T/ec-old.pem"
hwid export hwid:ec | cmp - "$T/ec.pem"
hwid import hwid:ec "$T/ec-old.pem" --force --json > "$T/out"
[ "$(json 'd["result"], d["replaced"][0]["subject"], d["replaced"][0]["serial"]')" = \
    "('replaced', 'CN=device-ec,O=Example', '$(serial_of ec)')" ] || fail "$(cat "$T/out")"
hwid export hwid:ec | cmp - "$T/ec-old.pem"
[ "$(certificates_on line)" = 1 ] || fail "$(cat "$T/objects")"

# The token alone: the key is looked for. A chain's leaf; DER; the standard input.
cat "$T/rsa.pem" "$T/ca.pem" > "$T/chain.pem"
hwid import hwid:line "$T/chain.pem" > "$T/out" 2> "$T/err"
expect_text "$T/out" 'label         rsa'
expect_text "$T/err" 'Only the first certificate'
hwid export hwid:rsa | cmp - "$T/rsa.pem"
plain_openssl x509 -in "$T/rsa-old.pem" -outform DER -out "$T/rsa.der"
hwid import 'pkcs11:token=line;object=rsa' - --force < "$T/rsa.der" > "$T/out"
expect_text "$T/out" "serial $(serial_of rsa), ends"
hwid export hwid:rsa | cmp - "$T/rsa-old.pem"
# Labels play no tricks with a terminal.
openssl req -new -key 'pkcs11:token=line;id=%02' -subj /CN=odd -out "$T/odd.csr"
issue_cert ca odd client "$T/odd.csr"
hwid import 'pkcs11:token=line;id=%02' "$T/odd.pem" > "$T/out"
expect_text "$T/out" 'odd\x1b[31m'

# What does not fit.
[ "$(certificates_on line)" = 3 ] || fail "$(cat "$T/objects")"
refused 1 'is for another key' hwid import hwid:rsa "$T/ec.pem"
refused 1 'none of the 3 private keys' hwid import 'pkcs11:token=line' "$T/ca.pem"
refused 1 'a private key' hwid import hwid:ec "$T/ca.key"
refused 3 'holds no' hwid import hwid:ec "$T/pin"
head -c 400 "$T/ec.pem" > "$T/half.pem"
refused 3 'holds no' hwid import hwid:ec "$T/half.pem"
refused 3 "$T/none.pem" hwid import hwid:ec "$T/none.pem"
refused 2 'no key URI' hwid import "$T/ec.pem" "$T/ec.pem"
refused 2 'expects URI FILE' hwid import hwid:ec
refused 1 'no-such' hwid import 'pkcs11:token=line;object=no-such' "$T/ec.pem"
sed '/pin-source/d' "$T/openssl.cnf" > "$T/no-pin.cnf"
refused 3 'PIN' hwid import hwid:ec "$T/ec.pem" --openssl-conf "$T/no-pin.cnf" --force
[ "$(certificates_on line)" = 3 ] || fail "$(cat "$T/objects")"
[ "$(certificates_on other)" = 0 ] || fail "$(cat "$T/objects")"
hwid import hwid:ec "$T/ec.pem" --openssl-conf "$T/no-pin.cnf" --force --pin-source "file:$T/pin" \
    > "$T/out"
hwid export hwid:ec | cmp - "$T/ec.pem"

# A token that loses its sessions just when it stored the certificate has it once; one that does not
# take it says why; one that knows no CKA_PRIVATE of certificates is not asked for it.
HWID_CONF_MODULE=$HWID_TEST_MODULE make_conf "$T/faults.cnf" default-first line \
    'keys.ec=pkcs11:token=line;object=ec'
faults() { # DIRECTIVE...
    printf '%s\n' "$@" > "$T/control"
}
import_with_faults() {
    HWID_TEST_CONTROL=$T/control OPENSSL_CONF=$T/faults.cnf hwid import hwid:ec "$@"
}
faults 'fail C_CreateObject CKR_SESSION_HANDLE_INVALID after times=1'
import_with_faults "$T/ec-old.pem" --force > "$T/out"
expect_text "$T/out" 'Certificate: replaced'
[ "$(certificates_on line)" = 3 ] || fail "$(cat "$T/objects")"
hwid export hwid:ec | cmp - "$T/ec-old.pem"
faults 'fail C_CreateObject CKR_DEVICE_MEMORY'
refused 3 'C_CreateObject: CKR_DEVICE_MEMORY' import_with_faults "$T/ec.pem" --force
hwid export hwid:ec | cmp - "$T/ec-old.pem"
faults 'fail C_CreateObject CKR_ATTRIBUTE_TYPE_INVALID times=1'
import_with_faults "$T/ec.pem" --force > "$T/out"
hwid export hwid:ec | cmp - "$T/ec.pem"

# A private key only for who insists, and it works then.
signs() { # KEY-URI PUBLIC
    echo message > "$T/message"
    openssl dgst -sha256 -sign "$1" -out "$T/signature" "$T/message"
    plain_openssl dgst -sha256 -verify "$2" -signature "$T/signature" "$T/message" > /dev/null
}
for algorithm in rsa:2048 ec:P-256 ec:P-384 ec:P-521; do
    label=soft-${algorithm#*:}
    software_key "$T/soft.key" "$algorithm"
    plain_openssl pkey -in "$T/soft.key" -pubout -out "$T/soft.pub"
    refused 1 '--yes-import-software-key' hwid import "pkcs11:token=line;object=$label" "$T/soft.key"
    hwid import "pkcs11:token=line;object=$label" "$T/soft.key" --yes-import-software-key --json \
        > "$T/out" 2> "$T/err"
    expect_text "$T/err" 'made in software'
    [ "$(json 'd["software_key"], d["label"]')" = "(True, '$label')" ] || fail "$(cat "$T/out")"
    signs "$(json 'd["uri"]')" "$T/soft.pub"
    hwid export --public "pkcs11:token=line;object=$label" | cmp - "$T/soft.pub"
    refused 1 'label is there already' hwid import "pkcs11:token=line;object=$label" "$T/soft.key" \
        --yes-import-software-key
done
env -u LD_PRELOAD OPENSSL_CONF="$T/plain.cnf" pkcs11-tool --module "$HWID_SOFTHSM_MODULE" \
    --token-label line --login --pin "$PIN" -O --type privkey > "$T/objects" 2> /dev/null
if grep -q 'extractable' <(grep -v 'never extractable' "$T/objects"); then fail "$(cat "$T/objects")"; fi
[ "$(grep -c 'sensitive' "$T/objects")" = 7 ] || fail "$(cat "$T/objects")"
# One for RSA-PSS only stays that, in both halves.
plain_openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out "$T/pss.key"
plain_openssl pkey -in "$T/pss.key" -pubout -out "$T/pss.pub"
hwid import 'pkcs11:token=line;object=pss' "$T/pss.key" --yes-import-software-key
signs 'pkcs11:token=line;object=pss;type=private' "$T/pss.pub"
hwid export --public 'pkcs11:token=line;object=pss' | cmp - "$T/pss.pub"
plain_openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 \
    -pkeyopt rsa_pss_keygen_md:sha256 -out "$T/pss.key"
refused 1 'SHA2-256 only' hwid import 'pkcs11:token=line;object=pss-sha256' "$T/pss.key" \
    --yes-import-software-key
# The file's pass phrase and the token's PIN are two things.
(umask 077 && echo 'not the PIN' > "$T/phrase")
plain_openssl pkey -in "$T/soft.key" -aes256 -passout "file:$T/phrase" -out "$T/locked.key"
import_locked() {
    hwid import 'pkcs11:token=line;object=locked;id=%77' "$T/locked.key" --yes-import-software-key \
        --openssl-conf "$T/no-pin.cnf" "$@"
}
refused 3 '--passphrase-source' import_locked --pin-source "file:$T/pin"
refused 3 '--passphrase-source' import_locked --pin-source "file:$T/phrase"
refused 3 PIN import_locked --passphrase-source "file:$T/phrase"
refused 2 'a certificate has none' hwid import hwid:ec "$T/ec.pem" \
    --passphrase-source "file:$T/phrase"
import_locked --pin-source "file:$T/pin" --passphrase-source "file:$T/phrase" > "$T/out" 2> "$T/err"
expect_text "$T/out" 'id            77'
signs 'pkcs11:token=line;id=%77' "$T/soft.pub"
refused 2 'add object=' hwid import hwid:line "$T/soft.key" --yes-import-software-key
plain_openssl genpkey -genparam -algorithm DH -pkeyopt group:ffdhe2048 -out "$T/dh.param"
plain_openssl genpkey -paramfile "$T/dh.param" -out "$T/dh.key"
refused 1 'only RSA, EC' hwid import 'pkcs11:token=line;object=dh' "$T/dh.key" \
    --yes-import-software-key
refused 3 'PEM_read_bio_PrivateKey' hwid import 'pkcs11:token=line;object=ed' "$T/ec.pem" \
    --yes-import-software-key
# Half a key does not stay.
faults 'fail C_CreateObject CKR_DEVICE_MEMORY nth=2'
software_key "$T/soft.key" ec:P-256
HWID_TEST_CONTROL=$T/control OPENSSL_CONF=$T/faults.cnf refused 3 CKR_DEVICE_MEMORY hwid import \
    'pkcs11:token=line;object=half' "$T/soft.key" --yes-import-software-key
refused 1 'object=half' hwid export --public 'pkcs11:token=line;object=half'
# Nor does one go unnoticed that cannot sign.
faults 'fail C_Sign CKR_DEVICE_ERROR'
HWID_TEST_CONTROL=$T/control OPENSSL_CONF=$T/faults.cnf refused 3 'the key is stored' hwid import \
    'pkcs11:token=line;object=mute' "$T/soft.key" --yes-import-software-key

if without_tpm; then exit 0; fi
HWID_WORLD=tpm
make_token chip ec:P-256,label=ec
make_conf "$T/openssl.cnf" default-first chip keys.ec=tpm2:handle=0x81000002
openssl req -new -key hwid:ec -subj /CN=chip -out "$T/chip.csr"
issue_cert ca chip client "$T/chip.csr"
hwid import hwid:ec "$T/chip.pem" > "$T/out" # more of it in nv.sh
expect_text "$T/out" 'tpm2:nv=0x1800001'
hwid export hwid:ec | cmp - "$T/chip.pem"
refused 1 'takes no keys from outside' hwid import hwid:ec "$T/soft.key" --yes-import-software-key
