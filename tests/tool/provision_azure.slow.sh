#!/bin/bash
# hwid provision azure against a stand-in for the Device Provisioning Service and a hub.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/cloud.bash
. "$HWID_TESTS_DIR/tool/cloud.bash"

make_token line ec:P-256,label=device,id=01
make_conf "$T/openssl.cnf" default-first line "audit=file:$T/audit.log" \
    keys.device='pkcs11:token=line;object=device;type=private'
export OPENSSL_CONF=$T/openssl.cnf
start_cloud azure
hwid csr hwid://device --subject /CN=line-7 --out "$T/device.csr" > "$T/out"
issue_cert cloud line-7 client "$T/device.csr"
printf '%s\n' 'profile = azure' "dps-endpoint = mqtts://localhost:$CLOUD_PORT" \
    'id-scope = 0ne00000000' "ca-file = $T/cloud.pem" "cert = $T/line-7.pem" 'key = hwid://device' \
    "state-dir = $T/state" > "$T/device.conf"
cp "$T/device.conf" "$T/device.conf.before"

works() { # the device, at the hub that was learned
    "$HWID_SAMPLES_DIR/hwid-publish" --config "$T/device.conf" \
        --topic devices/line-7/messages/events/ --message works > "$T/published" 2>&1 ||
        fail "the device cannot connect: $(cat "$T/published")"
}

expect_exit 0 hwid provision azure --config "$T/device.conf" --json
[ "$(json 'd["hub"] + " " + d["device_id"] + " " + d["substatus"]')" = \
    "$CLOUD_HUB line-7 initialAssignment" ]
expect_text "$T/state/learned.conf" "endpoint = mqtts://$CLOUD_HUB"
expect_text "$T/state/learned.conf" 'client-id = line-7'
cmp "$T/device.conf" "$T/device.conf.before"
works
expect_exit 0 hwid audit "$T/audit.log" --op enrol --lines
[ "$(json 'd["backend"] + " " + d["object"] + " " + d["result"]')" = 'azure line-7 ok' ]
# Again: the same hub, and nothing is written.
cp "$T/state/learned.conf" "$T/learned.before"
inode=$(stat -c %i "$T/state/learned.conf")
refused 3 'it is no JSON' hwid provision azure --config "$T/device.conf" --payload /dev/null
echo '{"site": 7}' > "$T/payload.json"
expect_exit 0 hwid provision azure --config "$T/device.conf" --payload "$T/payload.json"
[ "$(stat -c %i "$T/state/learned.conf")" = "$inode" ]

# A no, and nonsense: nothing is learned.
PATIENCE=30
no() { # EXIT TEXT FAULT...
    local wanted=$1 text=$2
    shift 2
    faults "$@"
    expect_exit "$wanted" hwid provision azure --config "$T/device.conf" --timeout $PATIENCE
    expect_text "$T/err" "$text"
    faults_are_used
    cmp "$T/state/learned.conf" "$T/learned.before"
}
no 1 'no enrolment fits' 'dps-register refuse 404'
no 1 'check id-scope' 'dps-register refuse 401'
no 1 'whether the enrolment is enabled' 'dps-poll refuse 403'
no 1 'no JSON object' 'dps-register garbage'
no 1 'no JSON object' 'dps-poll garbage'
no 1 'no status' 'dps-register say {"status": 7}'
no 1 'no operationId' 'dps-register say {"status": "assigning", "operationId": "a&b"}'
state() { # MEMBERS of registrationState
    echo "dps-poll say {\"status\": \"assigned\", \"registrationState\": $1}"
}
no 1 'no registrationState' "$(state '[]')"
no 1 'assignedHub is no host name' "$(state '{"deviceId": "line-7"}')"
no 1 'assignedHub is no host name' "$(state '{"assignedHub": "evil/x y", "deviceId": "line-7"}')"
no 1 'deviceId is none' "$(state '{"assignedHub": "hub.example", "deviceId": "a\nkey = b"}')"
no 1 'another registration' \
    "$(state '{"assignedHub": "hub.example", "deviceId": "a", "registrationId": "line-8"}')"
