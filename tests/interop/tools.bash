# shellcheck shell=bash disable=SC2153,SC2154  # $KEY and $CERT are row.sh's
# Rows: tools that sign with a key in hardware; stock openssl without the provider is the judge.

row tool req file,uri openssl
tool_req() {
    recipe openssl 3 req.sh
    bash req.sh
    plain_openssl req -verify -noout -in request.csr 2> "$T/out"
}

# A CA of the key.
token_ca() {
    openssl req -new -x509 -key "$KEY" -subj /CN=token-ca -days 30 -addext basicConstraints=critical,CA:TRUE \
        -out root.pem
}

row tool x509-CAkey file,uri openssl
tool_x509-CAkey() {
    token_ca
    plain_openssl req -new -key "$T/client.key" -subj /CN=x -out request.csr
    recipe openssl 4 x509.sh
    bash x509.sh 2> "$T/out"
    plain_openssl verify -CAfile root.pem made.pem > "$T/out"
}

row tool ca file,uri openssl
tool_ca() {
    token_ca
    : > index.txt
    recipe openssl 5 authority.cnf
    {
        printf '%s\n' '[ca]' 'default_ca = authority' '[any]' 'commonName = supplied' '[authority]' \
            'database = index.txt' 'new_certs_dir = .' 'rand_serial = yes' 'default_md = sha256' \
            'default_days = 7' 'default_crl_days = 7' 'policy = any'
        cat authority.cnf
    } > ca.cnf
    plain_openssl req -new -key "$T/client.key" -subj /CN=x -out request.csr
    openssl ca -batch -config ca.cnf -in request.csr -out made.pem -notext > "$T/out" 2>&1
    openssl ca -batch -config ca.cnf -revoke made.pem > "$T/out" 2>&1
    openssl ca -batch -config ca.cnf -gencrl -out crl.pem > "$T/out" 2>&1
    plain_openssl verify -CAfile root.pem made.pem > "$T/out"
    expect_failure plain_openssl verify -CAfile root.pem -CRLfile crl.pem -crl_check made.pem
    expect_text "$T/out" 'certificate revoked'
}

row tool cms file,uri openssl
tool_cms() {
    echo 'a document' > document
    recipe openssl 6 cms.sh
    bash cms.sh
    plain_openssl cms -verify -binary -inform DER -in signed.p7 -CAfile "$T/ca.pem" -purpose any > "$T/out" 2> "$T/err"
    cmp document "$T/out"
}

row tool ts file openssl
tool_ts() {
    printf 'extendedKeyUsage = critical,timeStamping\n' > tsa.ext
    openssl req -new -key "$KEY" -subj /CN=tsa -out tsa.csr
    plain_openssl x509 -req -in tsa.csr -CA "$T/ca.pem" -CAkey "$T/ca.key" -set_serial 9 -days 7 \
        -extfile tsa.ext -out tsa.pem 2> "$T/out"
    recipe openssl 7 authority.cnf
    {
        printf '%s\n' '[tsa]' 'default_tsa = authority' '[authority]' 'serial = serial' 'signer_digest = sha256' \
            'default_policy = 1.2.3.4' 'digests = sha256' 'ess_cert_id_alg = sha256'
        cat authority.cnf
    } > ts.cnf
    echo 01 > serial
    echo 'a document' > document
    plain_openssl ts -query -data document -sha256 -cert -out query.tsq 2> "$T/out"
    openssl ts -reply -config ts.cnf -queryfile query.tsq -out reply.tsr > "$T/out" 2>&1
    plain_openssl ts -verify -data document -in reply.tsr -CAfile "$T/ca.pem" > "$T/out" 2>&1
}

row tool ocsp file,uri openssl
tool_ocsp() {
    token_ca
    plain_openssl req -new -key "$T/client.key" -subj /CN=x -out request.csr
    openssl x509 -req -in request.csr -CA root.pem -CAkey "$KEY" -days 7 -set_serial 0x1234 -out made.pem 2> "$T/out"
    printf 'V\t301231235959Z\t\t1234\tunknown\t/CN=x\n' > index.txt
    PORT=$(free_port)
    daemon_recipe openssl 8 ocsp.sh
    start_daemon ocsp.log "grep -qs ACCEPT ocsp.log" bash ocsp.sh
    timeout 20 env OPENSSL_CONF="$T/plain.cnf" openssl ocsp -issuer root.pem -cert made.pem -CAfile root.pem \
        -url "http://127.0.0.1:$PORT" > "$T/out" 2>&1 || fail "$(cat "$T/out" ocsp.log)"
    expect_text "$T/out" 'Response verify OK'
    expect_text "$T/out" 'made.pem: good'
}

row tool cmp file,uri openssl
tool_cmp() {
    plain_openssl req -x509 -key "$T/client.key" -subj /CN=cmp -days 7 -out cmp.pem
    PORT=$(free_port)
    start_daemon cmp.log "grep -qs ACCEPT cmp.log" env OPENSSL_CONF="$T/plain.cnf" openssl cmp -port "$PORT" \
        -srv_cert cmp.pem -srv_key "$T/client.key" -srv_trusted "$T/ca.pem" -rsp_cert "$CERT"
    recipe openssl 9 cmp.sh "device-7=device-$DEVICE"
    timeout 20 bash cmp.sh > "$T/out" 2>&1 || fail "$(cat "$T/out" cmp.log)"
    cmp "$CERT" enrolled.pem
}

# It wants the key itself: that it is told so clearly is all that can be tested.
row tool pkcs12 file,uri openssl
tool_pkcs12() {
    recipe openssl 10 pkcs12.sh
    expect_failure bash pkcs12.sh
    expect_text "$T/out" 'a private key stays on its token'
    cannot 'A PKCS #12 file holds the private key itself, which cannot leave its token.'
}
