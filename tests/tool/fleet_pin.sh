#!/bin/bash
# samples/fleet: a PIN that is wrong is sent once, for the whole fleet. It is neither "no such key" nor
# anything that another try can help.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
# shellcheck source=tests/tool/cloud.bash
. "$HWID_TESTS_DIR/tool/cloud.bash"
# shellcheck source=tests/tool/fleet.bash
. "$HWID_TESTS_DIR/tool/fleet.bash"
need python3

start_fleet 2
echo 2222 > "$T/wrong-pin"
chmod 600 "$T/wrong-pin"
HWID_CONF_MODULE=$HWID_TEST_MODULE make_conf "$T/counted.cnf" default-first line \
    keys.claim='pkcs11:token=line;object=claim;type=private'
sed "s|^pin-source = .*|pin-source = file:$T/wrong-pin|" "$T/counted.cnf" > "$T/wrong.cnf"
sed '/^pin-source/d' "$T/counted.cnf" > "$T/no-pin.cnf"
stopped() { # CONF WORK OPTION...: with six devices, after one login
    forget_calls
    OPENSSL_CONF=$1 FLEET_TRIES=3 FLEET_JOBS=4 HWID_TEST_REPORT=$T/counts \
        expect_exit 1 "$FLEET_SH" "$2" "$T/fleet.conf" 6 "$FLEET" "${@:3}"
    expect_text "$T/out" "$2: 0 of 6 devices"
    expect_text "$T/err" CKR_PIN_INCORRECT
    expect_text "$T/err" "$2: stopped: the PIN is wrong"
    [ "$(calls C_Login)" = 1 ] || fail "$(calls C_Login) logins"
    [ "$(calls C_GenerateKeyPair)" = 0 ] || fail 'a key was made'
}
stopped "$T/wrong.cnf" provision
stopped "$T/no-pin.cnf" provision --pin-source "file:$T/wrong-pin"
# Once the PIN is right all goes on.
fleet provision
stopped "$T/wrong.cnf" renew --now

# A try that is over stops nobody.
know_the_ca
OPENSSL_CONF=$T/wrong.cnf expect_exit 1 hwid renew --config "$FLEET/device-1.conf" --now
echo '-70000000 20000000' > "$EST/lifetime" # seconds, from now: past its half at once
expect_exit 0 hwid renew --config "$FLEET/device-1.conf" --now --keep-old 0s
rm "$EST/lifetime"
OPENSSL_CONF=$T/wrong.cnf expect_exit 1 hwid renew --config "$FLEET/device-1.conf"
expect_exit 1 "$FLEET_SH" renew "$T/fleet.conf" 2 "$FLEET"
expect_text "$T/out" 'renew: 1 of 2 devices'
expect_text "$FLEET/device-1.log" ': waiting'
if grep stopped "$T/err"; then fail 'stopped by what is over'; fi
