#!/bin/bash
# hwid provision aws: by claim against a stand-in for AWS IoT Core, with the policies that hwid aws
# policy writes, and by hand. Whatever goes wrong, the device has one working pair.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/cloud.bash
. "$HWID_TESTS_DIR/tool/cloud.bash"

make_token line ec:P-256,label=device,id=01 rsa:2048,label=claim,id=02 ec:P-256,label=other,id=03
make_conf "$T/openssl.cnf" default-first line "state-dir=$T/state" "audit=file:$T/audit.log" \
    keys.device='pkcs11:token=line;object=device;type=private' \
    keys.claim='pkcs11:token=line;object=claim;type=private' \
    keys.other='pkcs11:token=line;object=other;type=private'
export OPENSSL_CONF=$T/openssl.cnf

registry() { # EXPRESSION of d, the cloud's certificates by their id
    json "$1" "$CLOUD_DIR/fleet.json.registry"
}
active() { # how many certificates of a thing are in force
    registry "len([c for c in d.values() if c['state'] == 'ACTIVE' and c['thing'] == '$1'])"
}
works() { device_works "$T/device.conf"; }
unregistered() { find "$T/state" -name unregistered.json; } # of what is not registered yet

# The policies come from device.conf; what the claim needs is the example that is installed.
device_conf "$T/device.conf"
hwid aws policy --config "$T/device.conf" --region eu-central-1 --account 123456789012 --fleet \
    --out "$T/policy.json" > "$T/out"
hwid aws policy --config "$T/device.conf" --region eu-central-1 --account 123456789012 --claim \
    > "$T/claim-policy.json"
diff "$HWID_TESTS_DIR/../conf/aws-claim-policy.json" "$T/claim-policy.json"
start_cloud aws "$T/policy.json" "$T/claim-policy.json"
device_conf "$T/device.conf"
cp "$T/device.conf" "$T/device.conf.before"
hwid csr hwid://claim --subject /CN=claim --out "$T/claim.csr" > "$T/out"
issue_cert cloud claim client "$T/claim.csr"

# A new device: what is learned is all that it needs.
expect_exit 0 hwid provision aws --config "$T/device.conf" --json
[ "$(json 'd["thing_name"]')" = line-7 ]
[ "$(json 'd["device_configuration"]["interval"]')" = 60 ]
[ "$(json 'd["generation"]')" = 1 ]
[ "$(json 'd["certificate"]')" = "$T/state/device/current/cert.pem" ]
cmp "$T/device.conf" "$T/device.conf.before"
expect_text "$T/state/learned.conf" 'client-id = line-7'
expect_text "$T/state/learned.conf" 'thing-name = line-7'
[ "$(active line-7)" = 1 ]
works
openssl x509 -in "$T/state/device/current/cert.pem" -pubkey -noout > "$T/certified.pub"
openssl pkey -in hwid://device -pubout > "$T/token.pub"
cmp "$T/certified.pub" "$T/token.pub"

# Nothing secret is shown or kept; the trail says what was done.
secrets='token-[0-9a-f]\{64\}\|PRIVATE KEY'
if grep -r "$secrets" "$T/out" "$T/err" "$T/state" "$T/audit.log"; then fail 'a secret is shown'; fi
expect_exit 0 hwid audit "$T/audit.log" --op enrol --lines
[ "$(json 'd["backend"] + " " + d["object"] + " " + d["result"]')" = 'aws device ok' ]
expect_exit 1 hwid status --config "$T/device.conf" # the stand-in's CA lives for a day
expect_text "$T/out" "$T/state/device/current/cert.pem"
expect_text "$T/out" 'gen-1; renewal due'

# A device that was another cloud's goes to the endpoint of device.conf, and forgets that cloud's.
mkdir "$T/state3"
printf '%s\n' 'client-id = of-azure' 'endpoint = mqtts://hub.invalid' 'profile = azure' \
    > "$T/state3/learned.conf"
