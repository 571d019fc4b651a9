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
