#!/bin/bash
# hwid doctor: TLS, one fault at a time, with openssl s_server, mosquitto, and a server that answers
# what it is told.
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
start_authority
SERVER=(-cert "$T/server.pem" -key "$T/server.key")

# --- what answers is no TLS
PORT=$(free_port)
printf '%s\n' "listener $PORT 127.0.0.1" 'allow_anonymous true' > "$T/plain-mosquitto.conf"
if [ "$(id -u)" = 0 ]; then echo 'user root' >> "$T/plain-mosquitto.conf"; fi
start_daemon "$T/broker.log" "port_answers $PORT" mosquitto -c "$T/plain-mosquitto.conf"
fault not-tls '8883'
device 's/mqtts:/mqtt:/' '$a allow-plaintext = yes' '/^cert/d' '/^key/d' '/^ca-file/d'
healthy --config "$T/device.conf"
stop_daemon "$DAEMON_PID"
answering() { # BYTES: a server that says these, in hexadecimal digits, and nothing else
    PORT=$(free_port)
    start_daemon "$T/silent.log" "port_answers $PORT" python3 -c "import socket
s = socket.create_server(('127.0.0.1', $PORT))
held = []
while True:
    held.append(s.accept()[0])
    try: held[-1].sendall(bytes.fromhex('$1'))
    except OSError: pass"
}
answering ''
fault no-answer 'speaks TLS'
stop_daemon "$DAEMON_PID"
answering 15030300020250 # a fatal alert, internal_error
fault tls-fails 'log'
sees 'internal error'
stop_daemon "$DAEMON_PID"

start_server "${SERVER[@]}" # which closes at once, as its input ends
blames closed "server's log" --ca "$T/ca.pem" --endpoint "localhost:$PORT"
alone
stop_daemon "$DAEMON_PID"

# --- versions, ciphers, names
sed -e 's/^providers = .*/&\nssl_conf = ssl/' "$OPENSSL_CONF" > "$T/tls12.cnf"
printf '[ssl]\nsystem_default = tls\n[tls]\nMaxProtocol = TLSv1.2\n' >> "$T/tls12.cnf"
OPENSSL_CONF=$T/tls12.cnf server_fault protocol-version MaxProtocol -- "${SERVER[@]}" -tls1_3
sees 'we have TLS 1.2, the server has TLS 1.3'
# Whether openssl.cnf says so or not, OpenSSL does not take what is older.
sed 's/^MaxProtocol/MinProtocol/' "$T/tls12.cnf" > "$T/min12.cnf"
for conf in "$OPENSSL_CONF" "$T/min12.cnf"; do
    OPENSSL_CONF=$conf server_fault protocol-version 'brought up to date' -- "${SERVER[@]}" -tls1_1 \
        -cipher 'ALL:@SECLEVEL=0'
    sees 'we have TLS 1.2, TLS 1.3, the server has TLS 1.1'
done
server_fault cipher-mismatch Ciphersuites '$a ciphers = ECDHE-RSA-AES128-GCM-SHA256' -- \
    "${SERVER[@]}" -tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384
server_fault alpn-mismatch x-amzn-mqtt-ca '$a alpn = mqtt' -- "${SERVER[@]}" -alpn nothing
server_fault name-unknown-to-server "the server's own name" -- "${SERVER[@]}" -cert2 "$T/server.pem" \
    -key2 "$T/server.key" -servername broker.example -servername_fatal
sees 'unrecognized name'

# --- the server's certificate
software_key "$T/middle.key" ec:P-256
software_key "$T/root.key" ec:P-256
intermediate() { # SUBJECT-OF-ROOT SUBJECT: $T/root.pem, $T/middle.pem below it, $T/below.pem at the end
    plain_openssl req -new -x509 -key "$T/root.key" -subj "$1" -days 3 -out "$T/root.pem" \
        -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=keyCertSign'
    plain_openssl req -new -key "$T/middle.key" -subj "$2" -out "$T/middle.csr"
    printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n' > "$T/middle.ext"
    plain_openssl x509 -req -in "$T/middle.csr" -CA "$T/root.pem" -CAkey "$T/root.key" -days 3 \
        -extfile "$T/middle.ext" -out "$T/middle.pem" 2> /dev/null
    issue_cert middle below "${3:-server}" "${4:-$T/server.key}"
}
intermediate /CN=root /CN=middle
server_fault server-unknown-ca 'ca-file' "s|$T/ca.pem|$T/root.pem|" -- \
    -cert "$T/below.pem" -key "$T/server.key"