device_conf "$T/moved.conf" 'profile = azure'
sed -i "/^profile = aws/d; s|^state-dir .*|state-dir = $T/state3|; s/\"7\"/\"9\"/" "$T/moved.conf"
expect_exit 0 hwid provision aws --config "$T/moved.conf" --json
[ "$(json 'd["thing_name"]')" = line-9 ]
expect_text "$T/state3/learned.conf" 'client-id = line-9'
if grep -q 'azure\|hub.invalid' "$T/state3/learned.conf"; then fail "$(cat "$T/state3/learned.conf")"; fi
device_works "$T/moved.conf"

# What AWS says only once is there to be read by its owner; and who has a certificate needs none.
registered() { # JSON answer: what AWS said
    [ "$(json 'd["thing_name"] + str(d["device_configuration"]["interval"])')" = line-760 ] ||
        fail "$(cat "$T/out")"
    [ "$(json 'd["certificate_id"]')" = "$(certificate_id "$T/state/device/current/cert.pem")" ] ||
        fail "$(cat "$T/out")"
}
[ "$(stat -c %a "$T/state/device/gen-1/registration.json")" = 600 ]
expect_exit 0 hwid provision aws --config "$T/device.conf" --if-needed --json
registered
expect_text "$T/err" 'nothing is done'
[ "$(json 'd["generation"]')" = 1 ]
[ "$(active line-7)" = 1 ]

# One for another key, and one that has ended, are none.
is_made() { # GENERATION KEY: for that one, which the device has then
    if grep -q 'nothing is done' "$T/err"; then fail "$(cat "$T/err")"; fi
    [ "$(json 'd["generation"]')" = "$1" ] || fail "$(cat "$T/out")"
    diff <(openssl pkey -in "$2" -pubout) \
        <(plain_openssl x509 -in "$T/state/device/current/cert.pem" -noout -pubkey) ||
        fail 'another key is certified'
    works
}
if_needed=(hwid provision aws --config "$T/device.conf" --name device --if-needed --json)
expect_exit 0 "${if_needed[@]}" --key hwid://other
is_made 2 hwid://other
expect_exit 0 "${if_needed[@]}" --key hwid://other
expect_text "$T/err" 'nothing is done'
expect_exit 0 "${if_needed[@]}" --key hwid://device
is_made 3 hwid://device
need faketime
expect_exit 0 hwid csr hwid://device --subject /CN=line-7 --out "$T/ended.csr"
env -u LD_PRELOAD OPENSSL_CONF="$T/plain.cnf" faketime -f -3d openssl x509 -req -in "$T/ended.csr" \
    -CA "$T/cloud.pem" -CAkey "$T/cloud.key" -CAcreateserial -days 1 \
    -out "$T/state/device/current/cert.pem" 2> "$T/text" || fail "$(cat "$T/text")"
expect_exit 0 "${if_needed[@]}"
is_made 4 hwid://device
rm -rf "$T"/state/device/gen-[23]

# Again, for a certificate more: the old pair lies beside it, until somebody takes it away.
expect_exit 0 hwid provision aws --config "$T/device.conf"
expect_text "$T/out" 'line-7'
[ "$(readlink "$T/state/device/current")" = gen-5 ]
[ -s "$T/state/device/gen-4/cert.pem" ]
works

# The cloud says no, or nothing that makes sense: the pair stays, and the reason is told.
no() { # EXIT TEXT FAULT...
    local wanted=$1 text=$2 before
    shift 2
    before=$(readlink "$T/state/device/current")
    faults "$@"
    expect_exit "$wanted" hwid provision aws --config "$T/device.conf" --timeout 30
    expect_text "$T/err" "$text"
    faults_are_used
    [ "$(readlink "$T/state/device/current")" = "$before" ] || fail "$*: another pair is in use"
    ! grep -q 'token-[0-9a-f]\{64\}' "$T/err" || fail "$*: the token is shown"
    unregistered | xargs -r rm # else the next run goes on with it
    works
}
rm -rf "$T"/state/device/gen-[14]
no 1 'AWS takes RSA keys from 2048 bits on' 'create refuse 400'
no 1 'policy of the claim certificate' 'create refuse 403'
no 1 'compare template-parameters' 'register refuse 400'
no 1 'correct template-name' 'register refuse 404'
no 1 'provisioning role' 'register refuse 403'
no 1 'is no JSON object' 'create garbage'
no 1 'is no JSON object' 'register garbage'
no 1 'no text certificateId' 'create say {"certificatePem": 1}'
no 1 'certificateId is none' 'create say {"certificateId":"../x","certificatePem":"x"}'
no 1 'no text certificateOwnershipToken' 'create say {"certificateId":"a","certificatePem":"x"}'
no 1 'no PEM certificate' \
    'create say {"certificateId":"a","certificatePem":"x","certificateOwnershipToken":"t"}'
