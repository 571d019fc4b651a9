#!/bin/bash
# hwid doctor: certificates, the network, TLS and MQTT, one fault at a time, with mosquitto, openssl
# s_server, and a broker that answers whatever it is told.
# shellcheck disable=SC2016,SC2317  # messages have backticks and dollars
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/doctor.bash
. "$HWID_TESTS_DIR/tool/doctor.bash"
# shellcheck source=tests/tls/credentials.bash
. "$HWID_TESTS_DIR/tls/credentials.bash"
PATH=$PATH:/usr/sbin
PIN=7315
need mosquitto

token_credentials
start_mosquitto() { # SERVER-CERTIFICATE LINE...: sets PORT
    PORT=$(free_port)
    printf '%s\n' "listener $PORT 127.0.0.1" "cafile $T/ca.pem" "certfile $T/$1.pem" \
        "keyfile $T/$1.key" 'persistence false' "${@:2}" > "$T/mosquitto.conf"
    if [ "$(id -u)" = 0 ]; then echo 'user root' >> "$T/mosquitto.conf"; fi
    OPENSSL_CONF=$T/plain.cnf start_daemon "$T/broker.log" "port_answers $PORT" \
        mosquitto -v -c "$T/mosquitto.conf"
}
WITH_CERTIFICATE=('require_certificate true' 'use_identity_as_username true')
device() { # EDIT...: $T/device.conf, for the port
    printf '%s\n' "endpoint = mqtts://localhost:$PORT" 'client-id = doctor-test' \
        "ca-file = $T/ca.pem" "cert = $T/rsa.pem" 'key = hwid://rsa' 'topics.subscribe = a/b' \
        > "$T/plain-device.conf"
    local edit edits=(-e '')
    for edit in "$@"; do edits+=(-e "$edit"); done
    sed "${edits[@]}" "$T/plain-device.conf" > "$T/device.conf"
}
fault() { # ID FIX EDIT...: of device.conf
    local id=$1 fix=$2
    shift 2
    device "$@"
    if [ $# -gt 0 ] && cmp -s "$T/device.conf" "$T/plain-device.conf"; then fail "no edit: $*"; fi
    blames "$id" "$fix" --config "$T/device.conf"
    alone
}

# --- nothing is wrong
start_mosquitto server "${WITH_CERTIFICATE[@]}"
device
healthy --config "$T/device.conf"
expect_text "$T/out" 'MQTT as doctor-test'
expect_text "$T/broker.log" "Received SUBSCRIBE from doctor-test"
for edit in 's/hwid:..rsa/hwid:\/\/ec/;s/rsa.pem/ec.pem/' '$a mqtt-version = 5' \
    '$a clean-session = yes' "s|hwid://rsa|$T/rsa.ref|" '/^topics/d'; do
    device "$edit"
    healthy --config "$T/device.conf"
done
healthy --key hwid://rsa --cert "$T/rsa.pem" --ca "$T/ca.pem" --endpoint "localhost:$PORT"
expect_text "$T/out" 'TLS with'
cat "$T/rsa.pem" "$T/ca.pem" > "$T/chain.pem"
device "s|$T/rsa.pem|$T/chain.pem|"
healthy --config "$T/device.conf"
software_key "$T/plain.key" ec:P-256 # an ordinary key is none of ours, and no fault
issue_cert ca plain client "$T/plain.key"
healthy --key "$T/plain.key" --cert "$T/plain.pem" --ca "$T/ca.pem" --endpoint "localhost:$PORT"
# What waits for the device is not taken from it: it comes when the device itself comes.
mqtt() { # PROGRAM ARGUMENT...
    timeout 20 "$@" -h localhost -p "$PORT" --cafile "$T/ca.pem" --cert "$T/ec.pem" \
        --key "$T/ec.ref" -t a/b -q 1
}
if command -v mosquitto_pub > /dev/null; then
    mqtt mosquitto_sub -i doctor-test -c -E
    mqtt mosquitto_pub -m waiting
    device
    healthy --config "$T/device.conf"
    mqtt mosquitto_sub -i doctor-test -c -C 1 > "$T/text"
    expect_text "$T/text" waiting
else
    echo 'skipped: what waits for the device stays: no mosquitto_pub'
fi

# --- the certificate
fault certificate-unusable 'as PEM' "s|$T/rsa.pem|/nowhere.pem|"
fault certificate-unusable 'as PEM' "s|$T/rsa.pem|$T/pin|"
fault certificate-of-other-key 'hwid csr' "s|$T/rsa.pem|$T/ec.pem|"
fault certificate-of-other-key 'hwid csr' 's|hwid://rsa|hwid://ec|'
cat "$T/ca.pem" "$T/rsa.pem" > "$T/wrong-order.pem"
fault certificate-not-first 'own certificate first' "s|$T/rsa.pem|$T/wrong-order.pem|"
openssl pkey -in hwid://rsa -pubout -out "$T/rsa.pub"
cat > "$T/ca.cnf" << END
[ca]
default_ca = here
[here]
database = $T/index
rand_serial = yes
new_certs_dir = $T
certificate = $T/ca.pem
private_key = $T/ca.key
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = optional
END
: > "$T/index"
utc() { date -u -d "$1" +%y%m%d%H%M%SZ; }
dated() { # NAME BEGIN END [EXTENSION...]: $T/NAME.pem of the key rsa
    openssl req -new -key hwid://rsa -subj "/CN=$1" -out "$T/$1.csr"
    printf '%s\n' 'basicConstraints = CA:FALSE' "${@:4}" > "$T/$1.ext"
    plain_openssl ca -config "$T/ca.cnf" -batch -in "$T/$1.csr" -startdate "$(utc "$2")" \
        -enddate "$(utc "$3")" -extfile "$T/$1.ext" -notext -out "$T/$1.pem" 2> "$T/err" ||
        fail "$(cat "$T/err")"
}
dated ended '9 days ago' '2 days ago'
dated early '2 days' '30 days'
dated serves '1 day ago' '30 days' 'extendedKeyUsage = serverAuth'
dated encrypts '1 day ago' '30 days' 'keyUsage = critical,keyEncipherment'
dated unsaid '1 day ago' '30 days'
fault certificate-expired 'hwid csr' "s|$T/rsa.pem|$T/ended.pem|"
sees 'CN=ended'
fault certificate-not-yet-valid 'set the clock' "s|$T/rsa.pem|$T/early.pem|"
fault certificate-not-for-clients 'clientAuth' "s|$T/rsa.pem|$T/serves.pem|"
sees serverAuth
fault certificate-not-for-clients '--usage client' "s|$T/rsa.pem|$T/encrypts.pem|"
sees digitalSignature
device "s|$T/rsa.pem|$T/unsaid.pem|"
healthy --config "$T/device.conf"
software_key "$T/small.key" rsa:1024
issue_cert ca small client "$T/small.key"
blames certificate-weak 'RSA 2048' --key "$T/small.key" --cert "$T/small.pem" --ca "$T/ca.pem" \
    --endpoint "localhost:$PORT"
sees '1024 bits'
if command -v faketime > /dev/null && [ -z "${HWID_PRELOAD:-}" ]; then
    hwid() { faketime '2001-01-01' "$HWID_TOOLS_DIR/hwid" "$@"; }
    fault clock-wrong 'time synchronization' '$a qos = 1'
    hwid() { "$HWID_TOOLS_DIR/hwid" "$@"; }
else
    echo 'skipped: the clock: no faketime, or the runtime of a sanitizer'
fi

# --- the CA
fault ca-unusable ca-file "s|$T/ca.pem|/nowhere.pem|"
fault own-settings 'openssl ciphers' '$a ciphers = NO-SUCH-CIPHER'
fault ca-is-none 'CA that issued' "s|$T/ca.pem|$T/ec.pem|"
plain_openssl req -new -key "$T/plain.key" -subj /CN=old-ca -out "$T/old-ca.csr"
printf 'basicConstraints=critical,CA:TRUE\n' > "$T/old-ca.ext"
plain_openssl ca -config "$T/ca.cnf" -batch -in "$T/old-ca.csr" -startdate "$(utc '9 days ago')" \
    -enddate "$(utc '2 days ago')" -extfile "$T/old-ca.ext" -notext -out "$T/old-ca.pem" 2> "$T/err" ||
    fail "$(cat "$T/err")"
fault ca-expired 'new certificate' "s|$T/ca.pem|$T/old-ca.pem|"
make_ca stranger
fault server-unknown-ca "$T/stranger.pem" "s|$T/ca.pem|$T/stranger.pem|"
sees 'CN=ca'

# --- the network
fault name-not-resolved 'getent hosts' 's|localhost:|no-such-host.invalid:|'
fault no-tcp 'firewall' "s|:$PORT|:$(free_port)|"
fault no-tcp 'firewall' 's|localhost:.*|127.0.0.1:1|'
fault server-name-mismatch 'a name that it has' "s|localhost:|127.1:|"
sees 'DNS:localhost'
fault endpoint-wrong 'as the message says' 's|mqtts://localhost|mqtts://user@localhost|'
fault endpoint-wrong 'as the message says' 's|^client-id.*|client-id =|'
fault proxy-refused 'correct `proxy`' "\$a proxy = http://127.0.0.1:$PORT"
stop_daemon "$DAEMON_PID"

# --- TLS
start_mosquitto server "${WITH_CERTIFICATE[@]}"
device '/^cert/d' '/^key/d'
blames client-certificate-required '`cert` and `key`' --config "$T/device.conf"
plain_openssl req -new -x509 -key "$T/plain.key" -subj /CN=alone -days 3 -out "$T/self.pem"
blames certificate-self-signed 'a CA that the server knows' --key "$T/plain.key" --cert "$T/self.pem" \
    --ca "$T/ca.pem" --endpoint "localhost:$PORT"
issue_cert stranger foreign client "$T/plain.key"
blames certificate-alone 'intermediate' --key "$T/plain.key" --cert "$T/foreign.pem" \
    --ca "$T/ca.pem" --endpoint "localhost:$PORT"
cat "$T/foreign.pem" "$T/stranger.pem" > "$T/foreign-chain.pem"
blames client-unknown-ca 'one that it knows' --key "$T/plain.key" --cert "$T/foreign-chain.pem" \
    --ca "$T/ca.pem" --endpoint "localhost:$PORT"
stop_daemon "$DAEMON_PID"
PORT=$(free_port)
printf '%s\n' "listener $PORT 127.0.0.1" 'allow_anonymous true' > "$T/plain-mosquitto.conf"
if [ "$(id -u)" = 0 ]; then echo 'user root' >> "$T/plain-mosquitto.conf"; fi
start_daemon "$T/broker.log" "port_answers $PORT" mosquitto -c "$T/plain-mosquitto.conf"
fault not-tls '8883'
device 's/mqtts:/mqtt:/' '$a allow-plaintext = yes' '/^cert/d' '/^key/d' '/^ca-file/d'
healthy --config "$T/device.conf"
stop_daemon "$DAEMON_PID"
silent() { # a server that takes connections and says nothing
    PORT=$(free_port)
    start_daemon "$T/silent.log" "port_answers $PORT" python3 -c "import socket, time
s = socket.create_server(('127.0.0.1', $PORT))
held = []
while True: held.append(s.accept())"
}
silent
fault no-answer 'speaks TLS'
stop_daemon "$DAEMON_PID"
server_with() { # OPTION...: of openssl s_server
    PORT=$(free_port)
    start_daemon "$T/server.log" "port_answers $PORT" env OPENSSL_CONF="$T/plain.cnf" \
        openssl s_server -accept "127.0.0.1:$PORT" -quiet "$@"
}
server_with -cert "$T/server.pem" -key "$T/server.key" -tls1_3
sed -e 's/^providers = .*/&\nssl_conf = ssl/' "$OPENSSL_CONF" > "$T/tls12.cnf"
printf '[ssl]\nsystem_default = tls\n[tls]\nMaxProtocol = TLSv1.2\n' >> "$T/tls12.cnf"
OPENSSL_CONF=$T/tls12.cnf fault protocol-version MaxProtocol
stop_daemon "$DAEMON_PID"
server_with -cert "$T/server.pem" -key "$T/server.key" -tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384
fault cipher-mismatch Ciphersuites '$a ciphers = ECDHE-RSA-AES128-GCM-SHA256'
stop_daemon "$DAEMON_PID"
server_with -cert "$T/server.pem" -key "$T/server.key" -alpn nothing
fault alpn-mismatch x-amzn-mqtt-ca '$a alpn = mqtt'
stop_daemon "$DAEMON_PID"
make_ca root
software_key "$T/middle.key" ec:P-256
plain_openssl req -new -key "$T/middle.key" -subj /CN=middle -out "$T/middle.csr"
printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n' > "$T/middle.ext"
plain_openssl x509 -req -in "$T/middle.csr" -CA "$T/root.pem" -CAkey "$T/root.key" -days 3 \
    -extfile "$T/middle.ext" -out "$T/middle.pem" 2> /dev/null
issue_cert middle below server ec:P-256
server_with -cert "$T/below.pem" -key "$T/below.key"
fault server-unknown-ca 'ca-file' "s|$T/ca.pem|$T/root.pem|"
stop_daemon "$DAEMON_PID"
plain_openssl req -new -key "$T/server.key" -subj /CN=localhost -out "$T/late.csr"
printf 'subjectAltName=DNS:localhost\n' > "$T/late.ext"
for when in 'expired:9 days ago:2 days ago' 'not-yet-valid:2 days:9 days'; do
    IFS=: read -r what begin end <<< "$when"
    plain_openssl ca -config "$T/ca.cnf" -batch -in "$T/late.csr" -startdate "$(utc "$begin")" \
        -enddate "$(utc "$end")" -extfile "$T/late.ext" -notext -out "$T/late.pem" 2> "$T/err" ||
        fail "$(cat "$T/err")"
    server_with -cert "$T/late.pem" -key "$T/server.key"
    fault "server-certificate-$what" 'clock'
    stop_daemon "$DAEMON_PID"
done
# Revoked, by the CRL that device.conf names; and one that says nothing.
plain_openssl ca -config "$T/ca.cnf" -gencrl -crldays 3 -out "$T/crl.pem" 2> "$T/err" || fail "$(cat "$T/err")"
plain_openssl ca -config "$T/ca.cnf" -batch -in "$T/late.csr" -startdate "$(utc '1 day ago')" \
    -enddate "$(utc '9 days')" -extfile "$T/late.ext" -notext -out "$T/late.pem" 2> "$T/err" ||
    fail "$(cat "$T/err")"
server_with -cert "$T/late.pem" -key "$T/server.key"
plain_openssl ca -config "$T/ca.cnf" -revoke "$T/late.pem" 2> "$T/err" || fail "$(cat "$T/err")"
plain_openssl ca -config "$T/ca.cnf" -gencrl -crldays 3 -out "$T/crl.pem" 2> "$T/err" || fail "$(cat "$T/err")"
fault server-certificate-revoked 'tell whoever runs' "\$a crl-file = $T/crl.pem"
plain_openssl ca -config "$T/ca.cnf" -gencrl -crl_lastupdate "$(utc '9 days ago')" \
    -crl_nextupdate "$(utc '2 days ago')" -out "$T/crl.pem" 2> "$T/err" || fail "$(cat "$T/err")"
fault server-revocation-unknown 'current CRL' "\$a crl-file = $T/crl.pem"
stop_daemon "$DAEMON_PID"
# A key in a token that pads for itself, and not as PSS.
server_with -cert "$T/server.pem" -key "$T/server.key" -CAfile "$T/ca.pem" -Verify 1 -tls1_3
sed "s|^module = $HWID_SOFTHSM_MODULE|module = $HWID_TEST_MODULE|" "$OPENSSL_CONF" > "$T/no-pss.cnf"
printf 'hide-mechanism 0x3\nhide-mechanism 0xd\nhide-mechanism 0x43\nhide-mechanism 0x44\nhide-mechanism 0x45\n' > "$T/control"
HWID_TEST_CONTROL=$T/control OPENSSL_CONF=$T/no-pss.cnf fault key-cannot-pss 'MaxProtocol = TLSv1.2'
stop_daemon "$DAEMON_PID"

# --- MQTT: a broker that does what it is told
cat > "$T/broker.py" << 'END'
import socket, ssl, sys
port, directory, connack, suback = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
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
        stream = context.wrap_socket(raw, server_side=True)
        if connack == "drop" or packet(stream) is None or connack == "close": continue
        stream.sendall(bytes.fromhex(connack))
        if packet(stream) is None or suback == "close": continue
        stream.sendall(bytes.fromhex("320700016130303132"))  # a message comes before the answer
        stream.sendall(bytes.fromhex(suback))
        packet(stream)
    except (OSError, IndexError): pass
    finally:
        try: stream.close()
        except Exception: raw.close()
END
told() { # CONNACK SUBACK ID FIX EDIT...
    PORT=$(free_port)
    start_daemon "$T/told.log" "port_answers $PORT" env -u OPENSSL_CONF python3 "$T/broker.py" "$PORT" "$T" "$1" "$2"
    fault "$3" "$4" "${@:5}"
    stop_daemon "$DAEMON_PID"
}
told drop '' client-not-accepted 'ACTIVE'
told close '' mqtt-closed 'iot:Connect on client/doctor-test'
told 3000 '' mqtt-no-answer 'speaks MQTT'
told 20020001 '' mqtt-version 'mqtt-version = 3.1.1'
told 20020002 '' mqtt-client-id 'doctor-test'
told 20020003 '' mqtt-unavailable 'later'
told 20020004 '' mqtt-password 'use_identity_as_username'
told 20020005 '' mqtt-not-authorized 'iot:Connect'
told 2003008700 '' mqtt-not-authorized 'iot:Connect' '$a mqtt-version = 5'
told 20020009 '' mqtt-refused 'log'
told e0028e00 '' mqtt-client-id-taken 'of its own' '$a mqtt-version = 5'
told 20020000 9003000180 mqtt-subscribe-refused 'iot:Receive on topic/a/b'
told 2003000000 900400010087 mqtt-subscribe-refused topicfilter/a/b '$a mqtt-version = 5'
told 20020000 close mqtt-subscribe-refused 'iot:Subscribe'
PORT=$(free_port)
start_daemon "$T/told.log" "port_answers $PORT" env -u OPENSSL_CONF python3 "$T/broker.py" "$PORT" "$T" 20020000 9003000101
device
healthy --config "$T/device.conf"
stop_daemon "$DAEMON_PID"
start_mosquitto server 'require_certificate true' 'allow_anonymous false'
fault mqtt-not-authorized 'allow client doctor-test'
stop_daemon "$DAEMON_PID"

# --- two at once
start_mosquitto server "${WITH_CERTIFICATE[@]}"
fault certificate-of-other-key '' "s|$T/rsa.pem|$T/ec.pem|" 's|localhost:|no-such-host.invalid:|'
fault certificate-expired '' "s|$T/rsa.pem|$T/ended.pem|" "s|$T/ca.pem|/nowhere.pem|"
fault ca-unusable '' "s|$T/ca.pem|/nowhere.pem|" "s|:$PORT|:1|"
echo 9999 > "$T/pin"
fault pin-wrong '' "s|$T/ca.pem|$T/stranger.pem|"
