#!/bin/bash
# Certificates of which the token says that they are to be trusted, or not.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
make_ca root
make_ca bad
issue_cert bad leaf-bad client ec:P-256
software_key "$T/middle.key" ec:P-256
plain_openssl req -new -key "$T/middle.key" -subj /CN=middle -out "$T/middle.csr"
plain_openssl x509 -req -in "$T/middle.csr" -CA "$T/root.pem" -CAkey "$T/root.key" -days 3 \
    -extfile <(echo basicConstraints=critical,CA:TRUE) -out "$T/middle.pem" 2> "$T/out"
issue_cert middle leaf client ec:P-256

# p11-kit's trust store.
module=$(find /usr/lib* -name p11-kit-trust.so -print -quit)
if [ -n "$module" ]; then
    mkdir -p "$T/store"/{anchors,blocklist,blacklist} # its old name
    cp "$T/middle.pem" "$T/store/anchors"
    cp "$T/bad.pem" "$T/store/blocklist"
    cp "$T/bad.pem" "$T/store/blacklist"
    make_conf "$T/trust.cnf" default-first 'System Trust' "dev.init-args = paths='$T/store'"
    sed -i "s|^module = .*softhsm.*|module = $module|; /^token = /d; /^pin-source/d" "$T/trust.cnf"
    export OPENSSL_CONF=$T/trust.cnf
    openssl storeutl -noout -text -certs pkcs11: > "$T/out"
    grep -Eq 'CN ?= ?bad' "$T/out" || fail "it is not listed: $(cat "$T/out")"
    openssl verify -CAstore pkcs11: "$T/leaf.pem" > "$T/out" # the root is not there
    expect_failure openssl verify -CAstore pkcs11: "$T/leaf-bad.pem"
    expect_text "$T/out" 'certificate rejected'
else
    echo "p11-kit's trust store is not tried: no p11-kit-trust.so"
fi

# CKA_TRUSTED (0x86) of any token.
make_token line
add_certificate line middle 01 "$T/middle.pem"
HWID_CONF_MODULE=$HWID_TEST_MODULE make_conf "$T/openssl.cnf" default-first line
export OPENSSL_CONF=$T/openssl.cnf HWID_TEST_CONTROL=$T/control
printf '%s\n' 'attribute 0x86 00' > "$T/control"
expect_failure openssl verify -CAstore pkcs11:token=line "$T/leaf.pem"
expect_text "$T/out" 'unable to get issuer certificate'
printf '%s\n' 'attribute 0x86 01' > "$T/control"
openssl verify -CAstore pkcs11:token=line "$T/leaf.pem" > "$T/out"
openssl x509 -in 'pkcs11:token=line;object=middle;type=cert' -noout -text > "$T/out"
expect_text "$T/out" 'Any Extended Key Usage'
