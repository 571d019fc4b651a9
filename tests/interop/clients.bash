# shellcheck shell=bash disable=SC2153,SC2154  # $KEY and $CERT are row.sh's
# Rows: clients whose key is in hardware; the servers have software keys and demand certificates.

samples=$HWID_TESTS_DIR/../samples
get='GET / HTTP/1.0\r\nHost: localhost\r\n\r\n'

row client openssl file,uri openssl
client_openssl() {
    start_tls_server
    printf '%b' "$get" | openssl s_client -connect "localhost:$PORT" -quiet \
        -CAfile "$T/ca.pem" -cert "$CERT" -key "$KEY" -verify_return_error > "$T/out" 2> "$T/err"
    page_shows_device
}

row client curl file curl
client_curl() {
    start_tls_server
    curl -sS --noproxy '*' --cacert "$T/ca.pem" --cert "$CERT" --key "$KEY" \
        "https://localhost:$PORT/" > "$T/out"
    page_shows_device
}

# Sets PORT. Who has a certificate is its common name there, and may write below that.
start_mosquitto() { # CERT KEY
    PORT=$(free_port)
    cat > "$T/mosquitto.conf" << END
listener $PORT localhost
cafile $T/ca.pem
certfile $1
keyfile $2
require_certificate true
use_identity_as_username true
END
    if [ "$(id -u)" = 0 ]; then echo "user ${3:-root}" >> "$T/mosquitto.conf"; fi
    start_daemon "$T/mosquitto.log" "port_answers $PORT" mosquitto -c "$T/mosquitto.conf"
}
subscribe() { # CERT KEY [COMMAND...]: in the background; what arrives is in $T/out
    start_daemon "$T/subscribe.log" "grep -qs SUBACK $T/subscribe.log" env OPENSSL_CONF="$OPENSSL_CONF" \
        stdbuf -oL mosquitto_sub -d -h localhost -p "$PORT" --cafile "$T/ca.pem" --cert "$1" --key "$2" \
        -t topic -q 1 -C 1 -W 20
}
arrives() { # TEXT
    wait_for 20 grep -qsF "$1" "$T/subscribe.log" || fail "nothing arrived: $(cat "$T/subscribe.log" "$T/out")"
}

row client mosquitto_pub-sub file mosquitto mosquitto_pub mosquitto_sub
client_mosquitto_pub-sub() {
    start_mosquitto "$T/server.pem" "$T/server.key"
    subscribe "$CERT" "$KEY"
    mosquitto_pub -h localhost -p "$PORT" --cafile "$T/ca.pem" --cert "$CERT" --key "$KEY" -t topic \
        -m 'from a chip' -q 1
    arrives 'from a chip'
}

row client paho-cpp file,uri mosquitto mosquitto_sub
client_paho-cpp() {
    start_mosquitto "$T/server.pem" "$T/server.key"
    subscribe "$T/client.pem" "$T/client.key"
    printf '%s\n' "endpoint = mqtts://localhost:$PORT" 'client-id = device' "ca-file = $T/ca.pem" \
        "cert = $CERT" "key = $KEY" > "$T/device.conf"
    "$HWID_SAMPLES_DIR/hwid-publish" --config "$T/device.conf" --topic topic \
        --message 'from Paho' > "$T/out" 2>&1
    arrives 'from Paho'
}

row client python-ssl file python3
client_python-ssl() {
    start_tls_server
    python3 "$samples/python/tls_client.py" "$T/ca.pem" "$CERT" "$KEY" "https://localhost:$PORT/" > "$T/out"
    page_shows_device
}

row client python-requests file python3:requests
client_python-requests() {
    start_tls_server
    python3 -c 'import requests, sys
port, ca, cert, key = sys.argv[1:]
print(requests.get(f"https://localhost:{port}/", verify=ca, cert=(cert, key), proxies={"https": None}).text)' \
        "$PORT" "$T/ca.pem" "$CERT" "$KEY" > "$T/out"
    page_shows_device
}

