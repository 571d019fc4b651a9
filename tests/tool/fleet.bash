# shellcheck shell=bash
# Sourced by the tests of samples/fleet, after tool.bash, est.bash and cloud.bash. A stand-in for AWS
# makes the devices known to it, a stand-in for EST with the same CA renews them.

FLEET_SH=$HWID_TESTS_DIR/../samples/fleet/fleet.sh
FLEET=$T/fleet
PATH=$HWID_TOOLS_DIR:$PATH # of hwid

fleet_lines() { # PER-DEVICE...: what a device.conf has beside
    printf '%s\n' "endpoint = mqtts://localhost:${CLOUD_PORT:-8883}" 'profile = aws' \
        'client-id = line-f@' "ca-file = $T/cloud.pem" 'key = pkcs11:token=line;object=line-@;type=private' \
        "state-dir = $FLEET/@" "claim-cert = $T/claim.pem" 'claim-key = hwid://claim' \
        'template-name = factory' 'template-parameters = {"SerialNumber":"f@"}' \
        "est-url = ${EST_URL:-https://localhost/.well-known/est}" \
        'topics.publish = fleet/req' 'topics.subscribe = fleet/resp'
}
start_fleet() { # DEVICES: a token with the claim's key, both stand-ins, $T/fleet.conf
    FLEET_DEVICES=$1
    make_token line rsa:2048,label=claim,id=02
    make_conf "$T/openssl.cnf" default-first line \
        keys.claim='pkcs11:token=line;object=claim;type=private'
    export OPENSSL_CONF=$T/openssl.cnf
    fleet_lines | sed 's/@/1/g' > "$T/one.conf"
    local policy=(hwid aws policy --config "$T/one.conf" --region eu-central-1 --account 123456789012)
    "${policy[@]}" --fleet --out "$T/policy.json" > "$T/out"
    "${policy[@]}" --claim > "$T/claim-policy.json"
    start_cloud aws "$T/policy.json" "$T/claim-policy.json"
    hwid csr hwid://claim --subject /CN=claim --out "$T/claim.csr" > "$T/out"
    issue_cert cloud claim client "$T/claim.csr"
    start_est
    cp "$T/cloud.pem" "$EST/ca.pem"
    cp "$T/cloud.key" "$EST/ca.key"
    cp "$T/cloud.pem" "$EST/clients.pem"
    issue_cert cloud server server ec:P-256
    mv "$T"/server.{pem,key} "$EST"
    restart_est
    fleet_lines > "$T/fleet.conf"
}
fleet() { # WORK [OPTION...]
    expect_exit 0 "$FLEET_SH" "$1" "$T/fleet.conf" "$FLEET_DEVICES" "$FLEET" "${@:2}"
    expect_text "$T/out" "$1: $FLEET_DEVICES of $FLEET_DEVICES devices"
    [ ! -s "$T/err" ] || fail "progress is shown to nobody's eyes: $(cat "$T/err")"
}
current_of() { echo "$FLEET/$1/device/current/cert.pem"; }
certificates() { # "THING FINGERPRINT", of what each device uses
    local number
    for number in $(seq "$FLEET_DEVICES"); do
        echo "line-f$number $(fingerprint "$(current_of "$number")" | tr -d : | tr A-F a-f)"
    done
}
all_registered_once() { # the cloud has one certificate in force for each thing: that of the device
    certificates | sort > "$T/used"
    json '"\n".join(c["thing"] + " " + i for i, c in d.items() if c["state"] == "ACTIVE")' \
        "$CLOUD_DIR/fleet.json.registry" | sort > "$T/registered"
    diff "$T/used" "$T/registered" || fail 'the cloud has others than the devices'
}
# The cloud takes what the CA issues for these names from now on, as one that knows the CA does.
know_the_ca() {
    python3 -c 'import json, sys
print(json.dumps({"line-f%d" % n: ["line-f%d" % n] for n in range(1, int(sys.argv[1]) + 1)}))' \
        "$FLEET_DEVICES" > "$T/things.json"
    mv "$T/things.json" "$CLOUD_DIR/things.json"
}
works() { # NUMBER: the device has one generation, for its own name, and it opens the cloud's door
    local generations subject
    generations=$(find "$FLEET/$1/device" -mindepth 1 -maxdepth 1 -name 'gen-*' | wc -l)
    [ "$generations" = 1 ] || fail "device $1 has $generations generations"
    subject=$(plain_openssl x509 -in "$(current_of "$1")" -noout -subject)
    [ "${subject// /}" = "subject=CN=line-f$1" ] || fail "device $1 is $subject"
    "$HWID_SAMPLES_DIR/hwid-publish" --config "$FLEET/device-$1.conf" --message works \
        > "$T/published" 2>&1 || fail "device $1: $(cat "$T/published")"
}
times() { # NUMBER LINE...: the lines, so many times
    local number=$1
    shift
    for ((; number > 0; number--)); do printf '%s\n' "$@"; done
}
fleet_life() { # DEVICES: of ten each fails in all the ways that clouds have
    local number
    start_fleet "$1"
    times $(($1 / 10)) 'create drop' 'create refuse 500' 'create garbage' 'register lose' \
        'register drop' 'register refuse 400' 'register twice' > "$CLOUD_DIR/mqtt.faults"
    fleet provision
    faults_are_used
    all_registered_once
    fleet provision # again, for those that are not well: none
    all_registered_once
    know_the_ca
    times $(($1 / 10)) 'simplereenroll 503' 'simplereenroll drop' 'cacerts drop' \
        'simplereenroll lost' 'simplereenroll 202 1' 'simplereenroll garbage' > "$EST/faults"
    fleet renew --now --keep-old 0s
    [ ! -s "$EST/faults" ] || fail "left: $(cat "$EST/faults")"
    certificates | sort > "$T/renewed"
    [ -z "$(comm -12 "$T/used" "$T/renewed")" ] || fail "not renewed: $(comm -12 "$T/used" "$T/renewed")"
    for number in $(seq "$1"); do works "$number"; done
}
