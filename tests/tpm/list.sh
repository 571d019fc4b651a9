#!/bin/bash
# What a TPM holds, listed with stock openssl: `tpm2:` alone, whether a configuration knows of the
# TPM or not. A list asks for no auth value, and changes nothing.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
start_tpm
make_parent 0x81000001
make_tpm_key 0x81000002 ec:P-256
make_tpm_key 0x81000003 rsa:2048 secret
make_parent 0x81000004 rsa
cd "$T"
mkdir modules
ln -s "$HWID_MODULE_DIR/hwid.so" modules/tpm2.so

lists() { # TOTAL COMMANDS ARGUMENT...: what storeutl finds, with how many TPM commands
    local total=$1 commands=$2
    shift 2
    forget_calls
    openssl storeutl -noout "$@" > out 2> noise < /dev/null || fail "$*: $(cat noise)"
    [ ! -s noise ] || fail "$*: $(cat noise)"
    # (Of nothing at all OpenSSL 3.5 prints no number.)
    if [ "$total" != 0 ] || [ -s out ]; then expect_text out "Total found: $total"; fi
    [ "$(tpm_commands)" = "$commands" ] ||
        fail "$*: $(tpm_commands) commands instead of $commands"
}

# Each key as a private and a public one; the storage keys are none. One command for the handles,
# one for each of them, and one for NV indexes where certificates are wanted.
list_all() { # STORE-ARGUMENT...
    lists 4 6 "$@" tpm2:
    [ "$(grep -c ': Pkey' out)" = 2 ] || fail "private keys: $(cat out)"
    [ "$(grep -c ': Public key' out)" = 2 ] || fail "public keys: $(cat out)"
    lists 4 6 "$@" tpm2://
    lists 2 5 "$@" -keys tpm2:
    lists 0 1 "$@" -certs tpm2:
}
OPENSSL_CONF=$T/plain.cnf OPENSSL_MODULES=$T/modules TPM2OPENSSL_TCTI=$TPM_TCTI \
    list_all -provider tpm2 -provider default
# shellcheck disable=SC2034  # of make_conf
TPM_OBJECTS=(device=0x81000002)
HWID_WORLD=tpm make_conf tpm.cnf default-first tpm-token
export OPENSSL_CONF=$T/tpm.cnf
list_all
lists 4 6 pkcs11:token=tpm-token
lists 2 5 'pkcs11:token=tpm-token;type=public'
# A key that needs an auth value is there all the same, and nothing was tried.
openssl storeutl -noout -text -keys tpm2: > out
expect_text out 'device'
expect_text out '0x81000003'
tpm_tool tpm2_getcap properties-variable
grep -q 'TPM2_PT_LOCKOUT_COUNTER: 0x0' tpm.out || fail "lockout: $(cat tpm.out)"
