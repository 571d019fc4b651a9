#!/bin/bash
# log = debug: what was chosen, and why not the others, for who looks for a fault; never a secret.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
PIN=7315
echo text > "$T/data"
logs() { # COMMAND...: at debug, into $T/log
    rm -f "$T/log"
    HWID_LOG=debug:file:$T/log "$@" > "$T/out" 2>&1 || fail "$*: $(cat "$T/out")"
    if grep -qE "(^|[^0-9])$PIN([^0-9]|\$)" "$T/log"; then fail "the PIN is shown: $(cat "$T/log")"; fi
}
says() { # TEXT...: one after the other, in the log
    local text at=0 found
    for text in "$@"; do
        found=$(tail -n "+$((at + 1))" "$T/log" | grep -nF -m 1 -- "$text" | cut -d: -f1) || true
        [ -n "$found" ] || fail "no \"$text\" behind line $at: $(cat "$T/log")"
        at=$((at + found))
    done
}

make_token other
make_token line rsa:2048,label=rsa,id=01 ec:P-256,label=ec,id=02
make_conf "$T/openssl.cnf" default-first line "keys.rsa=$(key_uri line rsa)" \
    "keys.ec=$(key_uri line ec)" 'dev.pin=7315'
sed -i '/^pin-source/d' "$T/openssl.cnf"
export OPENSSL_CONF=$T/openssl.cnf
openssl pkey -in hwid:rsa -pubout -out "$T/rsa.pub"
logs openssl dgst -sha256 -sign hwid:rsa -out "$T/signature" "$T/data"
says "backend dev: module $(readlink -f "$HWID_SOFTHSM_MODULE"), PKCS#11 2.40, slots with a token:" \
    'C_OpenSession: token=line: session 1 of at most 16' 'C_Login: token=line: logged in' \
    'of type RSA' \
    'C_Sign: token=line object=rsa: RSA PKCS#1 v1.5 SHA2-256 by CKM_RSA_PKCS: CKR_OK'
says ': token line, taken'
logs openssl dgst -sha256 -sign hwid:ec -out "$T/signature" "$T/data"
says 'of type EC' 'by CKM_ECDSA: CKR_OK'
logs openssl pkeyutl -encrypt -pubin -inkey "$T/rsa.pub" -in "$T/data" -out "$T/secret"
logs openssl pkeyutl -decrypt -inkey hwid:rsa -in "$T/secret" -out "$T/opened"
says 'C_DecryptInit: token=line object=rsa: by CKM_RSA_'
logs openssl storeutl -keys 'pkcs11:object=rsa?pin-value=7315' # any token, of which the backend has one
says 'found pkcs11:'
grep -q 'passed over: slot [0-9]*: token other' "$T/log" || fail "$(cat "$T/log")"

# A mechanism that the token refuses, and the next one.
HWID_CONF_MODULE=$HWID_TEST_MODULE make_conf "$T/openssl.cnf" default-first line \
    "keys.rsa=$(key_uri line rsa)"
echo 'hide-mechanism 0x1' > "$T/control"
HWID_TEST_CONTROL=$T/control logs openssl dgst -sha256 -sign hwid:rsa -out "$T/signature" "$T/data"
says 'by CKM_RSA_PKCS: CKR_MECHANISM_INVALID' 'CKR_OK'

# Only where it is asked for.
HWID_LOG=info:file:$T/log openssl dgst -sha256 -sign hwid:rsa -out "$T/signature" "$T/data"
if grep -q 'debug:' <(HWID_LOG=info:stderr openssl dgst -sha256 -sign hwid:rsa -out "$T/signature" \
    "$T/data" 2>&1); then fail 'info shows what is debug'; fi

if ! command -v swtpm > /dev/null || ! command -v tpm2_createprimary > /dev/null; then
    echo 'skipped: the TPM: swtpm or tpm2-tools are not installed'
    exit 0
fi
HWID_WORLD=tpm
make_token tpm-token ec:P-256,label=ec
make_conf "$T/openssl.cnf" default-first tpm-token
tpm_tool tpm2_create -C 0x81000001 -G ecc256 -u "$T/file.pub" -r "$T/file.priv" -c "$T/file.ctx"
logs openssl dgst -sha256 -sign 'pkcs11:token=tpm-token;object=ec' -out "$T/signature" "$T/data"
says "TPM: tpm=$TPM_TCTI" 'of type EC' 'TPM2_Sign: tpm='
logs openssl genpkey -propquery '?provider=hwid' -algorithm EC -pkeyopt group:P-256 \
    -pkeyopt hwid_uri:tpm2: -out "$T/key.pem"
logs openssl dgst -sha256 -sign "$T/key.pem" -out "$T/signature" "$T/data"
says connected 'TPM2_Load: tpm='