row client python-paho file mosquitto mosquitto_sub python3:paho.mqtt.client
client_python-paho() {
    start_mosquitto "$T/server.pem" "$T/server.key"
    subscribe "$T/client.pem" "$T/client.key"
    python3 "$samples/python/mqtt_publish.py" "localhost:$PORT" "$T/ca.pem" "$CERT" "$KEY" topic \
        'from Python' > "$T/out" 2>&1
    arrives 'from Python'
}

row client perl file perl:IO::Socket::SSL
client_perl() {
    start_tls_server
    perl -MIO::Socket::SSL -e 'my ($port, $ca, $cert, $key) = @ARGV;
        my $tls = IO::Socket::SSL->new(PeerHost => "localhost", PeerPort => $port,
            SSL_ca_file => $ca, SSL_cert_file => $cert, SSL_key_file => $key) or die $SSL_ERROR;
        print $tls "GET / HTTP/1.0\r\n\r\n"; print while <$tls>;' \
        "$PORT" "$T/ca.pem" "$CERT" "$KEY" > "$T/out"
    page_shows_device
}

row client php file php
client_php() {
    start_tls_server
    # shellcheck disable=SC2016  # PHP's variables
    php -r '[, $port, $ca, $cert, $key] = $argv;
        $context = stream_context_create(["ssl" => ["cafile" => $ca, "local_cert" => $cert,
            "local_pk" => $key]]);
        echo file_get_contents("https://localhost:$port/", false, $context);' \
        "$PORT" "$T/ca.pem" "$CERT" "$KEY" > "$T/out"
    page_shows_device
}

row client lua file lua5.3:ssl
client_lua() {
    start_tls_server
    lua5.3 - "$PORT" "$T/ca.pem" "$CERT" "$KEY" > "$T/out" << 'END'
local tcp = require("socket").tcp()
assert(tcp:connect("127.0.0.1", arg[1]))
local tls = assert(require("ssl").wrap(tcp, {mode = "client", protocol = "any", verify = "peer",
  options = "all", cafile = arg[2], certificate = arg[3], key = arg[4]}))
assert(tls:dohandshake())
tls:send("GET / HTTP/1.0\r\n\r\n")
print((tls:receive("*a")))
END
    page_shows_device
}

row client socat file socat
client_socat() {
    start_tls_server
    printf '%b' "$get" | socat -t 5 - \
        "OPENSSL:localhost:$PORT,cafile=$T/ca.pem,cert=$CERT,key=$KEY" > "$T/out"
    page_shows_device
}

row client ncat file ncat
client_ncat() {
    start_tls_server
    printf '%b' "$get" | ncat --ssl-verify --ssl-trustfile "$T/ca.pem" --ssl-cert "$CERT" \
        --ssl-key "$KEY" localhost "$PORT" > "$T/out" 2>&1
    page_shows_device
}

row client stunnel4 file stunnel4
client_stunnel4() {
    start_tls_server
    local server=$PORT
    PORT=$(free_port)
    cat > "$T/stunnel.conf" << END
foreground = yes
pid =
[client]
client = yes
accept = 127.0.0.1:$PORT
connect = 127.0.0.1:$server
CAfile = $T/ca.pem
verifyChain = yes
checkHost = localhost
cert = $CERT
key = $KEY
END
    start_daemon "$T/stunnel.log" "port_answers $PORT" stunnel4 "$T/stunnel.conf"
    curl -sS --noproxy '*' "http://localhost:$PORT/" > "$T/out"
    page_shows_device
}

