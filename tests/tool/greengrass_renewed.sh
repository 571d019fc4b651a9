#!/bin/bash
# hwid greengrass on a device whose certificate is renewed: Nucleus Lite goes on with what its
# config.yaml says, and a hook gives the Java Nucleus the certificate.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
# shellcheck source=tests/tls/credentials.bash
. "$HWID_TESTS_DIR/tls/credentials.bash"
need python3

make_token line ec:P-256,label=device,id=01
make_conf "$T/openssl.cnf" default-first line "state-dir = $T/state.d" \
    "dev.environment = SOFTHSM2_CONF=$SOFTHSM2_CONF" 'keys.first=pkcs11:token=line;object=device'
export OPENSSL_CONF=$T/openssl.cnf
start_est
cp "$EST"/server.{pem,key} "$T"
start_tls_server
make_device_conf "ca-file = $EST/ca.pem" 'role-alias = device-role'
expect_exit 0 hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-7 \
    --user device --password-source "file:$T/password"

ENDPOINTS=(--region eu-central-1 --data-endpoint localhost
    --credentials-endpoint c.credentials.iot.eu-central-1.amazonaws.com)
lite() { # OPTION...: into $T/lite
    hwid greengrass lite --config "$T/device.conf" "${ENDPOINTS[@]}" --out "$T/lite/config.yaml" "$@"
}
serial() { plain_openssl x509 -in "$1" -noout -serial; }
of_config() { # KEY: its value
    sed -n "s/^ *$1: \"\(.*\)\"$/\1/p" "$T/lite/config.yaml"
}
connects() { # with the certificate that is in use
    env -i PATH="$PATH" LD_PRELOAD="${LD_PRELOAD:-}" ASAN_OPTIONS="${ASAN_OPTIONS:-}" \
        OPENSSL_CONF="$T/lite/openssl.cnf" \
        "$HWID_BIN_DIR/hwid-test-nucleus-lite" "$T/lite/config.yaml" request \
        "https://localhost:$PORT/" > "$T/out" 2> "$T/err" ||
        fail "$(cat "$T/err" "$T/lite/config.yaml")"
    tr -d ' \n:' < "$T/out" | tr a-f A-F > "$T/page"
    expect_text "$T/page" "$(serial "$CURRENT/cert.pem" | cut -d= -f2)"
}

# --- the Java Nucleus: the renewed certificate is beside the key
expect_exit 0 hwid greengrass classic --config "$T/device.conf" "${ENDPOINTS[@]}" \
    --nucleus-version 2.14.0 --out "$T/config.yaml"
expect_text "$T/err" 'the hook that hwid-greengrass(1) shows'
on_token() { # the certificate that Java finds is that of GENERATION
    hwid export 'pkcs11:token=line;object=device;type=cert' > "$T/on-token.pem"
    [ "$(serial "$T/on-token.pem")" = "$(serial "$T/state.d/device/$1/cert.pem")" ] ||
        fail "not that of $1"
    expect_exit 0 hwid doctor --config "$T/config.yaml"
}
HOOK=$HWID_TESTS_DIR/../conf/hwid-greengrass-hook
export PATH=$HWID_TOOLS_DIR:$PATH
on_token gen-1
expect_exit 1 hwid re-enroll est --config "$T/device.conf" --hook "$HOOK"
expect_text "$T/out" 'GREENGRASS_KEY'
GREENGRASS_KEY=$(sed -n 's/^ *privateKeyPath: "\(.*\)"$/\1/p' "$T/config.yaml")
export GREENGRASS_KEY
expect_exit 0 hwid renew --config "$T/device.conf" --hook "$HOOK" --keep-old 0s
on_token gen-2
[ "$(cat "$T/state.d/greengrass-restart")" = 2 ] || fail 'nobody starts the nucleus anew'
[ ! -e "$T/state.d/device/gen-1" ] || fail 'gen-1 is there'
# The certificate of another key is refused, and told; the old pair stays.
expect_exit 1 hwid re-enroll est --config "$T/device.conf" --hook "$HOOK" --new-key
expect_text "$T/out" 'is for another key'
expect_exit 1 hwid renew --config "$T/device.conf" --hook "$HOOK" --keep-old 0s
on_token gen-2
[ "$(cat "$T/state.d/greengrass-restart")" = 2 ] || fail 'it was started anew'

# --- Lite
mkdir "$T/lite"
expect_exit 0 lite
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
[ "$(of_config privateKeyPath)" = "$CURRENT/key.pem" ] || fail "$(cat "$T/lite/config.yaml")"
[ "$(of_config certificateFilePath)" = "$CURRENT/cert.pem" ] || fail "$(cat "$T/lite/config.yaml")"
connects
for options in '' --new-key --new-key; do
    # shellcheck disable=SC2086  # none, or one
    expect_exit 0 hwid re-enroll est --config "$T/device.conf" $options
    expect_exit 0 hwid renew --config "$T/device.conf" --keep-old 0s
    connects
done
[ "$(ls -d "$T"/state.d/device/gen-*)" = "$T/state.d/device/gen-6" ] || fail "$(ls "$T/state.d/device")"

# Names from where the command is run, and a CA behind a link.
ln -s est/ca.pem "$T/root.pem"
(cd "$T" && expect_exit 0 lite --force --ca ./root.pem \
    --cert state.d/device/../device/current/cert.pem)
[ "$(of_config rootCaPath)" = "$T/root.pem" ] || fail "$(cat "$T/lite/config.yaml")"
[ "$(of_config certificateFilePath)" = "$T/state.d/device/../device/current/cert.pem" ] ||
    fail "$(cat "$T/lite/config.yaml")"
expect_text "$T/out" "OPENSSL_CONF='$T/lite/openssl.cnf'"
connects

# What a renewal with a new key would part is told.
expect_exit 0 lite --force --key 'pkcs11:token=line;object=device-g6;type=private'
expect_text "$T/err" 'renew without --new-key'
cp "$CURRENT/cert.pem" "$T/own.pem"
expect_exit 0 lite --force --cert "$T/own.pem"
expect_text "$T/err" 'renew without --new-key'
