#!/bin/bash
# The ids of AWS's certificates that nothing uses any more: each is told by every run and by hwid
# status, wherever the run ended that removed what named it, until somebody says that it is done.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/cloud.bash
. "$HWID_TESTS_DIR/tool/cloud.bash"
need python3

make_token line ec:P-256,label=device,id=01 ec:P-256,label=claim,id=02
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

STORE=$T/state/device
renew() { hwid renew --config "$T/device.conf" "$@"; }
id_of() { certificate_id "$STORE/$1/cert.pem"; } # GENERATION
told() { # ID...: by a run, by one that only looks, and by hwid status
    local wanted count=$# row
    wanted=$(python3 -c 'import sys; print(sorted(sys.argv[1:]))' "$@")
    for option in --keep-old=7d --dry-run; do
        expect_exit 0,1 renew $option --json
        [ "$(json 'sorted(d["to_deactivate"])')" = "$wanted" ] ||
            fail "not $wanted: $(cat "$T/out" "$T/err")"
    done
    expect_exit 0,1 hwid status --config "$T/device.conf" --json --prometheus "$T/metrics.prom"
    row=$(json '[[c["state"], c["value"]] for c in d["checks"] if c["check"] == "deactivation"]')
    [ "$row" = "$([ $count = 0 ] && echo '[]' || echo "[['warning', $count]]")" ] || fail "$row"
    for id in "$@"; do expect_text "$T/out" "$id"; done
    expect_text "$T/metrics.prom" "hwid_certificates_to_deactivate{name=\"device\"} $count"
}

# What goes with its generation; and it is told again.
expect_exit 0 hwid provision aws --config "$T/device.conf"
told
first=$(id_of gen-1)
expect_exit 0 renew --now
told
second=$(id_of gen-2)
cp -a "$T/state" "$T/renewed"
expect_exit 0 renew --keep-old 0s
expect_text "$T/out" "hwid renew --deactivated $first"
[ ! -e "$STORE/gen-1" ] || fail 'gen-1 is there'
told "$first"
expect_exit 0 renew --now --keep-old 0s
told "$first" "$second"
expect_exit 1 hwid status --config "$T/device.conf"
expect_text "$T/out" 'then: hwid renew --deactivated ID'

# Until somebody says so, who names the right ones.
refused 2 "$second-0 is not among those" renew --deactivated "$first" --deactivated "$second-0"
refused 2 'one at a time' renew --deactivated "$first" --now
told "$first" "$second"
expect_exit 0 renew --deactivated "$first" --json
[ "$(json 'd["to_deactivate"]')" = "['$second']" ] || fail "$(cat "$T/out")"
told "$second"
expect_exit 0 renew --deactivated "$second"
told
refused 2 'is not among those' renew --deactivated "$first"
refused 2 'is not among those' renew --deactivated "$first" --name other
[ ! -e "$T/state/other" ] || fail 'a store was made'
expect_exit 0 hwid audit "$T/audit.log" --op enrol --lines
expect_text "$T/out" "deactivated certificate $first"

# Wherever the run is killed that removes a generation.
killed_at() { # CALL NUMBER ARGUMENT...: of hwid; false: it came to its end
    local call=$1 number=$2 code=0
    { strace -f -qq -o "$T/trace" -e "trace=?$call" -e "inject=?$call:signal=KILL:when=$number" \
        "$HWID_TOOLS_DIR/hwid" "${@:3}" > "$T/out" 2> "$T/err" || code=$?; } 2> /dev/null
    if [ $code = 0 ]; then return 1; fi
    [ $code = 137 ] || fail "exit $code at $call $number: $(cat "$T/out" "$T/err")"
}
killed=0
if command -v strace > "$T/strace" && [ -z "${HWID_PRELOAD:-}" ] &&
    strace -qq -o "$T/trace" -e trace=fsync true 2> "$T/err"; then
    for call in rename renameat renameat2 unlink unlinkat rmdir; do
        for ((number = 1; number < 50; number++)); do
            rm -rf "$T/state"
            cp -a "$T/renewed" "$T/state"
            killed_at "$call" "$number" renew --config "$T/device.conf" --keep-old 0s || break
            killed=$((killed + 1))
            expect_exit 0 renew --keep-old 0s
            [ ! -e "$STORE/gen-1" ] || fail "$call $number: gen-1 is there"
            told "$first"
        done
    done
    [ $killed -ge 5 ] || fail "only killed $killed times"
    echo "killed $killed times"
fi

# A certificate that a person had made: here, one that the stand-in knows.
rm -rf "$T/state"
python3 -c 'import json, sys; print(json.dumps({"certificateId": sys.argv[1],
    "certificateArn": "arn:aws:iot:eu-central-1:123456789012:cert/" + sys.argv[1],
    "certificatePem": open(sys.argv[2]).read()}))' "$second" "$T/renewed/device/gen-2/cert.pem" \
    > "$T/answer.json"