no 1 'no JSON object' 'create long 100000'
no 1 'thingName is none' 'register say {"thingName":"a\nkey = /evil"}'
no 1 'no text thingName' 'register say {"thingName":["a"]}'
another=$(python3 -c 'import json, sys; print(json.dumps({"certificateId": "a",
    "certificateOwnershipToken": "t", "certificatePem": open(sys.argv[1]).read()}))' "$T/claim.pem")
no 1 'for another key than the device' "create say $another"
deep=$(python3 -c 'print("[" * 60000 + "]" * 60000)')
no 1 'is no JSON object' "register say {\"thingName\":\"a\",\"deviceConfiguration\":$deep}"

# What passes is waited for: lost connections, silence, a busy service, late and double answers.
TIMEOUT=20
yes() { # FAULT...
    faults "$@"
    expect_exit 0 hwid provision aws --config "$T/device.conf" --timeout "$TIMEOUT"
    faults_are_used
    works
}
yes 'create refuse 500' 'register refuse 429'
expect_text "$T/err" 'it is tried again'
yes 'create drop' 'register drop'
yes 'create lose' 'register lose'
yes 'create silent' 'register silent'
yes 'register silent'
if grep -q 'tried again' "$T/err"; then fail "another certificate was made: $(cat "$T/err")"; fi
yes 'create late 1000' 'register late 1000'
yes 'create twice' 'register twice'
yes 'create late 7000'

end_at_once() { # $pid; what it had in a TPM without a manager stays there
    kill -KILL "$pid"
    wait "$pid" || true
    if in_tpm; then tpm_tool tpm2_flushcontext -l; fi
}
# Killed where the cloud is slow; and where it had done all, the next run goes on from there.
current=$(readlink "$T/state/device/current")
faults 'create silent'
"$HWID_TOOLS_DIR/hwid" provision aws --config "$T/device.conf" > "$T/out" 2> "$T/err" &
pid=$!
wait_for 20 test ! -s "$CLOUD_DIR/mqtt.faults"
end_at_once
[ "$(readlink "$T/state/device/current")" = "$current" ]
works
mapfile -t refusals < <(printf 'connect-line-7 refuse\n%.0s' {1..20})
faults "${refusals[@]}"
expect_exit 1 hwid provision aws --config "$T/device.conf" --timeout 2
expect_text "$T/err" 'connect with the new certificate'
rm "$CLOUD_DIR/mqtt.faults"
expect_exit 1 hwid status --config "$T/device.conf" # the stand-in's CA lives for a day
expect_text "$T/out" 'has a certificate, and was never used'
[ "$(readlink "$T/state/device/current")" = "$current" ]
works
expect_exit 0 hwid provision aws --config "$T/device.conf" --json
expect_text "$T/err" 'an interrupted run'
registered
[ "$(readlink "$T/state/device/current")" != "$current" ]
works

