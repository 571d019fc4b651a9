#!/bin/bash
# The samples with a key in SoftHSM, in a TPM through tpm2-pkcs11, and in the TPM directly: the same
# programs, the same device.conf; one line of openssl.cnf moves the key.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
PATH=$PATH:/usr/sbin
need mosquitto swtpm pkcs11-tool python3
SAMPLES=${HWID_SAMPLES_DIR:?}
TOPIC=mqtt-mtls-pkcs-test-topic
MODULE=${HWID_TPM2_PKCS11_MODULE:-$(find /usr/lib* -name libtpm2_pkcs11.so -print -quit)}

# --- the world: three places for a key, one configuration

make_token softhsm2-token rsa:2048,label=mqtt-mtls-key-rsa ec:P-256,label=peer
start_tpm
make_parent 0x81000001
if [ -n "$MODULE" ]; then
    mkdir "$T/store"
    TPM2_PKCS11=("TPM2_PKCS11_STORE=$T/store" "TPM2_PKCS11_TCTI=$TPM_TCTI" TPM2_PKCS11_LOG_LEVEL=0)
    tpm2_pkcs11_tool() {
        env -u LD_PRELOAD "${TPM2_PKCS11[@]}" TSS2_LOG=all+NONE pkcs11-tool --module "$MODULE" \
            "$@" > "$T/out" 2>&1 || fail "pkcs11-tool $*: $(cat "$T/out")"
    }
    tpm2_pkcs11_tool --slot-index 0 --init-token --label tpm-token --so-pin "$SO_PIN"
    tpm2_pkcs11_tool --token-label tpm-token --login --login-type so --so-pin "$SO_PIN" \
        --init-pin --pin "$PIN"
    tpm2_pkcs11_tool --token-label tpm-token --login --pin "$PIN" --keypairgen \
        --key-type EC:prime256v1 --label tpm-mqtt-mtls-key --id 01
fi
make_tpm_key 0x81000002 ec:P-256 "$PIN"

SOFTHSM_KEY="pkcs11:token=softhsm2-token;object=mqtt-mtls-key-rsa"
TPM2_PKCS11_KEY="pkcs11:token=tpm-token;object=tpm-mqtt-mtls-key"
TPM_KEY=tpm2:handle=0x81000002

make_conf "$T/openssl.cnf" default-first softhsm2-token "keys.device=$SOFTHSM_KEY" \
    'keys.peer=pkcs11:token=softhsm2-token;object=peer' "dev.environment=SOFTHSM2_CONF=$SOFTHSM2_CONF"
sed -i 's/^backends = dev$/backends = dev p11 tpm\np11 = hwid_p11\ntpm = hwid_tpm/' "$T/openssl.cnf"
{
    printf '[hwid_p11]\ntype = pkcs11\nmodule = %s\ntoken = tpm-token\npin-source = file:%s\n' \
        "${MODULE:-/nonexistent}" "$T/pin"
    printf 'environment = %s\n' "${TPM2_PKCS11[*]:-}"
    printf '[hwid_tpm]\ntype = tpm2\ntcti = %s\npin-source = file:%s\n' "$TPM_TCTI" "$T/pin"
} >> "$T/openssl.cnf"
unset SOFTHSM2_CONF
export OPENSSL_CONF=$T/openssl.cnf

make_ca ca
issue_cert ca server server ec:P-256
certify() { # NAME: a certificate for hwid://NAME
    openssl req -new -key "hwid://$1" -subj "/CN=$1" -out "$T/$1.csr"
    issue_cert ca "$1" client "$T/$1.csr"
}
certify peer

PORT=$(free_port)
printf '%s\n' "listener $PORT 127.0.0.1" "cafile $T/ca.pem" "certfile $T/server.pem" \
    "keyfile $T/server.key" 'require_certificate true' 'use_identity_as_username true' \
    'persistence false' > "$T/mosquitto.conf"
if [ "$(id -u)" = 0 ]; then echo 'user root' >> "$T/mosquitto.conf"; fi
OPENSSL_CONF=$T/plain.cnf start_daemon "$T/broker.log" "port_answers $PORT" \
    mosquitto -v -c "$T/mosquitto.conf"
