#!/bin/bash
# hwid doctor: what a broker says to the device, one fault at a time, with mosquitto and a broker that
# answers what it is told.
# shellcheck disable=SC2016,SC2317  # messages have backticks and dollars
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/doctor.bash
. "$HWID_TESTS_DIR/tool/doctor.bash"
# shellcheck source=tests/tool/doctor_server.bash
. "$HWID_TESTS_DIR/tool/doctor_server.bash"
PIN=7315

token_credentials
cat > "$T/broker.py" << 'END'
import socket, ssl, sys
port, directory = int(sys.argv[1]), sys.argv[2]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(directory + "/server.pem", directory + "/server.key")
context.load_verify_locations(directory + "/ca.pem")
context.verify_mode = ssl.CERT_REQUIRED
server = socket.create_server(("127.0.0.1", port))
def packet(stream):
    head = stream.recv(1)
    if not head: return None
    size = shift = 0
    while True:
        byte = stream.recv(1)[0]
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128: break
    body = b""
    while len(body) < size: body += stream.recv(size - len(body))
    return head[0], body
while True:
    raw, _ = server.accept()
    try:
        connack, suback = open(directory + "/told").read().split()
        stream = context.wrap_socket(raw, server_side=True)
        if connack == "drop" or packet(stream) is None or connack == "close": continue
        stream.sendall(bytes.fromhex(connack))
        if packet(stream) is None or suback == "close": continue
        stream.sendall(bytes.fromhex("320700016130303132"))  # a message comes before the answer
        stream.sendall(bytes.fromhex(suback))
        packet(stream)
    except (OSError, IndexError, ValueError): pass
    finally:
        try: stream.close()
        except Exception: raw.close()
END
echo 'close close' > "$T/told"
PORT=$(free_port)
start_daemon "$T/told.log" "port_answers $PORT" env -u OPENSSL_CONF python3 "$T/broker.py" "$PORT" "$T"
told() { # CONNACK SUBACK ID FIX EDIT...
    echo "$1 $2" > "$T/told"
    fault "$3" "$4" "${@:5}"
}
told drop - client-not-accepted 'ACTIVE'
told close - mqtt-closed 'iot:Connect on client/doctor-test'
told 3000 - mqtt-no-answer 'speaks MQTT'
told 20020001 - mqtt-version 'mqtt-version = 3.1.1'
told 20020002 - mqtt-client-id 'doctor-test'
told 20020003 - mqtt-unavailable 'later'
told 20020004 - mqtt-password 'use_identity_as_username'
told 20020005 - mqtt-not-authorized 'iot:Connect'
told 2003008700 - mqtt-not-authorized 'iot:Connect' '$a mqtt-version = 5'
told 20020009 - mqtt-refused 'log'
told e0028e00 - mqtt-client-id-taken 'of its own' '$a mqtt-version = 5'
told 20020000 9003000180 mqtt-subscribe-refused 'iot:Receive on topic/a/b'
told 2003000000 900400010087 mqtt-subscribe-refused topicfilter/a/b '$a mqtt-version = 5'
told 20020000 close mqtt-subscribe-refused 'iot:Subscribe'
# Two at once: the certificate's CA is not trusted here, and the broker would refuse the client.
make_ca stranger
told 20020005 - server-unknown-ca '' "s|$T/ca.pem|$T/stranger.pem|"
told 20020005 - mqtt-not-authorized '' 's|^topics.subscribe.*|topics.subscribe = c/d|'
echo '20020000 9003000101' > "$T/told"
device
healthy --config "$T/device.conf"

# --- AWS: the broker's answers do not show what the policy lacks; the policy does
policy() { # ACTION=RESOURCE...: $T/policy.json
    local each statements=()
    for each in "$@"; do
        statements+=("{\"Effect\": \"Allow\", \"Action\": \"iot:${each%%=*}\",
            \"Resource\": \"arn:aws:iot:eu-west-1:123456789012:${each#*=}\"}")
    done
    local IFS=,
    printf '{"Version": "2012-10-17", "Statement": [%s]}' "${statements[*]}" > "$T/policy.json"
}
policy_fault() { # ID FIX ACTION=RESOURCE...
    policy "${@:3}"
    blames "$1" "$2" --config "$T/device.conf" --policy "$T/policy.json"
    alone
}
AS_ITSELF='Connect=client/${iot:Connection.Thing.ThingName}'
HEARS=(Subscribe=topicfilter/a/b Receive=topic/a/b)
policy "$AS_ITSELF" "${HEARS[@]}"
well --config "$T/device.conf" --policy "$T/policy.json"
expect_text "$T/out" "policy $T/policy.json"
python3 -c 'import json, sys; print(json.dumps({"policyName": "p", "policyDocument": sys.stdin.read()}))' \
    < "$T/policy.json" > "$T/answer.json" # as the AWS CLI prints it
well --config "$T/device.conf" --policy "$T/answer.json"
policy_fault policy-without-receive 'Resource arn:aws:iot:eu-west-1:123456789012:topic/a/b' \
    "$AS_ITSELF" Subscribe=topicfilter/a/b
sees 'iot:Receive on topic/a/b'
policy_fault policy-topic-for-filter 'arn:aws:iot:eu-west-1:123456789012:topicfilter/a/b' "$AS_ITSELF" \
    Subscribe=topic/a/b Receive=topic/a/b
