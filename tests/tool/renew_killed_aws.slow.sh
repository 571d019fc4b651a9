#!/bin/bash
# hwid renew of a device of AWS is killed before each call that puts something on the disk or
# takes it away, once where an ownership token is good for an hour and once where it is good
# for one registration. There is a working pair each time, the next run ends well, and AWS has one
# certificate in force for each that was in use: else it is told which one to deactivate.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/cloud.bash
. "$HWID_TESTS_DIR/tool/cloud.bash"
need python3 strace
if [ -n "${HWID_PRELOAD:-}" ]; then skip 'strace and the runtime of a sanitizer'; fi

CALLS=(rename renameat renameat2 symlink symlinkat unlink unlinkat)
strace -qq -o /dev/null -e trace=fsync true 2> /dev/null || skip 'strace may not trace here'

make_token line ec:P-256,label=device,id=01 ec:P-256,label=claim,id=02
make_conf "$T/openssl.cnf" default-first line "state-dir=$T/state" \
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
expect_exit 0 hwid provision aws --config "$T/device.conf"
cp -a "$T/state" "$T/first-state"

active() { # how many certificates AWS has in force
    json 'len([c for c in d.values() if c["state"] == "ACTIVE"])' "$CLOUD_DIR/fleet.json.registry"
}
killed_at() { # CALL NUMBER: before that one of these calls; true if it was
    local call=$1 number=$2 code=0
    rm -rf "$T/state"
    cp -a "$T/first-state" "$T/state"
    # (The shell says "Killed".)
    { strace -f -qq -o "$T/trace" -e "trace=?$call" -e "inject=?$call:signal=KILL:when=$number" \
        "$HWID_TOOLS_DIR/hwid" renew --config "$T/device.conf" --now > "$T/out" 2> "$T/err" ||
        code=$?; } 2> /dev/null
    [ $code = 0 ] || [ $code = 137 ] || fail "exit $code at $call $number: $(cat "$T/out" "$T/err")"
    [ $code = 137 ]
}
recovers() { # ACTIVE-BEFORE WHERE
    local switched more=0
    device_works "$T/device.conf"
    expect_exit 0 hwid renew --config "$T/device.conf" --now --json
    device_works "$T/device.conf"
    switched=$(readlink "$T/state/device/current")
    switched=$((${switched#gen-} - 1))
    if [ "$ONCE" = true ] && grep -q 'nothing uses it: deactivate it' "$T/err"; then more=1; fi
    [ "$(active)" = $(($1 + switched + more)) ] ||
        fail "at $2: $(($(active) - $1)) in force, for $switched: $(cat "$T/out" "$T/err")"
    lost=$((lost + more))
    if find "$T/state" -name unregistered.json -o -name '.new-*' | grep .; then
        fail "at $2: leftovers"
    fi
    [ "$(json 'd["certificate_id"]' "$T/state/device/current/registration.json")" = \
        "$(certificate_id "$T/state/device/current/cert.pem")" ] || fail "at $2: another registration"
}
for ONCE in false true; do
    set_fleet token-once $ONCE
    kills=0
    lost=0
    for call in "${CALLS[@]}"; do
        number=1
        before=$(active)
        while killed_at "$call" $number; do
            recovers "$before" "$call $number"
            number=$((number + 1))
            before=$(active)
        done
        kills=$((kills + number - 1))
    done
    [ $kills -ge 10 ] || fail "only $kills calls were seen"
    # Only where AWS had answered, and nobody was there to write it down.
    [ $lost -le 4 ] || fail "$lost certificates are in force that nothing uses"
    echo "token-once $ONCE: killed at $kills calls, $lost certificates lost"
done