for name in device peer; do
    printf '%s\n' "endpoint = mqtts://localhost:$PORT" "client-id = $name" "ca-file = $T/ca.pem" \
        "cert = $T/$name.pem" "key = hwid://$name" 'clean-session = yes' \
        "topics.publish = $TOPIC/req" "topics.subscribe = $TOPIC/resp" > "$T/$name.conf"
done
TLS_PORT=$(free_port)
start_daemon "$T/s_server.log" "port_answers $TLS_PORT" env OPENSSL_CONF="$T/plain.cnf" \
    openssl s_server -accept "127.0.0.1:$TLS_PORT" -www -cert "$T/server.pem" \
    -key "$T/server.key" -CAfile "$T/ca.pem" -Verify 1 -verify_return_error
start_daemon "$T/systemd.log" "test -S $T/notify" python3 "$HWID_TESTS_DIR/transport/notified.py" \
    "$T/notify" "$T/notified"

# --- what is run. (swtpm serves one process at a time, so the peer's key is in SoftHSM.)

run_sample() { # PROGRAM NAME ARGUMENT...: as that device
    local program=$1 name=$2
    shift 2
    timeout 60 "$SAMPLES/hwid-$program" --config "$T/$name.conf" "$@"
}
start_sample() { # TEXT PROGRAM NAME ARGUMENT...: in the background until stderr has TEXT; its output
    # is $T/PROGRAM.out
    local text=$1 program=$2 name=$3
    shift 3
    rm -f "$T/$program".{out,err}
    # shellcheck disable=SC2016  # that shell's own
    start_daemon "$T/$program.err" "grep -qs -- $text $T/$program.err" \
        bash -c 'out=$1; shift; exec "$@" > "$out"' _ "$T/$program.out" \
        "$SAMPLES/hwid-$program" --config "$T/$name.conf" "$@"
}
end_sample() { # PROGRAM: it ends by itself, and well
    wait_for 20 daemon_gone "$DAEMON_PID" || fail "$1 does not end: $(cat "$T/$1".{out,err})"
    stop_daemon "$DAEMON_PID"
    [ "$DAEMON_EXIT" = 0 ] || fail "$1 ended with $DAEMON_EXIT: $(cat "$T/$1".{out,err})"
}
field() { # FILE FIELD: of each line of JSON, itself as JSON
    python3 -c 'import json, sys
for line in open(sys.argv[1], encoding="utf-8"): print(json.dumps(json.loads(line).get(sys.argv[2])))' \
        "$1" "$2"
}
expect_equal() { # WHAT EXPECTED SEEN
    [ "$2" = "$3" ] || fail "$1: expected: $2; seen: $3"
}

messages() { # FROM TO
    local lines='one
"two"
three words'
    start_sample subscribed subscribe "$2" --topic "$TOPIC/#" --json --count 6
    # The references that the MQTT library read are closed again.
    if find "/proc/$DAEMON_PID/fd" -lname '*memfd:*' | grep .; then fail "open references"; fi
    run_sample publish "$1" --topic "$TOPIC/req" --message '{"hello": "world"}' --qos 2
    printf 'with\0bytes\377' | run_sample publish "$1" --message -
    printf '%s\n' "$lines" | run_sample publish "$1" --lines --retain
    printf '%s' 'last, without an end of line' | run_sample publish "$1" --lines
    end_sample subscribe
    field "$T/subscribe.out" payload > "$T/payloads"
    printf '%s\n' '"{\"hello\": \"world\"}"' null '"one"' '"\"two\""' '"three words"' \
        '"last, without an end of line"' > "$T/expected"
    cmp "$T/expected" "$T/payloads" || fail "$(cat "$T/subscribe.out")"
    expect_equal base64 '"d2l0aABieXRlc/8="' \
        "$(field "$T/subscribe.out" payloadBase64 | sed -n 2p)"
    expect_equal topic "\"$TOPIC/req\"" "$(field "$T/subscribe.out" topic | sort -u)"
    # The subscriber asked for QoS 1.
    expect_equal qos 1 "$(field "$T/subscribe.out" qos | sort -u)"
    field "$T/subscribe.out" time > "$T/times"
    expect_equal times 6 "$(grep -cE '^"2[0-9]{3}-[0-9-]{5}T[0-9:]{8}\.[0-9]{6}Z"$' "$T/times")"
    run_sample publish "$1" --message '' --retain # takes the retained message away
    expect_text "$T/broker.log" "u'$1'"
}