sed '$ a client-id = line-7' "$T/device.conf" > "$T/hand.conf"
expect_exit 0 hwid provision aws --config "$T/hand.conf" --accept "$T/answer.json"
[ "$(stat -c %a "$STORE/current/registration.json")" = 600 ] || fail 'others may read it'
told
expect_exit 0 hwid provision aws --config "$T/hand.conf" --if-needed --json
[ "$(json 'd["certificate_id"] + " " + d["certificate_arn"].split("/")[1]')" = "$second $second" ] ||
    fail "$(cat "$T/out")"
expect_exit 0 renew --now --keep-old 0s
told "$second"

# Wherever that is killed, what the next run finishes has its id; and one that comes by claim in the place of
# what is not whole tells it.
mv "$T/state" "$T/state.before"
if [ $killed -gt 0 ]; then
    replaced=0
    for ((number = 1; number < 50; number++)); do
        rm -rf "$T/state"
        killed_at rename $number provision aws --config "$T/hand.conf" --accept "$T/answer.json" || break
        begun=$STORE/gen-1
        if [ -e "$begun/learned.conf" ]; then
            [ "$(json 'd["certificate_id"]' "$begun/registration.json")" = "$second" ] || fail "$number: no id"
        elif [ -e "$begun/registration.json" ]; then
            expect_exit 0 hwid provision aws --config "$T/device.conf"
            told "$second"
            replaced=$((replaced + 1))
        fi
    done
    ((number > 4 && replaced > 0)) || fail "killed $number times, replaced $replaced times"
fi
rm -rf "$T/state"
mv "$T/state.before" "$T/state"

# The same once more, in two generations then: as long as one of them is in use nobody is told to
# deactivate it, although one who has given it up has said so before.
third=$(id_of current)
expect_exit 0 hwid provision aws --config "$T/hand.conf" --accept "$T/answer.json"
told
expect_exit 0 hwid provision aws --config "$T/hand.conf" --accept "$T/answer.json"
expect_exit 0 renew --keep-old 0s
[ "$(id_of current)" = "$second" ] || fail "$(id_of current) is in use"
[ "$(find "$STORE" -name 'gen-*' | wc -l)" = 1 ] || fail 'an old one is there'
told "$third"
expect_exit 0 renew --deactivated "$third"
expect_exit 0 renew --now --keep-old 0s
told "$second"

# Said once it stays said, also where a token does not destroy the key that goes with it.
cp -a "$T/state" "$T/state.before"
expect_exit 0 renew --now
python3 - "$STORE" << 'PYTHON'
import json, os, sys
file = sys.argv[1] + "/renewal.json"
d = json.load(open(file))
for name in os.listdir(sys.argv[1]):
    if name.startswith("gen-"):
        d["made_keys"][name[4:]] = "nonsense:key"
json.dump(d, open(file, "w"))
PYTHON
fourth=$(id_of "$(readlink "$STORE/current")")
expect_exit 0 renew --keep-old 0s
expect_text "$T/out" 'nonsense:key'
stays=$(json 'd["to_deactivate"][1]' "$STORE/renewal.json")
[ "$stays" != "$fourth" ] || fail "$fourth is in use"
expect_exit 0 renew --deactivated "$stays"
told "$second"
expect_exit 0 renew --keep-old 0s
expect_text "$T/out" 'nonsense:key'
told "$second"
rm -rf "$T/state"
mv "$T/state.before" "$T/state"

# One that was to be registered, and nobody knows whether it was: its token has ended.
faults 'register refuse 400'
expect_exit 1 renew --now
faults_are_used
lost=$(json 'd["certificateId"]' "$STORE/gen-6/unregistered.json")
sed -i 's/"ends": [0-9]*/"ends": 1/' "$STORE/gen-6/unregistered.json"
expect_exit 0 renew --now --keep-old 1h
told "$second" "$lost"
# The same where its generation goes, or a person's takes its place.
faults 'register refuse 400'
expect_exit 1 renew --now
faults_are_used
gone=$(json 'd["certificateId"]' "$STORE/gen-7/unregistered.json")
expect_exit 0 renew --now --new-key
told "$second" "$lost" "$gone"
expect_exit 0 renew --deactivated "$second" --deactivated "$lost" --deactivated "$gone"
rm -rf "$T/state"
faults 'register refuse 400'
expect_exit 1 hwid provision aws --config "$T/hand.conf"
faults_are_used
gone=$(json 'd["certificateId"]' "$STORE/gen-1/unregistered.json")
expect_exit 0 hwid provision aws --config "$T/hand.conf" --accept "$T/answer.json"
told "$gone"
