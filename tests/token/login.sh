#!/bin/bash
# Who logs in, and when: PIN pads, and what login-behavior says.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
make_token line ec:P-256,label=ec
export HWID_CONF_MODULE=$HWID_TEST_MODULE HWID_TEST_CONTROL=$T/control OPENSSL_CONF=$T/openssl.cnf
KEY=$(key_uri line ec)
echo 'a message' > "$T/message"
signs() { # KEY; the calls are counted
    count_calls openssl dgst -sha256 -sign "$1" -out "$T/signature" "$T/message" < /dev/null
    openssl pkey -pubin -in "pkcs11:token=line;object=ec;type=public" -pubout -out "$T/key.pub"
    plain_openssl dgst -sha256 -verify "$T/key.pub" -signature "$T/signature" "$T/message" \
        > /dev/null
}
logins() { # EXPECTED
    [ "$(calls C_Login)" = "$1" ] || fail "$(calls C_Login) logins instead of $1"
}

# A PIN pad: the program is asked for nothing, and no PIN of a configuration is sent.
printf '%s\n' 'token-flags +0x100' "pin-pad $PIN" > "$T/control"
make_conf "$T/openssl.cnf" default-first line
sed -i '/^pin-source/d' "$T/openssl.cnf"
signs "$KEY"
logins 1
signs "$KEY?pin-value=9999"
logins 1
printf '%s\n' 'token-flags +0x100' 'pin-pad 2222' > "$T/control"
count_calls expect_failure openssl pkey -in "$KEY" -noout
expect_text "$T/out" 'C_Login: CKR_PIN_INCORRECT (0xa0) token=line'
logins 1
printf '%s\n' 'token-flags +0x100' 'fail C_Login CKR_FUNCTION_CANCELED' > "$T/control"
count_calls expect_failure openssl pkey -in "$KEY" -noout
expect_text "$T/out" 'C_Login: CKR_FUNCTION_CANCELED (0x50) token=line'
logins 1
rm "$T/control"

expect_failure openssl pkey -in "$KEY" -noout < /dev/null # nobody can be asked
expect_text "$T/out" 'a PIN is needed'

# login-behavior.
for behavior in auto always never; do
    make_conf "$T/openssl.cnf" default-first line "dev.login-behavior = $behavior"
    count_calls openssl pkey -pubin -in 'pkcs11:token=line;object=ec;type=public' -noout
    if [ $behavior = always ]; then logins 1; else logins 0; fi
    if [ $behavior = never ]; then
        count_calls expect_failure openssl pkey -in "$KEY" -noout
        expect_text "$T/out" 'no private key matches on token=line'
        logins 0
    else
        signs "$KEY"
    fi
done
