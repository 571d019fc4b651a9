#!/bin/bash
# A challenge names the endorsement key that it is for, and a TPM has many: certified or not, persistent
# or made where they are used. The device need not be told which one it is.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/attest.bash
. "$HWID_TESTS_DIR/tool/attest.bash"
HWID_WORLD=tpm
make_maker maker
manufacture maker # RSA 2048 (L-1) and EC P-384 (H-3), both persistent
start_tpm
make_parent 0x81000001
TPM_OBJECTS=()
make_conf openssl.cnf default-first chip
sed -i '/^pin-source = /d' openssl.cnf
export OPENSSL_CONF=$T/openssl.cnf
AK=tpm2:handle=0x81010002

# A maker's certificate of P-256 (L-2) as well, between the two.
make_ca second
cp second.pem maker.certs/
printf '%s\n' 'basicConstraints = CA:FALSE' 'extendedKeyUsage = 2.23.133.8.1' > ek.ext
certify() { # PUBLIC CERTIFICATE
    plain_openssl req -new -key second.key -subj /CN=ek |
        plain_openssl x509 -req -CA second.pem -CAkey second.key -set_serial 0x12 -days 1 \
            -force_pubkey "$1" -extfile ek.ext -out "$2" 2> text
}
tpm_tool tpm2_createek -G ecc -c ek.ctx
tpm_tool tpm2_readpublic -c ek.ctx -f pem -o l2.pub
certify l2.pub l2.pem
plain_openssl x509 -in l2.pem -outform DER -out l2.der
tpm_tool tpm2_nvdefine 0x01c0000a -C p -s "$(stat -c %s l2.der)" \
    -a 'platformcreate|ppwrite|ppread|ownerread|authread|no_da'
tpm_tool tpm2_nvwrite 0x01c0000a -C p -i l2.der

accept() { # OPTION...: an AK by that endorsement key, which only the request is told
    rm -f state.json
    hwid attest request --ak $AK --out request.json --force "$@" > text
    hwid attest challenge request.json --ek-ca maker.certs --state state.json --out challenge.json --force > text
    forget_calls
    hwid attest answer challenge.json --ak $AK --out answer.json --force > text
    hwid attest accept answer.json --state state.json --out ak.json --force > text
}
primaries() { tpm_commands 131; } # made for the answer
for kind in L-1 L-2 H-3; do
    accept --ek $kind
done
[ "$(primaries)" = 0 ] || fail "made for the persistent $kind: $(primaries) keys"
# The same without persistent ones: what is certified is tried before what is not.
tpm_tool tpm2_evictcontrol -C o -c 0x81010001
tpm_tool tpm2_evictcontrol -C o -c 0x81010016
for kind in L-1 L-2 H-3; do
    accept --ek $kind
done
[ "$(primaries)" = 1 ] || fail "made for the $kind: $(primaries) keys"
# One of which the TPM has neither key nor certificate: its maker's is in a file.
for kind in H-2 H-4; do
    hwid attest request --ak $AK --ek $kind --ek-cert l2.pem --out request.json --force > text
    bytes_in request.json 'd["ek"]["public"]' > ek.area
    tpm_tool tpm2_print -t TPM2B_PUBLIC -f pem ek.area
    cp tpm.out ek.pub
    certify ek.pub ek.pem
    accept --ek $kind --ek-cert ek.pem
done

# Of another TPM none is.
change challenge.json other.json 'd["ek_name"] = d["ek_name"][:-2] + format(int(d["ek_name"][-2:], 16) ^ 1, "02x")'
refused 1 'another endorsement key than this TPM has' hwid attest answer other.json --ak $AK
for left in handles-transient handles-loaded-session; do
    tpm_tool tpm2_getcap $left
    [ ! -s tpm.out ] || fail "$left: $(cat tpm.out)"
done