start_postgres() { # CERT KEY: sets PORT, with a user device-ec, who comes in by certificate
    local as=()
    PORT=$(free_port)
    mkdir "$T/pg"
    cp "$1" "$T/pg-server.pem"
    cp "$2" "$T/pg-server.key"
    chmod 0600 "$T/pg-server.key"
    chmod 0711 "$T"
    if [ "$(id -u)" = 0 ]; then
        chown postgres "$T/pg" "$T/pg-server.key"
        as=(setpriv --reuid postgres --regid postgres --clear-groups --)
    fi
    "${as[@]}" env OPENSSL_CONF="$T/plain.cnf" initdb -D "$T/pg/data" -A trust > "$T/out" 2>&1 || fail "$(cat "$T/out")"
    echo 'hostssl all all all cert' > "$T/pg/data/pg_hba.conf"
    printf '%s\n' 'local all all trust' >> "$T/pg/data/pg_hba.conf"
    cat >> "$T/pg/data/postgresql.conf" << END
listen_addresses = 'localhost'
port = $PORT
unix_socket_directories = '$T/pg'
ssl = on
ssl_ca_file = '$T/ca.pem'
ssl_cert_file = '$T/pg-server.pem'
ssl_key_file = '$T/pg-server.key'
END
    start_daemon "$T/pg.log" "port_answers $PORT" "${as[@]}" env OPENSSL_CONF="$OPENSSL_CONF" \
        postgres -D "$T/pg/data"
    wait_for 20 psql -h "$T/pg" -p "$PORT" -U postgres -c 'create role "device-ec" login' postgres \
        > "$T/out" 2>&1 || fail "$(cat "$T/out" "$T/pg.log")"
    psql -h "$T/pg" -p "$PORT" -U postgres -c 'create role client login' postgres > "$T/out"
}
pg_client() { # USER CERT KEY
    chmod 0600 "$3"
    psql "host=localhost port=$PORT dbname=postgres user=$1 sslmode=verify-full sslrootcert=$T/ca.pem
        sslcert=$2 sslkey=$3" -Atc 'select client_dn from pg_stat_ssl where pid = pg_backend_pid()' > "$T/out"
}

row client psql file psql postgres initdb
client_psql() {
    start_postgres "$T/server.pem" "$T/server.key"
    pg_client device-ec "$CERT" "$KEY"
    expect_text "$T/out" device-ec
}

openvpn_end() { # LOG CERT KEY ARGUMENT...
    local log=$1 cert=$2 key=$3
    shift 3
    start_daemon "$log" true openvpn --dev null --ifconfig-noexec --ca "$T/ca.pem" --cert "$cert" \
        --key "$key" --data-ciphers AES-256-GCM --verb 3 "$@"
}
openvpn_connects() {
    wait_for 30 grep -qs 'Initialization Sequence Completed' "$T/openvpn-client.log" ||
        fail "$(cat "$T/openvpn-client.log" "$T/openvpn-server.log")"
}
row client openvpn file openvpn
client_openvpn() {
    PORT=$(free_port)
    openvpn_end "$T/openvpn-server.log" "$T/server.pem" "$T/server.key" --tls-server --dh none \
        --proto tcp-server --port "$PORT"
    wait_for 20 port_answers "$PORT"
    openvpn_end "$T/openvpn-client.log" "$CERT" "$KEY" --tls-client --remote-cert-tls server \
        --proto tcp-client --remote 127.0.0.1 "$PORT"
    openvpn_connects
    expect_text "$T/openvpn-server.log" 'CN=device-ec'
}

start_hostapd() { # CERT KEY: a RADIUS server that speaks EAP-TLS; sets PORT
    PORT=$(free_port)
    printf '* TLS\n' > "$T/eap_users"
    printf '127.0.0.1 secret\n' > "$T/radius_clients"
    cat > "$T/hostapd.conf" << END
driver=none
radius_server_clients=$T/radius_clients
radius_server_auth_port=$PORT
eap_server=1
eap_user_file=$T/eap_users
ca_cert=$T/ca.pem
server_cert=$1
private_key=$2
END
    start_daemon "$T/hostapd.log" "grep -qs AP-ENABLED\\|UNINITIALIZED->ENABLED\\|RADIUS $T/hostapd.log" \
        stdbuf -oL hostapd -d "$T/hostapd.conf"
}
eap_client() { # CERT KEY
    cat > "$T/eap.conf" << END
network={
  ssid="wired"
  key_mgmt=WPA-EAP
  eap=TLS
  identity="device"
  ca_cert="$T/ca.pem"
  client_cert="$1"
  private_key="$2"
}
END
    eapol_test -c "$T/eap.conf" -a 127.0.0.1 -p "$PORT" -s secret -t 20 > "$T/out" 2>&1 ||
        fail "$(tail -n 40 "$T/out" "$T/hostapd.log")"
    expect_text "$T/out" SUCCESS
}

row client eapol_test file eapol_test hostapd
client_eapol_test() {
    start_hostapd "$T/server.pem" "$T/server.key"
    eap_client "$CERT" "$KEY"
}

