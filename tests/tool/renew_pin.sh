#!/bin/bash
# hwid renew with a PIN that the token refuses: it is sent once by each run, whatever runs before
# have left, and what is in the way is told.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
need python3

WRONG=2222
HWID_CONF_MODULE=$HWID_TEST_MODULE start_est_device
export HWID_TEST_CONTROL=$T/control
renew() { # [OPTION...]: fails; what is known of it is told by the answer, the state, and the status
    forget_calls
    HWID_TEST_REPORT=$T/counts expect_exit 1 hwid renew --config "$T/device.conf" --now --json "$@"
    json 'd["why"]' > "$T/why"
    json 'd["why"]' "$T/state.d/device/renewal.json" | diff "$T/why" -
}
sent() { # N: that many PINs were
    [ "$(calls C_Login)" = "$1" ] || fail "$(calls C_Login) PINs were sent, not $1: $(cat "$T/out")"
}
begun() { [ -e "$T/state.d/device/$1/key.pem" ] || fail "no $1: $(ls "$T/state.d/device")"; }
right_pin() { cp "$T/right" "$T/pin"; }
wrong_pin() { echo "$WRONG" > "$T/pin"; }

cp "$T/pin" "$T/right"
echo '-32400 3600' > "$EST/lifetime"
expect_exit 0 hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-7 \
    --user device --password-source "file:$T/password"
echo '-3600 32400' > "$EST/lifetime"

# A run that begins a generation, and those that go on with it.
wrong_pin
renew
sent 1
begun gen-2
for options in '' --new-key; do
    # shellcheck disable=SC2086  # one option or none
    renew $options
    sent 1
done
# What the device says of the key in a begun generation is told, as that of the one before is.
expect_text "$T/why" 'C_Login: CKR_PIN_INCORRECT'
expect_exit 0,1 hwid status --config "$T/device.conf"
expect_text "$T/out" 'C_Login: CKR_PIN_INCORRECT'
rm "$T/pin"
renew
sent 0
expect_text "$T/why" "$T/pin"
right_pin
sed "s|^module = $HWID_TEST_MODULE|module = $T/no-module.so|" "$T/openssl.cnf" > "$T/other.cnf"
OPENSSL_CONF=$T/other.cnf renew
expect_text "$T/why" "$T/no-module.so"
OPENSSL_CONF=$T/nothing.cnf renew
expect_text "$T/why" 'token=line'
mv "$T/tokens" "$T/away"
mkdir "$T/tokens"
renew
expect_text "$T/why" 'token=line'
rmdir "$T/tokens"
mv "$T/away" "$T/tokens"

# So do the commands that are told such a file, whatever else is in it.
KEY=$T/state.d/device/gen-2/key.pem
cat "$EST/ca.pem" "$KEY" > "$T/behind.pem"
wrong_pin
for file in "$KEY" "$T/behind.pem"; do
    forget_calls
    HWID_TEST_REPORT=$T/counts refused 1 'C_Login: CKR_PIN_INCORRECT' hwid csr "$file" --subject /CN=x
    sent 1
done
right_pin
expect_exit 0 hwid csr "$T/behind.pem" --subject /CN=x
plain_openssl req -in "$T/out" -noout -verify > "$T/verified" 2>&1 || fail "$(cat "$T/verified")"
cat "$KEY" "$KEY" > "$T/twice.pem"
refused 1 'several private keys' hwid csr "$T/twice.pem" --subject /CN=x
# The command looks for keys by itself, and by OpenSSL and the provider: what one of them was
# refused, the other does not send. A key that was to be made, and is not there, is sought first.
right_pin
echo 'fail C_GenerateKeyPair CKR_DEVICE_ERROR' > "$T/control"
rm -rf "$T/state.d/device/gen-2"
renew --new-key
expect_text "$T/why" CKR_DEVICE_ERROR
: > "$T/control"
wrong_pin
renew --new-key
sent 1

# With the right PIN it goes on.
right_pin
expect_exit 0 hwid renew --config "$T/device.conf" --now --json
[ "$(json 'd["outcome"]')" = 'new certificate in use' ] || fail "$(cat "$T/out")"
working_pair
