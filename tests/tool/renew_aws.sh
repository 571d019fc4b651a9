#!/bin/bash
# hwid renew of a device that AWS IoT Core gave its certificate by claim: AWS makes the next one, for
# the key in use or a new one. Whatever goes wrong or is lost, there is one working pair.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/cloud.bash
. "$HWID_TESTS_DIR/tool/cloud.bash"
need python3

make_token line ec:P-256,label=device,id=01 rsa:2048,label=claim,id=02
make_conf "$T/openssl.cnf" default-first line "state-dir=$T/state" "audit=file:$T/audit.log" \
    keys.device='pkcs11:token=line;object=device;type=private' \
    keys.claim='pkcs11:token=line;object=claim;type=private'
export OPENSSL_CONF=$T/openssl.cnf

device_conf "$T/device.conf"
policy=(hwid aws policy --config "$T/device.conf" --region eu-central-1 --account 123456789012)
"${policy[@]}" --fleet --out "$T/policy.json" > "$T/out"
"${policy[@]}" --claim > "$T/claim-policy.json"
start_cloud aws "$T/policy.json" "$T/claim-policy.json"
device_conf "$T/device.conf"
hwid csr hwid://claim --subject /CN=claim --out "$T/claim.csr" > "$T/out"
issue_cert cloud claim client "$T/claim.csr"

CURRENT=$T/state/device/current
renew() { hwid renew --config "$T/device.conf" "$@"; }
is() { # EXPRESSION WANTED: of the JSON answer
    [ "$(json "$1")" = "$2" ] || fail "$1 is $(json "$1"), not $2: $(cat "$T/out" "$T/err")"
}
made() { json 'len(d)' "$CLOUD_DIR/fleet.json.registry"; } # certificates, by AWS
works() { device_works "$T/device.conf"; }
unregistered() { find "$T/state" -name unregistered.json; } # of what is not registered yet
is_certified() { # the key in use
    diff <(openssl pkey -in "$CURRENT/key.pem" -pubout) \
        <(plain_openssl x509 -in "$CURRENT/cert.pem" -noout -pubkey) || fail 'another key is certified'
}

# There has to be a device; one whose certificates a person makes is told so.
refused 2 'provision it first: hwid provision aws' renew --now
rm -rf "$T/state"
refused 2 'provision it first: hwid provision aws' renew --dry-run
[ ! -e "$T/state" ] || fail 'written'
sed '/^claim-cert/d' "$T/device.conf" > "$T/hand.conf"
refused 2 'hwid provision aws --csr-out' hwid renew --config "$T/hand.conf"
refused 2 'no est-url' hwid re-enroll est --config "$T/device.conf"
sed 's/^template-parameters.*/template-parameters = {"SerialNumber":7}/' "$T/device.conf" > "$T/wrong.conf"
refused 3 'template-parameters' hwid renew --config "$T/wrong.conf"

# Not before it is time; then for the same key and subject, and the old pair stays for a while.
expect_exit 0 hwid provision aws --config "$T/device.conf"
expect_exit 0 renew --json
is 'd["outcome"]' 'not due'
[ "$(made)" = 1 ] || fail "$(made) were made"
cp "$CURRENT/cert.pem" "$T/old.pem"
expect_exit 0 renew --now --json
is 'd["outcome"]' 'new certificate in use'
is 'd["generation"]' 2
is 'd["removed"]' '[]'
[ "$(made)" = 2 ] || fail "$(made) were made"
if cmp -s "$CURRENT/cert.pem" "$T/old.pem"; then fail 'the certificate is the old one'; fi
diff <(plain_openssl x509 -in "$T/old.pem" -noout -subject -pubkey) \
    <(plain_openssl x509 -in "$CURRENT/cert.pem" -noout -subject -pubkey)
[ -s "$T/state/device/gen-1/cert.pem" ] || fail 'the old pair is gone'
expect_text "$T/state/learned.conf" 'client-id = line-7'
works
expect_exit 0 hwid audit "$T/audit.log" --op enrol --lines
expect_text "$T/out" '"mechanism":"switch to gen-2"'
if grep -q '"backend":"est"' "$T/out"; then fail "$(cat "$T/out")"; fi