# Whatever is lost between the two questions, it stays one certificate: the next connection, and the
# next run, register what was made.
made() { registry 'len(d)'; }
more() { # CERTIFICATES COMMAND...: so many are made meanwhile, and no token is left
    local wanted=$1 before
    before=$(made)
    shift
    "$@"
    [ "$(made)" = $((before + wanted)) ] || fail "$*: $(($(made) - before)) were made"
    [ -z "$(unregistered)" ] || fail "$*: $(unregistered) is left"
    ! grep -rq 'token-[0-9a-f]\{64\}' "$T/state" "$T/audit.log" "$T/err" || fail "$*: the token is kept"
}
killed_before_registration() {
    faults 'register silent'
    "$HWID_TOOLS_DIR/hwid" provision aws --config "$T/device.conf" > "$T/out" 2> "$T/err" &
    pid=$!
    wait_for 60 test ! -s "$CLOUD_DIR/mqtt.faults" || fail "$(cat "$T/err")"
    end_at_once
    kept=$(unregistered)
    [ "$(stat -c %a "$kept")" = 600 ] || fail "others may read $kept"
}
gone_on_with() { # [SED-SCRIPT]: of what was kept
    killed_before_registration
    expect_exit 0,1 hwid status --config "$T/device.conf"
    expect_text "$T/out" 'AWS has issued, and not registered'
    expect_text "$T/out" 'hwid renew --now: it registers that'
    works
    if [ -n "${1:-}" ]; then sed -i "$1" "$kept"; fi
    expect_exit 0 hwid provision aws --config "$T/device.conf" --timeout "$TIMEOUT"
    works
}
TIMEOUT=60
more 1 yes 'register drop'
more 1 yes 'register lose'
more 1 yes 'register silent' 'register drop' 'register lose'
more 1 gone_on_with
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
# One whose token has ended, cannot be read, or is not taken any more, is given up for another one.
more 2 gone_on_with 's/"ends": [0-9]*/"ends": 1000000000/'
more 2 gone_on_with 's/[{]//'
expect_text "$T/err" 'unregistered.json: it is damaged'
refuse_all() { # COMMAND...: while the broker does not let the device in
    local code=0
    faults "${refusals[@]}"
    "$@" || code=$?
    rm -f "$CLOUD_DIR/mqtt.faults"
    return $code
}
# What was refused is the one that is tried again, patiently, however often: AWS has it in force.
refused_again() {
    local id _
    for _ in 1 2 3; do
        expect_exit 1 refuse_all hwid provision aws --config "$T/device.conf" --timeout 2
        id=$(newest_id)
        expect_text "$T/err" "use certificate $id"
        expect_text "$T/err" 'provision aws --another'
    done
    faults 'connect-line-7 refuse'
    expect_exit 0 hwid provision aws --config "$T/device.conf" --json
    faults_are_used
    registered
    [ "$(json 'd["certificate_id"]')" = "$id" ] || fail 'another one is in use'
    works
}
newest_id() { # of the registered ones
    json 'd["certificate_id"]' "$(printf '%s\n' "$T"/state/device/gen-*/registration.json |
        sort -V | tail -n 1)"
}
more 1 refused_again
# Who says so gets another one, and what that needs to be registered is not thrown away.
refused_and_killed() {
    local id
    expect_exit 1 refuse_all hwid provision aws --config "$T/device.conf" --timeout 2
    id=$(newest_id)
    faults 'register silent'
    "$HWID_TOOLS_DIR/hwid" provision aws --config "$T/device.conf" --another \
        > "$T/out" 2> "$T/err" &
    pid=$!
    wait_for 60 test ! -s "$CLOUD_DIR/mqtt.faults" || fail "$(cat "$T/err")"
    end_at_once
    expect_text "$T/err" "certificate $id is not used, and AWS keeps it in force: deactivate it"
    expect_exit 0,1 hwid status --config "$T/device.conf" --json
    [[ $(json '[c["text"] for c in d["checks"] if c["check"] == "deactivation"]') = *$id* ]] ||
        fail "hwid status does not tell of $id: $(cat "$T/out")"
    id=$(json 'd["certificateId"]' "$(unregistered)")
    expect_exit 0 hwid provision aws --config "$T/device.conf" --json
    registered
    [ "$(json 'd["certificate_id"]')" = "$id" ] || fail 'what was made anew is not in use'
    works
}
more 2 refused_and_killed
# What AWS has answered is not asked again, where its token was good for once.
killed_behind_registration() {
    local token
    killed_before_registration
    token=$(cat "$kept")
    expect_exit 1 refuse_all hwid provision aws --config "$T/device.conf" --timeout 2
    rm "${kept%/*}/cert.pem" "${kept%/*}/learned.conf"
    (umask 077 && echo "$token" > "$kept")
    expect_exit 0 hwid provision aws --config "$T/device.conf" --json
    registered
    works
}
set_fleet token-once true
more 1 killed_behind_registration
set_fleet token-once false
set_fleet token-connection true
more 2 yes 'register drop'
expect_text "$T/err" 'does not take its ownership token any more'
set_fleet token-connection false