# The same, where both are of one organization.
intermediate '/O=Works/CN=root' '/O=Works/CN=middle'
server_fault server-chain-incomplete 'send its chain' "s|$T/ca.pem|$T/root.pem|" -- \
    -cert "$T/below.pem" -key "$T/server.key"
sees 'CN=middle'
start_server -cert "$T/below.pem" -key "$T/server.key" -cert_chain "$T/middle.pem" -www
well --ca "$T/root.pem" --endpoint "localhost:$PORT"
stop_daemon "$DAEMON_PID"
plain_openssl req -new -key "$T/server.key" -subj /CN=localhost -out "$T/server.csr"
server_dated() { # NAME BEGIN END [EXTENSION...]
    dated "$1" "$2" "$3" "$T/server.csr" 'subjectAltName=DNS:localhost' "${@:4}"
}
server_dated late '9 days ago' '2 days ago'
server_fault server-certificate-expired clock -- -cert "$T/late.pem" -key "$T/server.key"
server_dated late '2 days' '9 days'
server_fault server-certificate-not-yet-valid clock -- -cert "$T/late.pem" -key "$T/server.key"
server_dated client-only '1 day ago' '9 days' 'extendedKeyUsage=clientAuth'
server_fault server-certificate-bad 'whoever runs the server' -- -cert "$T/client-only.pem" \
    -key "$T/server.key"
sees purpose
# Revoked, by the CRL that device.conf names; and one that says nothing.
server_dated late '1 day ago' '9 days'
start_server -cert "$T/late.pem" -key "$T/server.key"
authority -revoke "$T/late.pem"
authority -gencrl -crldays 3 -out "$T/crl.pem"
fault server-certificate-revoked 'tell whoever runs' "\$a crl-file = $T/crl.pem"
authority -gencrl -crl_lastupdate "$(utc '9 days ago')" -crl_nextupdate "$(utc '2 days ago')" \
    -out "$T/old-crl.pem"
fault server-revocation-unknown 'current CRL' "\$a crl-file = $T/old-crl.pem"
stop_daemon "$DAEMON_PID"

# --- what the server says of the device's certificate
start_mosquitto server "${WITH_CERTIFICATE[@]}"
device '/^cert/d' '/^key/d'
blames client-certificate-required '`cert` and `key`' --config "$T/device.conf"
software_key "$T/plain.key" ec:P-256
given() { # ID FIX CERTIFICATE: of the plain key
    blames "$1" "$2" --key "$T/plain.key" --cert "$3" --ca "$T/ca.pem" --endpoint "localhost:$PORT"
    alone
}
plain_openssl req -new -x509 -key "$T/plain.key" -subj /CN=alone -days 3 -out "$T/self.pem"
given certificate-self-signed 'a CA that the server knows' "$T/self.pem"
make_ca stranger
issue_cert stranger foreign client "$T/plain.key"
given certificate-alone 'intermediate' "$T/foreign.pem"
cat "$T/foreign.pem" "$T/stranger.pem" > "$T/foreign-chain.pem"
given client-unknown-ca 'one that it knows' "$T/foreign-chain.pem"
stop_daemon "$DAEMON_PID"
# Its clock, its CRL and what it takes certificates for are the server's own matter.
ASKING=("${SERVER[@]}" -CAfile "$T/ca.pem" -Verify 2 -verify_return_error)
server_fault client-certificate-expired "compare the server's" -- "${ASKING[@]}" \
    -attime "$(date +%s -d '+60 days')"
