# shellcheck shell=bash disable=SC2153,SC2154  # $KEY and $CERT are row.sh's
# Rows: clients whose key is in hardware; the servers have software keys and demand certificates.

samples=$HWID_TESTS_DIR/../samples
get='GET / HTTP/1.0\r\nHost: localhost\r\n\r\n'

row client openssl file,uri openssl
client_openssl() {
    start_tls_server
    recipe openssl 1 client.sh
    printf '%b' "$get" | bash client.sh > "$T/out" 2> "$T/err"
    page_shows_device
}

row client curl file curl
client_curl() {
    start_tls_server
    recipe curl 1 client.sh
    NO_PROXY='*' bash client.sh > "$T/out"
    page_shows_device
}

# Sets PORT. Who has a certificate is its common name there, and may write below that.
start_mosquitto() { # CERT KEY [USER]
    local CERT=$1 KEY=$2
    PORT=$(free_port)
    recipe mosquitto 1 mosquitto.conf
    if [ "$(id -u)" = 0 ]; then echo "user ${3:-root}" >> "$T/mosquitto.conf"; fi
    start_daemon "$T/mosquitto.log" "port_answers $PORT" mosquitto -c "$T/mosquitto.conf"
}
subscribe() { # in the background; what arrives is in its log
    daemon_recipe mosquitto 3 subscribe.sh "mosquitto_sub=stdbuf -oL mosquitto_sub" "$@"
    start_daemon "$T/subscribe.log" "grep -qs SUBACK $T/subscribe.log" bash subscribe.sh
}
# The other end is in software, and comes to any server.
subscribe_in_software() {
    CERT=$T/client.pem KEY=$T/client.key subscribe \
        "/etc/hwid/ca.pem=$T/any-ca.pem" "mosquitto_sub=mosquitto_sub --insecure"
}
publish_in_software() { # TEXT
    OPENSSL_CONF=$T/plain.cnf mosquitto_pub -h localhost -p "$PORT" --cafile "$T/any-ca.pem" --insecure \
        --cert "$T/client.pem" --key "$T/client.key" -t topic -m "$1" -q 1
}
arrives() { # TEXT
    wait_for 20 grep -qsF "$1" "$T/subscribe.log" || fail "nothing arrived: $(cat "$T/subscribe.log" "$T/out")"
}

row client mosquitto_pub file mosquitto mosquitto_pub mosquitto_sub
client_mosquitto_pub() {
    start_mosquitto "$T/server.pem" "$T/server.key"
    subscribe_in_software
    recipe mosquitto 2 publish.sh
    bash publish.sh
    arrives 'from a chip'
}

row client mosquitto_sub file mosquitto mosquitto_pub mosquitto_sub
client_mosquitto_sub() {
    start_mosquitto "$T/server.pem" "$T/server.key"
    subscribe
    publish_in_software 'to a chip'
    arrives 'to a chip'
}

row client paho-cpp file,uri mosquitto mosquitto_sub
client_paho-cpp() {
    start_mosquitto "$T/server.pem" "$T/server.key"
    subscribe_in_software
    recipe 'Paho C and C++' 1 device.conf
    recipe 'Paho C and C++' 2 publish.sh "hwid-publish=$HWID_SAMPLES_DIR/hwid-publish"
    bash publish.sh > "$T/out" 2>&1
    arrives 'from Paho'
}

row client python-ssl file python3
client_python-ssl() {
    start_tls_server
    recipe Python 1 client.py
    NO_PROXY='*' python3 client.py > "$T/out"
    page_shows_device
    python3 "$samples/python/tls_client.py" "$T/ca.pem" "$CERT" "$KEY" "https://localhost:$PORT/" > "$T/out"
    page_shows_device
}

row client python-requests file python3:requests
client_python-requests() {
    start_tls_server
    recipe Python 2 client.py
    NO_PROXY='*' python3 client.py > "$T/out"
    page_shows_device
}

row client python-paho file mosquitto mosquitto_sub python3:paho.mqtt.client
client_python-paho() {
    start_mosquitto "$T/server.pem" "$T/server.key"
    subscribe_in_software
    recipe Python 3 publish.py
    python3 publish.py > "$T/out" 2>&1
    arrives 'by paho.mqtt.publish'
    subscribe_in_software
    python3 "$samples/python/mqtt_publish.py" "localhost:$PORT" "$T/ca.pem" "$CERT" "$KEY" topic \
        'from Python' > "$T/out" 2>&1
    arrives 'from Python'
}

