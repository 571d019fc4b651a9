#!/bin/bash
# hwid export: certificates and public keys come out, private keys do not.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

public_keys() { # KEY URI
    openssl pkey -in "hwid:$1" -pubout -out "$T/wanted.pub"
    hwid export --public "hwid:$1" > "$T/a.pub"
    cmp "$T/a.pub" "$T/wanted.pub"
    hwid export --public "$2" --pin-source "file:$T/pin" --out "$T/b.pub" --force > "$T/out"
    expect_text "$T/out" 'Public key'
    cmp "$T/b.pub" "$T/wanted.pub"
    hwid export --public "hwid:$1" --der > "$T/a.der"
    plain_openssl pkey -pubin -inform DER -in "$T/a.der" | cmp - "$T/wanted.pub"
    hwid export --public "hwid:$1" --der --json > "$T/out"
    json 'd["der"]' | base64 -d | cmp - "$T/a.der"
    refused 1 'does not leave its token' hwid export --private "hwid:$1"
}

make_token line rsa:2048,label=rsa,id=01 ec:P-256,label=ec,id=02 ec:P-256,label=bare,id=03
make_ca ca
make_conf "$T/openssl.cnf" default-first line "keys.rsa=$(key_uri line rsa)" \
    "keys.ec=pkcs11:token=line;object=ec" "keys.bare=$(key_uri line bare)"
export OPENSSL_CONF=$T/openssl.cnf
for key in rsa ec; do
    openssl req -new -key "hwid:$key" -subj "/CN=device-$key" -out "$T/$key.csr"
    issue_cert ca "$key" client "$T/$key.csr"
done
add_certificate line rsa 01 "$T/rsa.pem"
add_certificate line 'another label' 02 "$T/ec.pem"

public_keys rsa "$(key_uri line rsa)"
public_keys ec 'pkcs11:token=line;object=ec'
hwid export --public 'pkcs11:token=line;type=public' > "$T/all.pub"
[ "$(grep -c 'BEGIN PUBLIC KEY' "$T/all.pub")" = 3 ] || fail "$(cat "$T/all.pub")"
refused 1 'a DER file holds one' hwid export --public 'pkcs11:token=line;type=public' --der
refused 1 'does not leave its token' hwid export "$(key_uri line rsa)"
refused 1 'does not leave its token' hwid export "$(key_uri line rsa pin)"
expect_text "$T/err" "token=line;object=rsa"
if grep -q "$PIN" "$T/err"; then fail 'a PIN'; fi

# By name, by URI, and where only the key's identifier leads to it.
hwid export hwid:rsa > "$T/out.pem"
cmp "$T/out.pem" "$T/rsa.pem"
hwid export 'pkcs11:token=line;object=rsa' | cmp - "$T/rsa.pem"
hwid export hwid:ec | cmp - "$T/ec.pem"
hwid export hwid:ec --der --out "$T/ec.der" > "$T/out"
expect_text "$T/out" 'CN=device-ec'
plain_openssl x509 -inform DER -in "$T/ec.der" | cmp - "$T/ec.pem"
hwid export 'pkcs11:token=line;type=cert' --json > "$T/out"
[ "$(json 'sorted(d["subjects"]), len(d["not_after"])')" = "(['CN=device-ec', 'CN=device-rsa'], 2)" ] ||
    fail "$(cat "$T/out")"
refused 1 'a DER file holds one' hwid export 'pkcs11:token=line;type=cert' --der
refused 1 'there is no certificate' hwid export hwid:bare
refused 1 'no-such' hwid export 'pkcs11:token=line;object=no-such'
refused 3 'no-token' hwid export 'pkcs11:token=no-token;object=a'
refused 2 'no key URI' hwid export "$T/rsa.pem"
refused 2 'one of them' hwid export hwid:rsa --private --public
refused 1 '--force' hwid export hwid:rsa --out "$T/rsa.pem"

if without_tpm; then exit 0; fi
HWID_WORLD=tpm
make_token chip rsa:2048,label=rsa ec:P-256,label=ec
make_conf "$T/openssl.cnf" default-first chip keys.rsa=tpm2:handle=0x81000002 \
    keys.ec=tpm2:handle=0x81000003
public_keys rsa tpm2:handle=0x81000002
public_keys ec tpm2:handle=0x81000003
refused 1 'there is no certificate' hwid export hwid:ec
refused 1 'there is no certificate' hwid export tpm2:handle=0x81000003
