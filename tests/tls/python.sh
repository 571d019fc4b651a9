#!/bin/bash
# Python's ssl module with a key reference, as client and as server.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tls/credentials.bash
. "$HWID_TESTS_DIR/tls/credentials.bash"
PYTHON=/usr/bin/python3 # the system's: others may bring an OpenSSL of their own
if ! [ -x $PYTHON ]; then skip "$PYTHON is not installed"; fi
if ! $PYTHON -c 'import ssl; assert ssl.OPENSSL_VERSION_INFO >= (3,)' 2> /dev/null; then
    skip "$PYTHON has no ssl module with OpenSSL 3"
fi
token_credentials
start_tls_server

cat > "$T/client.py" << 'END'
import socket, ssl, sys
ca, certificate, key, port, version = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key or None)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
with socket.create_connection(("127.0.0.1", int(port)), 20) as plain:
    with context.wrap_socket(plain, server_hostname="localhost") as stream:
        stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while data := stream.recv(65536):
            sys.stdout.buffer.write(data)
END
cat > "$T/server.py" << 'END'
import socket, ssl, sys
ca, certificate, key, port = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
context.load_cert_chain(certificate, key or None)
context.verify_mode = ssl.CERT_REQUIRED
with socket.create_server(("127.0.0.1", int(port))) as listener:
    while True:
        plain, _ = listener.accept()
        try:
            with plain, context.wrap_socket(plain, server_side=True) as stream:
                stream.recv(65536)
                subject = dict(pair[0] for pair in stream.getpeercert()["subject"])
                stream.sendall(("client " + subject["commonName"] + "\n").encode())
        except OSError as error:  # the one that only asks whether we are here
            print(error, flush=True)
END

for key in rsa ec; do
    cat "$T/$key.ref" "$T/$key.pem" > "$T/$key.key-first"
    cat "$T/$key.pem" "$T/$key.ref" > "$T/$key.cert-first"
    for tls in TLSv1_2 TLSv1_3; do
        $PYTHON "$T/client.py" "$T/ca.pem" "$T/$key.pem" "$T/$key.ref" "$PORT" $tls > "$T/out"
        expect_device "$key"
    done
    for file in "$T/$key.key-first" "$T/$key.cert-first"; do
        $PYTHON "$T/client.py" "$T/ca.pem" "$file" '' "$PORT" TLSv1_3 > "$T/out"
        expect_device "$key"
    done
done
issue_cert ca another client ec:P-256
expect_failure $PYTHON "$T/client.py" "$T/ca.pem" "$T/another.pem" "$T/ec.ref" "$PORT" TLSv1_3
expect_text "$T/out" KEY_VALUES_MISMATCH

for key in rsa ec; do
    server=$(free_port)
    start_daemon "$T/python.log" "port_answers $server" \
        "${BARE[@]}" $PYTHON "$T/server.py" "$T/ca.pem" "$T/$key.pem" "$T/$key.ref" "$server"
    for tls in 2 3; do
        OPENSSL_CONF=$T/plain.cnf timeout 20 openssl s_client -connect "127.0.0.1:$server" \
            -tls1_$tls -cert "$T/server.pem" -key "$T/server.key" -CAfile "$T/ca.pem" \
            -verify_return_error -quiet <<< hello > "$T/out" 2>&1 || true
        # A certificate for servers is no client's.
        if grep -q '^client ' "$T/out"; then fail "a wrong client was let in"; fi
        timeout 20 openssl s_client -connect "127.0.0.1:$server" -tls1_$tls \
            -cert "$T/$key.pem" -key "$T/$key.ref" -CAfile "$T/ca.pem" \
            -verify_return_error -quiet <<< hello > "$T/out" 2>&1 || true # Python only hangs up
        expect_text "$T/out" "client device-$key"
    done
    stop_daemon "$DAEMON_PID"
done
