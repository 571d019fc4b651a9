# shellcheck shell=bash
# Sourced by the tests of enrolment, after tool.bash: a stand-in cloud (tests/cloud/README.md).
: "${HWID_CLOUD_DIR:?}"

cloud_ready_or_dead() { [ -s "$T/cloud.env" ] || daemon_gone "$DAEMON_PID"; }
start_cloud() { # aws|azure [POLICY CLAIM-POLICY]: sets CLOUD_DIR, CLOUD_PORT, ...; its CA is
    # $T/cloud.pem for issue_cert
    [ -x "$HWID_CLOUD_DIR/hwid-test-cloud" ] ||
        skip 'hwid-test-cloud was not built: mosquitto, nginx or mosquitto-dev is not installed'
    rm -f "$T/cloud.env"
    start_daemon "$T/cloud.log" true \
        "$HWID_CLOUD_DIR/hwid-test-cloud" "$1" "$T/cloud.env" "${@:2}"
    # Certificates, a broker, a front and web servers: on a busy machine that takes its time.
    wait_for 90 cloud_ready_or_dead || fail "the stand-in is not ready: $(cat "$T/cloud.log")"
    [ -s "$T/cloud.env" ] || fail "the stand-in ended: $(cat "$T/cloud.log")"
    # shellcheck source=/dev/null
    . "$T/cloud.env"
    cp "$CLOUD_DIR/ca.pem" "$T/cloud.pem"
    cp "$CLOUD_DIR/ca.key" "$T/cloud.key"
}
faults() { # LINE...: what goes wrong with MQTT, as tests/cloud/faults.h has it
    printf '%s\n' "$@" > "$CLOUD_DIR/mqtt.faults"
}
faults_are_used() { # all of them came to pass
    [ ! -s "$CLOUD_DIR/mqtt.faults" ] || fail "left: $(cat "$CLOUD_DIR/mqtt.faults")"
}
credential_faults() { # LINE...: of the credential provider, as tests/cloud/https_front.py has it
    printf '%s\n' "$@" > "$CLOUD_DIR/credentials.faults"
}

# A device that comes to AWS by claim, with the keys hwid://device and hwid://claim.
device_conf() { # FILE [LINE...]: what a user writes before the device is known
    printf '%s\n' "endpoint = mqtts://localhost:${CLOUD_PORT:-8883}" 'profile = aws' \
        "ca-file = $T/cloud.pem" 'key = hwid://device' "state-dir = $T/state" \
        "claim-cert = $T/claim.pem" 'claim-key = hwid://claim' 'template-name = factory' \
        'template-parameters = {"SerialNumber":"7"}' \
        'topics.publish = line/7/req' 'topics.subscribe = line/7/resp' "${@:2}" > "$1"
}
device_works() { # FILE: by the pair that it leads to now
    "$HWID_SAMPLES_DIR/hwid-publish" --config "$1" --message works > "$T/published" 2>&1 ||
        fail "the device cannot connect: $(cat "$T/published")"
}
certificate_id() { # CERTIFICATE: as AWS has it
    plain_openssl x509 -in "$1" -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr A-F a-f
}
set_fleet() { # MEMBER VALUE: of the stand-in's fleet provisioning, as tests/cloud/fleet.h has it
    python3 - "$CLOUD_DIR/fleet.json" "$@" << 'END'
import json, sys
d = json.load(open(sys.argv[1]))
d[sys.argv[2]] = json.loads(sys.argv[3])
json.dump(d, open(sys.argv[1], "w"))
END
}