requests() { # FROM TO
    start_sample answering reply "$2" --topic "$TOPIC/req" --count 5
    run_sample request "$1" \
        --message '{"requestId": "111-222-333", "requestTs": 1762072467}' > "$T/answer"
    expect_equal answer '{"requestId":"111-222-333","requestTs":1762072467,"statusCode":"200"}' \
        "$(cat "$T/answer")"
    printf '{"requestId": %s}\n' 1 2 3 | run_sample request "$1" --lines --json > "$T/answers"
    field "$T/answers" payload | grep -o 'requestId\\": *[0-9]' | grep -o '.$' > "$T/ids"
    expect_equal 'answers in order' '1 2 3' "$(xargs < "$T/ids")"
    run_sample request "$1" --message '{}' > "$T/answer"
    grep -qE '"requestId":"[0-9a-f-]{36}"' "$T/answer" || fail "no id of its own: $(cat "$T/answer")"
    end_sample reply
    expect_equal requests 5 "$(wc -l < "$T/reply.out")"
}

telemetry() { # NAME PEER
    : > "$T/notified"
    start_sample subscribed subscribe "$2" --topic "devices/$1" --count 2 --timeout 30
    local subscriber=$DAEMON_PID
    NOTIFY_SOCKET=$T/notify WATCHDOG_USEC=400000 start_daemon "$T/telemetry.err" \
        "grep -qs WATCHDOG=1 $T/notified" \
        "$SAMPLES/hwid-telemetry" --config "$T/$1.conf" --topic "devices/$1" --interval 1
    local service=$DAEMON_PID
    DAEMON_PID=$subscriber
    end_sample subscribe
    expect_text "$T/subscribe.out" '"memoryAvailable":'
    stop_daemon "$service"
    [ "$DAEMON_EXIT" = 0 ] || fail "hwid-telemetry ended with $DAEMON_EXIT: $(cat "$T/telemetry.err")"
    wait_for 10 grep -q STOPPING=1 "$T/notified" || fail "no STOPPING=1: $(cat "$T/notified")"
    expect_equal 'first said' 'STATUS=Connecting. READY=1' "$(head -n 2 "$T/notified" | xargs)"
    # More often than messages: the watchdog's time was less than the interval.
    [ "$(grep -c WATCHDOG=1 "$T/notified")" -ge 4 ] || fail "watchdog: $(cat "$T/notified")"
}

openssl_alone() {
    echo text > "$T/message"
    "$SAMPLES/openssl-sign" hwid://device < "$T/message" > "$T/signature"
    plain_openssl x509 -in "$T/device.pem" -noout -pubkey > "$T/device.pub"
    plain_openssl dgst -sha256 -verify "$T/device.pub" -signature "$T/signature" "$T/message"
    printf 'GET / HTTP/1.0\r\n\r\n' | "$SAMPLES/openssl-tls-client" "localhost:$TLS_PORT" \
        "$T/ca.pem" "$T/device.pem" hwid://device > "$T/page"
    grep -Eq 'Subject: CN ?= ?device' "$T/page" || fail "the server saw no device: $(cat "$T/page")"
    expect_failure "$SAMPLES/openssl-tls-client" "localhost:$TLS_PORT" "$T/ca.pem" "$T/peer.pem" \
        hwid://device < /dev/null
    expect_text "$T/out" 'does not belong to'
    expect_failure "$SAMPLES/openssl-tls-client" "127.0.0.2:$TLS_PORT" "$T/ca.pem" "$T/device.pem" \
        hwid://device < /dev/null
}

all_samples() { # KEY
    sed -i.before "s|^device *=.*|device=$1|" "$T/openssl.cnf"
    printf -- '--- %s\n' "$1"
    diff "$T/openssl.cnf.before" "$T/openssl.cnf" || true
    certify device
    messages device peer
    messages peer device
    requests device peer
    requests peer device
    telemetry device peer
    openssl_alone
}

cp "$T/device.conf" "$T/device.conf.first"
all_samples "$SOFTHSM_KEY"
all_samples "$TPM_KEY"
if [ -n "$MODULE" ]; then all_samples "$TPM2_PKCS11_KEY"; fi
cmp "$T/device.conf.first" "$T/device.conf"
[ -n "$MODULE" ] || skip "not through libtpm2_pkcs11.so: libtpm2-pkcs11-1 is not installed"