row client perl file perl:IO::Socket::SSL
client_perl() {
    start_tls_server
    recipe Perl 1 client.pl
    perl client.pl > "$T/out"
    page_shows_device
}

row client php file php
client_php() {
    start_tls_server
    recipe PHP 1 client.php
    php -r "$(cat client.php)" > "$T/out"
    page_shows_device
}

row client lua file lua5.3:ssl
takes another-name client_lua 'LuaSec does not look at the name.'
client_lua() {
    start_tls_server
    recipe Lua 1 client.lua
    lua5.3 client.lua > "$T/out"
    page_shows_device
}

row client socat file socat
client_socat() {
    start_tls_server
    recipe socat 1 client.sh
    printf '%b' "$get" | bash client.sh > "$T/out"
    page_shows_device
}

row client ncat file ncat
client_ncat() {
    start_tls_server
    recipe ncat 1 client.sh
    printf '%b' "$get" | bash client.sh > "$T/out" 2>&1
    page_shows_device
}

row client stunnel4 file stunnel4
client_stunnel4() {
    start_tls_server
    local server=$PORT
    PORT=$(free_port)
    recipe stunnel 1 client.conf "8443=$server" "/run/stunnel4=$T"
    start_forking "$T/client.pid" "port_answers $PORT" stunnel4 "$T/client.conf"
    curl -sS --noproxy '*' "http://localhost:$PORT/" > "$T/out"
    page_shows_device
}

start_postgres() { # CERT KEY: sets PORT, with a user of the device's name, who comes in by certificate
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
END
    CERT=$T/pg-server.pem KEY=$T/pg-server.key recipe PostgreSQL 2 postgresql.conf
    cat postgresql.conf >> "$T/pg/data/postgresql.conf"
    start_daemon "$T/pg.log" "port_answers $PORT" "${as[@]}" env OPENSSL_CONF="$OPENSSL_CONF" \
        postgres -D "$T/pg/data"
    wait_for 20 psql -h "$T/pg" -p "$PORT" -U postgres -c "create role \"device-$DEVICE\" login" postgres \
        > "$T/out" 2>&1 || fail "$(cat "$T/out" "$T/pg.log")"
    psql -h "$T/pg" -p "$PORT" -U postgres -c 'create role client login' postgres > "$T/out"
}
pg_client() { # USER CERT KEY
    chmod 0600 "$3"
    CERT=$2 KEY=$3 recipe PostgreSQL 1 psql.sh "device-7=$1"
    bash psql.sh > "$T/out"
}

row client psql file psql postgres initdb
client_psql() {
    start_postgres "$T/server.pem" "$T/server.key"
    pg_client "device-$DEVICE" "$CERT" "$KEY"
    expect_text "$T/out" "device-$DEVICE"
}

openvpn_end() { # LOG ARGUMENT...
    start_daemon "$1" true openvpn --dev null --ifconfig-noexec --data-ciphers AES-256-GCM --verb 3 "${@:2}"
}
openvpn_connects() {
    wait_for 30 grep -qs 'Initialization Sequence Completed' "$T/openvpn-client.log" ||
        fail "$(cat "$T/openvpn-client.log" "$T/openvpn-server.log")"
}
row client openvpn file openvpn
client_openvpn() {
    PORT=$(free_port)
    openvpn_end "$T/openvpn-server.log" --ca "$T/ca.pem" --cert "$T/server.pem" --key "$T/server.key" \
        --tls-server --dh none --proto tcp-server --port "$PORT"
    wait_for 20 port_answers "$PORT"
    recipe OpenVPN 1 client.ovpn 'verify-x509-name server.example=verify-x509-name server'
    openvpn_end "$T/openvpn-client.log" --config client.ovpn --tls-client --proto tcp-client --remote 127.0.0.1 "$PORT"
    openvpn_connects
    expect_text "$T/openvpn-server.log" "CN=device-$DEVICE"
}