# Mistakes in device.conf are told before anything is asked.
wrong() { # TEXT SED-SCRIPT
    sed "$2" "$T/device.conf.before" > "$T/wrong.conf"
    refused 3 "$1" hwid provision aws --config "$T/wrong.conf"
}
wrong 'claim-cert' '/^claim-cert/d'
wrong 'template-name' 's/^template-name.*/template-name = a b/'
wrong 'template-parameters' 's/^template-parameters.*/template-parameters = {"SerialNumber":7}/'
wrong 'state-dir' '/^state-dir/d'
wrong 'mqtts://' 's/^endpoint.*/endpoint = https:\/\/localhost/'
sed 's/^template-name.*/template-name = closed/' "$T/device.conf.before" > "$T/wrong.conf"
hwid aws policy --config "$T/wrong.conf" --region eu-central-1 --account 123456789012 --claim \
    > "$T/out"
expect_text "$T/out" 'provisioning-templates/closed/provision'
# A claim whose policy does not allow the topic is told no more than that.
expect_exit 1 hwid provision aws --config "$T/wrong.conf" --timeout 2
expect_text "$T/err" 'policy of the claim certificate'
refused 2 '--config' hwid provision aws
refused 2 'by hand' hwid provision aws --config "$T/device.conf" --if-needed --csr-out "$T/x.csr"
refused 2 'by claim' hwid provision aws --config "$T/device.conf" --another --csr-out "$T/x.csr"
refused 2 '--if-needed' hwid provision aws --config "$T/device.conf" --another --if-needed
refused 2 '--timeout' hwid provision aws --config "$T/device.conf" --timeout 0
openssl genpkey -algorithm EC -pkeyopt group:P-256 -out "$T/soft.key" 2> /dev/null
refused 1 'in software' hwid provision aws --config "$T/device.conf" --key "$T/soft.key"

# By hand, with a name of its own: the request, and the JSON that AWS's command prints.
sed "s|^key .*|key = hwid://other|; s|^state-dir .*|state-dir = $T/state2|; \$ a client-id = line-8" \
    "$T/device.conf.before" > "$T/hand.conf"
expect_exit 0 hwid provision aws --config "$T/hand.conf" --csr-out "$T/hand.csr"
expect_text "$T/out" 'aws iot create-certificate-from-csr'
openssl req -in "$T/hand.csr" -verify -noout -subject 2> /dev/null | grep -Eq 'CN ?= ?line-8'
refused 1 'exists' hwid provision aws --config "$T/hand.conf" --csr-out "$T/hand.csr"
issue_cert cloud hand client "$T/hand.csr"
answer() { # CERTIFICATE
    python3 -c 'import json, sys; print(json.dumps({"certificateId": "ab12",
        "certificateArn": "arn:aws:iot:eu-central-1:123456789012:cert/ab12",
        "certificatePem": open(sys.argv[1]).read()}))' "$1"
}
answer "$T/claim.pem" > "$T/answer.json"
refused 1 'another key' hwid provision aws --config "$T/hand.conf" --accept "$T/answer.json"
echo '{"certificateId": "ab12"}' > "$T/answer.json"
refused 1 'no text certificatePem' hwid provision aws --config "$T/hand.conf" --accept "$T/answer.json"
answer "$T/hand.pem" > "$T/answer.json"
expect_exit 0 hwid provision aws --config "$T/hand.conf" --accept "$T/answer.json" --json
[ "$(json 'd["certificate_id"] + " " + d["name"]')" = 'ab12 other' ]
[ "$(readlink "$T/state2/other/current")" = gen-1 ]
"$HWID_SAMPLES_DIR/hwid-publish" --config "$T/hand.conf" --message works > "$T/published" 2>&1 ||
    fail "the device cannot connect: $(cat "$T/published")"
