#!/bin/bash
# Authorities whose key is on the token, with stock openssl: a CA with its database, its revocation
# list and its OCSP responder, a time-stamping authority, CMP in both roles, PKCS#12.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tls/credentials.bash
. "$HWID_TESTS_DIR/tls/credentials.bash"
token_credentials

# (They serve one connection after the other: one that only looks whether they are there would be
# the first.)
stop_server() {
    stop_daemon "$DAEMON_PID"
    # It ends without a word, and without a resource manager its session stays in the TPM.
    if in_tpm; then tpm_tool tpm2_flushcontext -l; fi
}

for key in rsa ec; do
    openssl req -new -x509 -key "hwid:$key" -subj "/CN=token-ca-$key" -days 30 \
        -addext basicConstraints=critical,CA:TRUE -out "$T/root.pem"

    # A CA with a database; its key as a URI in the configuration file.
    mkdir -p "$T/db-$key"
    cd "$T/db-$key"
    : > index.txt
    cat > ca.cnf <<TEXT
[ca]
default_ca = authority
[authority]
database = index.txt
new_certs_dir = .
rand_serial = yes
certificate = $T/root.pem
private_key = hwid:$key
default_md = sha256
default_days = 7
default_crl_days = 7
policy = any
[any]
commonName = supplied
TEXT
    plain_openssl req -new -newkey rsa:2048 -nodes -keyout device.key -subj /CN=device \
        -out device.csr 2> /dev/null
    ca() { openssl ca -batch -config ca.cnf "$@" > ca.log 2>&1 || fail "openssl ca: $(cat ca.log)"; }
    ca -in device.csr -out device.pem -notext
    plain_openssl verify -CAfile "$T/root.pem" device.pem > /dev/null
    ca -revoke device.pem
    ca -gencrl -out crl.pem
    expect_failure plain_openssl verify -CAfile "$T/root.pem" -CRLfile crl.pem -crl_check device.pem
    expect_text "$T/out" 'certificate revoked'

    # What its OCSP responder signs.
    OCSP_PORT=$(free_port)
    start_daemon ocsp.log "grep -qs ACCEPT ocsp.log" openssl ocsp -index index.txt \
        -CA "$T/root.pem" -rsigner "$T/root.pem" -rkey "hwid:$key" -port "$OCSP_PORT"
    timeout 20 env OPENSSL_CONF="$T/plain.cnf" openssl ocsp -issuer "$T/root.pem" -cert device.pem -CAfile "$T/root.pem" \
        -url "http://127.0.0.1:$OCSP_PORT" > "$T/out" 2>&1 ||
        fail "openssl ocsp: $(cat "$T/out" ocsp.log)"
    stop_server
    expect_text "$T/out" 'Response verify OK'
    expect_text "$T/out" 'device.pem: revoked'

    # A time-stamping authority. (`openssl ts` opens a file, whatever the key is.)
    printf 'extendedKeyUsage = critical,timeStamping\n' > tsa.ext
    openssl req -new -key "hwid:$key" -subj /CN=tsa -out tsa.csr
    plain_openssl x509 -req -in tsa.csr -CA "$T/ca.pem" -CAkey "$T/ca.key" -set_serial 9 -days 7 \
        -extfile tsa.ext -out tsa.pem 2> /dev/null
    cat > ts.cnf <<TEXT
[tsa]
default_tsa = authority
[authority]
serial = serial
signer_cert = tsa.pem
signer_key = $T/$key.ref
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
ess_cert_id_alg = sha256
TEXT
    echo 01 > serial
    echo 'a document' > document
    plain_openssl ts -query -data document -sha256 -cert -out query.tsq 2> /dev/null
    openssl ts -reply -config ts.cnf -queryfile query.tsq -out reply.tsr > "$T/out" 2>&1 ||
        fail "openssl ts: $(cat "$T/out")"
    plain_openssl ts -verify -data document -in reply.tsr -CAfile "$T/ca.pem" > "$T/out" 2>&1
    expect_text "$T/out" 'Verification: OK'

    # CMP: the client's key on the token, and then the server's.
    plain_openssl req -x509 -newkey rsa:2048 -nodes -keyout cmp.key -subj /CN=cmp -days 7 \
        -out cmp.pem 2> /dev/null
    CMP_PORT=$(free_port)
    start_daemon cmp-client.log "grep -qs ACCEPT cmp-client.log" env OPENSSL_CONF="$T/plain.cnf" \
        openssl cmp -port "$CMP_PORT" -srv_cert cmp.pem -srv_key cmp.key -srv_trusted "$T/ca.pem" \
        -rsp_cert "$T/$key.pem"
    for command in ir cr kur; do
        rm -f enrolled.pem
        timeout 20 openssl cmp -cmd $command -server "127.0.0.1:$CMP_PORT" -srvcert cmp.pem \
            -cert "$T/$key.pem" -key "hwid:$key" -newkey "hwid:$key" -subject "/CN=device-$key" \
            -certout enrolled.pem > "$T/out" 2>&1 ||
            fail "openssl cmp $command: $(cat "$T/out" cmp-client.log)"
        cmp "$T/$key.pem" enrolled.pem || fail "another certificate"
    done
    stop_server
    CMP_PORT=$(free_port)
    start_daemon cmp-server.log "grep -qs ACCEPT cmp-server.log" openssl cmp -port "$CMP_PORT" \
        -srv_cert "$T/$key.pem" -srv_key "hwid:$key" -srv_trusted cmp.pem -rsp_cert cmp.pem
    timeout 20 env OPENSSL_CONF="$T/plain.cnf" openssl cmp -cmd cr -server "127.0.0.1:$CMP_PORT" -srvcert "$T/$key.pem" -cert cmp.pem \
        -key cmp.key -newkey cmp.key -subject /CN=cmp -certout enrolled.pem > "$T/out" 2>&1 ||
        fail "openssl cmp: $(cat "$T/out" cmp-server.log)"
    stop_server
    cmp cmp.pem enrolled.pem || fail "another certificate"
done

# A PKCS#12 file has certificates; with the key it is refused, since that stays.
for key in rsa ec; do
    openssl pkcs12 -export -nokeys -in "$T/$key.pem" -passout pass:secret -out "$T/certs.p12"
    plain_openssl pkcs12 -in "$T/certs.p12" -passin pass:secret -nokeys > "$T/out"
    expect_text "$T/out" "device-$key"
    expect_failure openssl pkcs12 -export -inkey "hwid:$key" -in "$T/$key.pem" \
        -passout pass:secret -out "$T/key.p12"
    if [ -s "$T/key.p12" ]; then fail "a file with a key that is none"; fi
done