policy_fault policy-without-subscribe 'Action iot:Subscribe' "$AS_ITSELF" Receive=topic/a/b
policy_fault policy-without-connect 'client/doctor-test' Connect=client/another "${HEARS[@]}"
policy_fault policy-unusable 'what the message names' 'Conect=client/doctor-test'
sees 'iot:Conect is unknown'
policy_fault policy-unusable 'what the message names' "$AS_ITSELF" Subscribe=topicfiler/a/b Receive=topic/a/b
sees 'topicfiler is unknown'
# What AWS knows and this reader does not is no fault of the policy; nor where it is in force.
allows() { # RESOURCE-PREFIX [STATEMENT]: all that the device does
    local each prefix=$1 more=${2:+, $2} statements=()
    for each in Connect=client/doctor-test "${HEARS[@]}"; do
        statements+=("{\"Effect\": \"Allow\", \"Action\": \"iot:${each%%=*}\",
            \"Resource\": \"$prefix:${each#*=}\"}")
    done
    local IFS=,
    printf '{"Version": "2012-10-17", "Statement": [%s%s]}' "${statements[*]}" "$more" > "$T/policy.json"
}
well_with() { # TEXT: doctor says that of the policy
    well --config "$T/device.conf" --policy "$T/policy.json"
    expect_text "$T/out" "policy $T/policy.json$1"
}
for prefix in arn:aws-cn:iot:cn-north-1:123456789012 arn:aws-us-gov:iot:us-gov-west-1:123456789012 \
    'arn:aws:iot:us-east-1:*' 'arn:aws:iot:*:123456789012' 'arn:aws:iot:*:*' 'arn:aws:iot:eu-*:*'; do
    allows "$prefix"
    well_with ''
done
JOBS='{"Effect": "Allow", "Action": ["iotjobsdata:*", "iot:DescribeJobExecution", "iot:Get*"],
    "Resource": ["arn:aws:iot:eu-west-1:123456789012:job/*", "arn:aws:greengrass:*:*:/greengrass/*"]}'
allows arn:aws:iot:eu-west-1:123456789012 "$JOBS"
well_with ''
denied_if() { # CONDITION
    allows arn:aws:iot:eu-west-1:123456789012 "{\"Effect\": \"Deny\", \"Action\": \"iot:Connect\",
        \"Resource\": \"*\", \"Condition\": $1}"
}
denied_if '{"Bool": {"iot:Connection.Thing.IsAttached": [false]}}'
well_with ''
denied_if '{"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}'
well_with ' (not evaluated: IpAddress aws:SourceIp)'
denied_if '{"StringLike": {"iot:ClientId": "doctor-*"}}'
blames policy-without-connect 'client/doctor-test' --config "$T/device.conf" --policy "$T/policy.json"
# A text that is none: each is answered, none is the end of the doctor.
{
    printf '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iot:*", "Resource": "arn:aws:iot:'
    head -c 300000 /dev/zero | tr '\0' a
    echo '"}}'
} > "$T/policy.json"
blames policy-without-connect '' --config "$T/device.conf" --policy "$T/policy.json"
{
    printf '{"policyDocument": '
    head -c 300000 /dev/zero | tr '\0' '['
    head -c 300000 /dev/zero | tr '\0' ']'
    echo '}'
} > "$T/policy.json"
blames policy-unusable '' --config "$T/device.conf" --policy "$T/policy.json"
sees 'nested too deep'
printf '{"Version": 5, "Statement": []}' > "$T/policy.json"
blames policy-unusable '' --config "$T/device.conf" --policy "$T/policy.json"
sees 'Version must be'
printf '{"Version": "2012-10-17", "Statement": {"Effect": 5}}' > "$T/policy.json"
blames policy-unusable '' --config "$T/device.conf" --policy "$T/policy.json"
sees 'Effect must be'
echo 'no JSON' > "$T/policy.json"
blames policy-unusable 'aws iot get-policy' --config "$T/device.conf" --policy "$T/policy.json"
blames policy-unusable '' --config "$T/device.conf" --policy /nowhere.json
device '$a topics.publish = a/out' 's|^topics.subscribe.*|topics.subscribe = a/+/in/#|'
policy_fault policy-without-publish 'topic/a/out' "$AS_ITSELF" 'Subscribe=topicfilter/a/+/in/#' \
    'Receive=topic/a/*/in/*'
policy "$AS_ITSELF" 'Subscribe=topicfilter/a/*' 'Receive=topic/a/*' 'Publish=topic/a/out'
well --config "$T/device.conf" --policy "$T/policy.json"
refused 2 'device.conf' hwid doctor --policy "$T/policy.json"
refused 2 'device.conf' hwid doctor --policy "$T/policy.json" --config "$T/config.yaml"
# Two at once: the CA, which comes first, and the policy.
device "s|$T/ca.pem|/nowhere.pem|"
policy "$AS_ITSELF" Subscribe=topicfilter/a/b
blames ca-unusable '' --config "$T/device.conf" --policy "$T/policy.json"
stop_daemon "$DAEMON_PID"
start_mosquitto server 'require_certificate true' 'allow_anonymous false'
fault mqtt-not-authorized 'allow client doctor-test'