# With a key of its own, made beside the old one, which goes with its generation; and hooks.
printf '#!/bin/sh\nenv > %s\n' "$T/hooked" > "$T/hook"
chmod +x "$T/hook"
cp "$CURRENT/cert.pem" "$T/second.pem"
expect_exit 0 renew --now --new-key --hook "$T/hook" --keep-old 0s --json
is 'd["generation"]' 3
is 'd["removed"]' "['gen-1', 'gen-2']"
# AWS does not forget what is removed here.
is 'd["to_deactivate"]' "['$(certificate_id "$T/old.pem")', '$(certificate_id "$T/second.pem")']"
expect_exit 0 hwid audit "$T/audit.log" --op enrol --lines
expect_text "$T/out" "remove gen-1, certificate $(certificate_id "$T/old.pem")"
expect_text "$T/hooked" 'HWID_GENERATION=3'
is_certified
expect_exit 0 hwid list 'pkcs11:token=line;object=device-g3;type=private'
works
expect_exit 0 renew --now --keep-old 0s --json
is_certified
works
expect_exit 0 renew --now --new-key --keep-old 0s --json
is_certified
expect_exit 1 hwid list 'pkcs11:token=line;object=device-g3;type=private'
expect_exit 0 hwid list 'pkcs11:token=line;object=device;type=private' # not made by a renewal
works

# AWS says no: the pair stays, the reason is told, and the next try is later.
before=$(readlink "$CURRENT")
faults 'register refuse 400'
expect_exit 1 renew --now --json
is 'd["outcome"]' failed
expect_text "$T/out" 'compare template-parameters'
faults_are_used
[ "$(readlink "$CURRENT")" = "$before" ] || fail 'another pair is in use'
works
number=$(made)
expect_exit 1 renew --json
is 'd["outcome"]' waiting
[ "$(made)" = "$number" ] || fail 'it was asked again'
# What was made then is registered now, and no other one is made.
expect_exit 0 renew --now --json
is 'd["outcome"]' 'new certificate in use'
[ "$(made)" = "$number" ] || fail "$(($(made) - number)) more were made"
[ -z "$(unregistered)" ] || fail "$(unregistered) is left"
works

# What passes is waited for.
number=$(made)
faults 'create refuse 500' 'register drop'
expect_exit 0 renew --now
faults_are_used
[ "$(made)" = $((number + 1)) ] || fail "$(($(made) - number)) were made"
works

# Killed between the two questions, and where the new certificate was refused.
gone_on_with() { # so that no other certificate is made
    expect_exit 0 renew --now --json
    is 'd["outcome"]' 'new certificate in use'
    [ "$(made)" = $((number + 1)) ] || fail "$(($(made) - number)) were made"
    [ -z "$(unregistered)" ] || fail "$(unregistered) is left"
    is_certified
    works
}
number=$(made)
faults 'register silent'
"$HWID_TOOLS_DIR/hwid" renew --config "$T/device.conf" --now > "$T/out" 2> "$T/err" &
pid=$!
wait_for 60 test ! -s "$CLOUD_DIR/mqtt.faults" || fail "$(cat "$T/err")"
kill -KILL $pid
wait $pid || true
[ -n "$(unregistered)" ] || fail 'what was made is not kept'
works
gone_on_with
# What AWS does not know everywhere yet is tried again; what it goes on refusing stays the one, and
# the old pair is let in. That is asked once a run: it puts off the program that is connected.
number=$(made)
faults 'connect-line-7 refuse'
gone_on_with
faults_are_used
number=$(made)
mapfile -t refusals < <(printf 'connect-line-7 refuse\n%.0s' {1..50})
faults 'connect-line-7 refuse' 'connect-line-7 admit' "${refusals[@]}"
before=$(readlink "$CURRENT")
"$HWID_TOOLS_DIR/hwid" renew --config "$T/device.conf" --now > "$T/out" 2> "$T/err" &
pid=$!
tried_often() { [ "$(wc -l < "$CLOUD_DIR/mqtt.faults")" -le 47 ]; }
wait_for 60 tried_often || fail "$(wc -l < "$CLOUD_DIR/mqtt.faults") are left: $(cat "$T/out" "$T/err")"
kill -KILL $pid
wait $pid || true
rm "$CLOUD_DIR/mqtt.faults"
[ "$(readlink "$CURRENT")" = "$before" ] || fail 'what was refused is in use'
for _ in 1 2 3 4; do
    faults 'connect-line-7 refuse' 'connect-line-7 admit' "${refusals[@]}"
    expect_exit 1 renew --now --timeout 2 --json
    rm "$CLOUD_DIR/mqtt.faults"
    expect_text "$T/out" 'the old pair stays in use'
    [ "$(made)" = $((number + 1)) ] || fail "$(($(made) - number)) were made"
    works