start_hostapd() { # CERT KEY: a RADIUS server that speaks EAP-TLS; sets PORT
    PORT=$(free_port)
    printf '* TLS\n' > "$T/eap_users"
    printf '127.0.0.1 secret\n' > "$T/radius_clients"
    cat > "$T/hostapd.conf" << END
driver=none
radius_server_clients=$T/radius_clients
radius_server_auth_port=$PORT
eap_user_file=$T/eap_users
END
    CERT=$1 KEY=$2 recipe hostapd 1 eap.conf
    cat eap.conf >> "$T/hostapd.conf"
    start_forking "$T/hostapd.pid" "test -s $T/hostapd.log" \
        hostapd -B -P "$T/hostapd.pid" -d -f "$T/hostapd.log" "$T/hostapd.conf"
}
eap_client() { # CERT KEY
    CERT=$1 KEY=$2 recipe 'wpa_supplicant and eapol_test' 1 wpa_supplicant.conf
    eapol_test -c wpa_supplicant.conf -a 127.0.0.1 -p "$PORT" -s secret -t 20 > "$T/out" 2>&1 ||
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
    # It is no IMAP server, and says goodbye, which mbsync reads after the whole handshake only: that it
    # shows a certificate does not say that it can sign.
    mkfifo "$T/imap"
    exec 9<> "$T/imap"
    echo '* BYE not today' >&9
    start_daemon "$T/imap.log" "grep -qs ACCEPT $T/imap.log" env OPENSSL_CONF="$T/plain.cnf" bash -c "
        exec openssl s_server -accept 127.0.0.1:$PORT -cert '$T/server.pem' -key '$T/server.key' \
            -CAfile '$T/ca.pem' -Verify 1 -verify_return_error < '$T/imap'"
    recipe mbsync 1 mbsyncrc "993=$PORT"
    cat >> "$T/mbsyncrc" << END
User u
Pass p
Timeout 20

IMAPStore far
Account one

MaildirStore near
Path $T/mail/
Inbox $T/mail/inbox

Channel all
Far :far:
Near :near:
END
    timeout 60 mbsync -c "$T/mbsyncrc" all > "$T/out" 2>&1 || true
    expect_text "$T/out" 'unexpected BYE response: not today'
    grep -Eq "depth=0 CN ?= ?device-$DEVICE" "$T/imap.log" || fail "$(cat "$T/imap.log")"
}

start_redis() { # CERT KEY [COMMAND...]: which starts it
    PORT=$(free_port)
    CERT=$1 KEY=$2 recipe redis 2 redis.conf
    printf '%s\n' 'bind 127.0.0.1' 'save ""' >> "$T/redis.conf"
    chmod a+r "$T/redis.conf"
    start_daemon "$T/redis.log" "port_answers $PORT" "${@:3}" redis-server "$T/redis.conf"
}
row client redis-cli file redis-cli redis-server
takes another-name client_redis-cli 'It does not look at the name.'
client_redis-cli() {
    start_redis "$T/server.pem" "$T/server.key"
    recipe redis 1 client.sh
    bash client.sh > "$T/out"
    expect_text "$T/out" PONG
}

# nghttpd takes any certificate: nginx says whose it was.
row client nghttp file nghttp nginx
takes another-ca client_nghttp 'It verifies nothing.'
takes another-name client_nghttp 'It verifies nothing.'
client_nghttp() {
    PORT=$(free_port)
    cat > server.conf << END
server {
    listen 127.0.0.1:$PORT ssl http2;
    ssl_certificate $T/server.pem;
    ssl_certificate_key $T/server.key;
    ssl_client_certificate $T/ca.pem;
    ssl_verify_client on;
    location / { return 200 "over h2 to \$ssl_client_s_dn\n"; }
}
END
    OPENSSL_CONF=$T/plain.cnf start_nginx
    recipe 'nghttp and nghttpd' 1 client.sh
    bash client.sh > "$T/out"
    expect_text "$T/out" "over h2 to CN=device-$DEVICE"
}

row client node file node
client_node() {
    start_tls_server
    recipe node 1 client.sh
    recipe node 2 client.js
    bash client.sh > "$T/out"
    page_shows_device
    # Without its option, with the line that `hwid enable` writes.
    { echo 'nodejs_conf = init' && cat "$OPENSSL_CONF"; } > node.cnf
    OPENSSL_CONF=$T/node.cnf node client.js > "$T/out"
    page_shows_device
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
    recipe Java 1 client.sh "/usr/lib/softhsm/libsofthsm2.so=$module" "SLOT device=$slot $DEVICE"
    # shellcheck disable=SC2046  # NAME=VALUE, several
    env -u LD_PRELOAD $(sed -n 's/^environment = //p' "$T/openssl.cnf") bash client.sh > "$T/out" 2>&1 ||
        fail "$(cat "$T/out")"
    page_shows_device
}