no 1 'the assignment is failed: 400209, Custom allocation' \
    'dps-poll say {"status": "failed", "registrationState": {"errorCode": 400209, "errorMessage": "Custom allocation failed"}}'
no 1 'the assignment is disabled' 'dps-poll say {"status": "disabled"}'
# A hub that is not there is not learned either.
PATIENCE=12 # it is looked for until then
no 3 'no-such-hub.invalid' "$(state '{"assignedHub": "no-such-hub.invalid", "deviceId": "line-7"}')"
# The service may write a registration id in capital letters.
no 3 'no-such-hub.invalid' \
    "$(state '{"assignedHub": "no-such-hub.invalid", "deviceId": "line-7", "registrationId": "LINE-7"}')"

yes() { # FAULT...
    faults "$@"
    expect_exit 0 hwid provision azure --config "$T/device.conf" --timeout 20
    faults_are_used
    works
}
yes 'dps-register refuse 429' 'dps-poll refuse 500'
expect_text "$T/err" 'it is tried again'
# One that says when to ask again is not asked before: the stand-in would say no for good.
throttled() { # SECONDS FAULT...
    sed -i "s/\"retry-after\": *[0-9]*/\"retry-after\": $1/" "$CLOUD_DIR/dps.json"
    grep -q "\"retry-after\": $1" "$CLOUD_DIR/dps.json"
    faults "${@:2}"
}
throttled 4 'dps-register refuse 429'
expect_exit 0 hwid provision azure --config "$T/device.conf" --timeout 60
expect_text "$T/err" 'it is tried again, after the 4 s that the service asks for'
throttled 4 'dps-poll refuse 429'
expect_exit 0 hwid provision azure --config "$T/device.conf" --timeout 60
works
throttled 1
yes 'dps-register drop' 'dps-poll drop'
yes 'dps-register lose' 'dps-poll lose'
yes 'dps-register silent' 'dps-poll silent'
yes 'dps-register late 1000' 'dps-poll late 1000'
yes 'dps-register twice' 'dps-poll twice'

# A service that takes longer than we wait has not said no.
sed -i 's/"polls": *[0-9]*/"polls": 1000/' "$CLOUD_DIR/dps.json"
grep -q '"polls": 1000' "$CLOUD_DIR/dps.json"
expect_exit 4 hwid provision azure --config "$T/device.conf" --timeout 8
expect_text "$T/err" 'has not assigned a hub in time'
hwid audit "$T/audit.log" --op enrol --lines | tail -n 1 > "$T/last"
[ "$(json 'd["result"]' "$T/last")" = 'pending 202' ] || fail "$(cat "$T/last")"
cmp "$T/state/learned.conf" "$T/learned.before"

# One that wants to be left alone for longer than we wait is not waited for.
throttled 1000 'dps-register refuse 429'
expect_exit 1 hwid provision azure --config "$T/device.conf" --timeout 20
expect_text "$T/err" 'try again in 1000 s'
if grep -q 'tried again' "$T/err"; then fail "$(cat "$T/err")"; fi

# What device.conf has wrong is told before anything is asked.
wrong() { # TEXT SED-SCRIPT
    sed "$2" "$T/device.conf.before" > "$T/wrong.conf"
    refused 3 "$1" hwid provision azure --config "$T/wrong.conf"
}
wrong 'id-scope' '/^id-scope/d'
expect_text "$T/err" "open mqtts://localhost:$CLOUD_PORT: $T/wrong.conf, key id-scope: "
wrong 'state-dir' '/^state-dir/d'
wrong 'common name is line-7' '$ a registration-id = line-8'
expect_text "$T/err" "open mqtts://localhost:$CLOUD_PORT: $T/wrong.conf, key registration-id: "
wrong 'cert' '/^cert/d'

# Whom the service does not let in is told what it goes by.
sed 's/^id-scope.*/id-scope = 0neWRONG/' "$T/device.conf.before" > "$T/wrong.conf"
refused 1 'check id-scope (0neWRONG) and registration-id (line-7), and that an enrolment in DPS' \
    hwid provision azure --config "$T/wrong.conf" --timeout $PATIENCE