done
gone_on_with
refused 2 '--timeout' renew --timeout 0

# `hwid provision aws` and renewals go on with each other's work.
number=$(made)
faults 'register refuse 400'
expect_exit 1 renew --now
faults_are_used
expect_exit 0,1 hwid status --config "$T/device.conf"
expect_text "$T/out" 'hwid renew --now: it registers that'
expect_exit 0 hwid provision aws --config "$T/device.conf"
[ "$(made)" = $((number + 1)) ] || fail "$(($(made) - number)) were made"
is_certified
works
# Then what failed is over, and the hooks are due.
[ "$(json 'd["failures"], d["next"], d["why"]' "$T/state/device/renewal.json")" = "(0, 0, '')" ] ||
    fail "$(cat "$T/state/device/renewal.json")"
rm "$T/hooked"
expect_exit 0 renew --hook "$T/hook" --json
is 'd["outcome"]' 'not due'
expect_text "$T/hooked" "HWID_GENERATION=$(json 'd["generation"]')"
expect_exit 0 renew --now --keep-old 0s
works

# A template that makes it another thing: the device stays what it is, and no certificate more is made
# before a person says so.
template_makes() { # STEM: of the thing's name
    sed -i "s/[a-z]*-{SerialNumber}/$1-{SerialNumber}/" "$CLOUD_DIR/fleet.json"
}
stays() { # MADE
    expect_text "$T/out" 'for the thing other-7, and the device is line-7'
    [ "$(readlink "$CURRENT")" = "$before" ] || fail 'another pair is in use'
    [ "$(made)" = "$1" ] || fail "$(($(made) - number)) were made"
    expect_text "$T/state/learned.conf" 'thing-name = line-7'
    works
}
number=$(made)
before=$(readlink "$CURRENT")
template_makes other
expect_exit 1 renew --now
stays $((number + 1))
sed -i 's/"next": [0-9]*/"next": 0/' "$T/state/device/renewal.json" # it is time for the timer
expect_exit 1 renew
stays $((number + 1))
expect_exit 0,1 hwid status --config "$T/device.conf"
expect_text "$T/out" 'for the thing other-7'
expect_text "$T/out" 'hwid renew --now'
template_makes line
expect_exit 0 renew --now --json
[ "$(json 'len(d["to_deactivate"])')" -ge 1 ] || fail "$(cat "$T/out")"
[ "$(made)" = $((number + 2)) ] || fail "$(($(made) - number)) were made"
expect_text "$T/state/learned.conf" 'thing-name = line-7'
is_certified
works
# Who wants that provisions it; then it is that thing.
number=$(made)
before=$(readlink "$CURRENT")
template_makes other
expect_exit 1 renew --now
stays $((number + 1))
expect_exit 0 hwid provision aws --config "$T/device.conf"
[ "$(made)" = $((number + 1)) ] || fail "$(($(made) - number)) were made"
for line in 'thing-name = other-7' 'client-id = other-7'; do
    expect_text "$T/state/learned.conf" "$line"
done
expect_exit 0 renew --now
expect_text "$T/state/learned.conf" 'thing-name = other-7'
works

# A pair whose certificate is damaged or gone: another one comes by the claim.
mended_by_provisioning() { # STATUS-TEXT
    expect_exit 0,1 hwid status --config "$T/device.conf"
    expect_text "$T/out" "$1"
    expect_exit 0 hwid provision aws --config "$T/device.conf"
    is_certified
    works
    expect_exit 0 renew
}
echo nonsense > "$CURRENT/cert.pem"
refused 3 'at AWS hwid provision aws' renew --now
mended_by_provisioning 'hwid provision aws'
rm "$CURRENT/cert.pem"
expect_exit 1 renew --now
expect_text "$T/out" 'there is no cert.pem; enrol anew: hwid provision aws'
mended_by_provisioning 'enrol anew: hwid provision aws'
secrets='token-[0-9a-f]\{64\}\|PRIVATE KEY'
if grep -r "$secrets" "$T/out" "$T/err" "$T/state" "$T/audit.log"; then fail 'a secret is shown'; fi