row client mbsync file mbsync
client_mbsync() {
    PORT=$(free_port)
    mkdir "$T/mail"
    # It is no IMAP server, and says goodbye: the handshake is what counts.
    mkfifo "$T/imap"
    exec 9<> "$T/imap"
    echo '* BYE not today' >&9
    start_daemon "$T/imap.log" "port_answers $PORT" env OPENSSL_CONF="$T/plain.cnf" bash -c "
        exec openssl s_server -accept 127.0.0.1:$PORT -quiet -cert '$T/server.pem' -key '$T/server.key' \
            -CAfile '$T/ca.pem' -Verify 1 -verify_return_error < '$T/imap'"
    cat > "$T/mbsyncrc" << END
IMAPAccount one
Host localhost
Port $PORT
User u
Pass p
SSLType IMAPS
Timeout 2
CertificateFile $T/ca.pem
SystemCertificates no
ClientCertificate $CERT
ClientKey $KEY

IMAPStore far
Account one

MaildirStore near
Path $T/mail/
Inbox $T/mail/inbox

Channel all
Far :far:
Near :near:
END
    timeout 20 mbsync -c "$T/mbsyncrc" all > "$T/out" 2>&1 || true
    wait_for 10 grep -Eqs 'depth=0 CN ?= ?device-ec' "$T/imap.log" || fail "$(cat "$T/out" "$T/imap.log")"
    if grep -q 'SSL error\|alert' "$T/out"; then fail "$(cat "$T/out")"; fi
}

start_redis() { # CERT KEY
    PORT=$(free_port)
    start_daemon "$T/redis.log" "port_answers $PORT" redis-server --port 0 --tls-port "$PORT" --dir "$T" --save '' \
        --bind 127.0.0.1 --tls-cert-file "$1" --tls-key-file "$2" --tls-ca-cert-file "$T/ca.pem"
}
row client redis-cli file redis-cli redis-server
client_redis-cli() {
    start_redis "$T/server.pem" "$T/server.key"
    redis-cli -h localhost -p "$PORT" --tls --cacert "$T/ca.pem" --cert "$CERT" --key "$KEY" PING > "$T/out"
    expect_text "$T/out" PONG
}

start_nghttpd() { # CERT KEY
    PORT=$(free_port)
    mkdir "$T/www"
    echo 'hello over h2' > "$T/www/index.html"
    start_daemon "$T/nghttpd.log" "port_answers $PORT" nghttpd -v --address=127.0.0.1 --verify-client \
        -d "$T/www" "$PORT" "$2" "$1"
}
row client nghttp file nghttp nghttpd
client_nghttp() {
    start_nghttpd "$T/server.pem" "$T/server.key"
    nghttp --cert="$CERT" --key="$KEY" "https://localhost:$PORT/index.html" > "$T/out"
    expect_text "$T/out" 'hello over h2'
}

row client node file node
client_node() {
    start_tls_server
    node --openssl-shared-config "$samples/node/tls_client.js" "$T/ca.pem" "$CERT" "$KEY" \
        "https://localhost:$PORT/" > "$T/out"
    page_shows_device
}

# Java goes to the token itself, which must have the certificate, and finds it by one variable alone.
row client java token java javac
client_java() {
    if [ "$WORLD" = tpm ]; then cannot 'Java reaches a TPM by tpm2-pkcs11 alone.'; fi
    local module slot
    "$HWID_TOOLS_DIR/hwid" import "$KEY" "$CERT" > "$T/out"
    "$HWID_TOOLS_DIR/hwid" list --json > "$T/list"
    read -r module slot < <(python3 -c 'import json, sys
for token in json.load(open(sys.argv[1]))["tokens"]:
    if token["label"] in ("line", "chip"):
        print(token["module"], token["slot_id"])' "$T/list")
    start_tls_server
    # shellcheck disable=SC2046  # NAME=VALUE, several
    env -u LD_PRELOAD $(sed -n 's/^environment = //p' "$T/openssl.cnf") java "$samples/java/TlsClient.java" "$module" \
        "$slot" ec "$T/pin" "$T/ca.pem" "https://localhost:$PORT/" > "$T/out" 2>&1 || fail "$(cat "$T/out")"
    page_shows_device
}