sees 'certificate expired'
server_fault client-certificate-bad "compare the server's clock" -- "${ASKING[@]}" \
    -attime "$(date +%s -d '-60 days')"
sees 'bad certificate'
server_fault client-certificate-bad 'clientAuth' -- "${ASKING[@]}" -purpose smimesign
authority -revoke "$T/rsa.pem"
authority -gencrl -crldays 3 -out "$T/crl.pem"
server_fault client-certificate-revoked 'find out why' -- "${ASKING[@]}" -crl_check -CRL "$T/crl.pem"
sees 'certificate revoked'
# One by an intermediate CA of the server's: alone, and with that.
intermediate /CN=root /CN=middle client "$T/plain.key"
start_server "${SERVER[@]}" -CAfile "$T/root.pem" -Verify 2 -verify_return_error -www
given certificate-alone "append that CA's certificate to $T/below.pem" "$T/below.pem"
cat "$T/below.pem" "$T/middle.pem" > "$T/below-chain.pem"
# The same from a token, by a URI with the PIN in it.
intermediate /CN=root /CN=middle client "$T/rsa.csr"
(export SOFTHSM2_CONF=$T/softhsm2.conf && add_certificate line rsa 01 "$T/below.pem")
URI='pkcs11:token=line;object=rsa'
blames certificate-alone-on-token 'hwid export' --key "$URI?pin-value=$PIN" --cert "$URI?pin-value=$PIN" \
    --ca "$T/ca.pem" --endpoint "localhost:$PORT"
alone
device "s|^cert = .*|cert = $URI?pin-value=$PIN|" "s|^key = .*|key = $URI?pin-value=$PIN|"
blames certificate-alone-on-token 'cert = FILE' --config "$T/device.conf"
well --key "$T/plain.key" --cert "$T/below-chain.pem" --ca "$T/ca.pem" --endpoint "localhost:$PORT"
# A key that needs somebody who types its pass phrase.
plain_openssl pkey -in "$T/plain.key" -aes256 -passout pass:secret -out "$T/locked.key"
blames own-key-unusable 'do as it says' --key "$T/locked.key" --cert "$T/below-chain.pem" --ca "$T/ca.pem" \
    --endpoint "localhost:$PORT"
alone
sees passphrase
stop_daemon "$DAEMON_PID"
# A key that has signed once, and does not for TLS.
through_test_module() { # DIRECTIVE...
    sed "s|^module = $HWID_SOFTHSM_MODULE|module = $HWID_TEST_MODULE|" "$OPENSSL_CONF" > "$T/test-module.cnf"
    printf '%s\n' "$@" > "$T/control"
}
through_test_module 'fail C_Sign CKR_FUNCTION_FAILED nth=2'
HWID_TEST_CONTROL=$T/control OPENSSL_CONF=$T/test-module.cnf server_fault own-key-unusable \
    "the key's token" -- "${ASKING[@]}"
sees CKR_FUNCTION_FAILED
# A key in a token that pads for itself, and not as PSS.
through_test_module 'hide-mechanism 0x3' 'hide-mechanism 0xd' 'hide-mechanism 0x43' \
    'hide-mechanism 0x44' 'hide-mechanism 0x45'
HWID_TEST_CONTROL=$T/control OPENSSL_CONF=$T/test-module.cnf server_fault key-cannot-pss \
    'MaxProtocol = TLSv1.2' -- "${SERVER[@]}" -CAfile "$T/ca.pem" -Verify 1 -tls1_3

# --- two at once: what comes first in the handshake
server_fault protocol-version '' "s|$T/ca.pem|$T/root.pem|" -- "${SERVER[@]}" -tls1_1 \
    -cipher 'ALL:@SECLEVEL=0' -CAfile "$T/root.pem" -Verify 2
server_fault server-certificate-bad '' -- -cert "$T/client-only.pem" -key "$T/server.key" \
    -CAfile "$T/root.pem" -Verify 2 -verify_return_error
server_fault server-unknown-ca '' "s|$T/ca.pem|$T/root.pem|" -- "${ASKING[@]}" -crl_check \
    -CRL "$T/crl.pem"
