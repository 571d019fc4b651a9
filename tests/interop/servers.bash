# shellcheck shell=bash disable=SC2153,SC2154  # $KEY and $CERT are row.sh's
# Rows: servers whose key is in hardware; the client has a software key, and is asked for it.

row server openssl file,uri openssl
server_openssl() {
    PORT=$(free_port)
    start_daemon "$T/server.log" "port_answers $PORT" openssl s_server -accept "127.0.0.1:$PORT" -www \
        -cert "$CERT" -key "$KEY" -CAfile "$T/ca.pem" -Verify 1 -verify_return_error
    visit 'CN = client\|CN=client'
    nobody_comes_in
}

row server mosquitto file mosquitto mosquitto_pub mosquitto_sub
server_mosquitto() {
    # By root it becomes the user mosquitto.
    start_mosquitto "$CERT" "$KEY" mosquitto
    subscribe "$T/client.pem" "$T/client.key"
    OPENSSL_CONF=$T/plain.cnf mosquitto_pub -h localhost -p "$PORT" --cafile "$T/ca.pem" --cert "$T/client.pem" \
        --key "$T/client.key" -t topic -m 'to a chip' -q 1
    arrives 'to a chip'
}

row server nginx file nginx curl
server_nginx() {
    PORT=$(free_port)
    mkdir "$T/nginx"
    cat > "$T/nginx.conf" << END
daemon off;
worker_processes 2;
pid $T/nginx/pid;
error_log $T/nginx/error.log;
events {}
http {
    client_body_temp_path $T/nginx/body; proxy_temp_path $T/nginx/proxy;
    fastcgi_temp_path $T/nginx/fastcgi; uwsgi_temp_path $T/nginx/uwsgi; scgi_temp_path $T/nginx/scgi;
    access_log off;
    server {
        listen 127.0.0.1:$PORT ssl;
        ssl_certificate $CERT;
        ssl_certificate_key $KEY;
        ssl_client_certificate $T/ca.pem;
        ssl_verify_client on;
        location / { return 200 "served by nginx\n"; }
    }
}
END
    # The environment of its workers is empty, for they are not told to keep anything.
    start_daemon "$T/nginx.log" "port_answers $PORT" nginx -e "$T/nginx/error.log" -c "$T/nginx.conf"
    for _ in 1 2 3 4; do visit 'served by nginx'; done
    nobody_comes_in
}

# Of URIs it takes what begins with pkcs11: for one, anything else for a file.
row server apache2 file,uri apache2 curl
server_apache2() {
    if [ "$FORM" = uri ]; then
        if [ "$WORLD" = tpm ]; then cannot 'Of URIs it knows "pkcs11:" alone.'; fi
        KEY=$(key_uri "$TOKEN" ec)
    fi
    PORT=$(free_port)
    mkdir "$T/www"
    echo 'served by apache' > "$T/www/index.html"
    chmod -R a+rX "$T/www"
    # Each process with tpm2-pkcs11 takes two of a TPM's three slots where there is no resource manager.
    local modules=/usr/lib/apache2/modules module children=3
    if [ "$WORLD" = tpm2-pkcs11 ]; then children=1; fi
    {
        for module in mpm_prefork ssl authz_core dir unixd; do
            if [ -e "$modules/mod_$module.so" ]; then
                echo "LoadModule ${module}_module $modules/mod_$module.so"
            fi
        done
        cat << END
ServerName localhost
Listen 127.0.0.1:$PORT
PidFile $T/apache.pid
ErrorLog $T/apache.log
Mutex file:$T
StartServers $children
MinSpareServers $children
MaxSpareServers $children
DocumentRoot $T/www
DirectoryIndex index.html
<VirtualHost *:$PORT>
    SSLEngine on
    SSLCertificateFile $CERT
    SSLCertificateKeyFile $KEY
    SSLCACertificateFile $T/ca.pem
    SSLVerifyClient require
</VirtualHost>
END
        if [ "$(id -u)" = 0 ]; then printf 'User www-data\nGroup www-data\n'; fi
    } > "$T/apache.conf"
    # It ends its whole process group.
    start_daemon "$T/apache.out" "port_answers $PORT" setsid apache2 -f "$T/apache.conf" -DFOREGROUND
    for _ in 1 2 3 4; do visit 'served by apache'; done
    nobody_comes_in
}

row server haproxy file haproxy curl
server_haproxy() {
    PORT=$(free_port)
    {
        if [ "$(id -u)" = 0 ]; then printf 'global\n  user haproxy\n  group haproxy\n'; fi
        cat << END
defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 10s
frontend f
  bind 127.0.0.1:$PORT ssl crt $T/both.pem ca-file $T/ca.pem verify required
  http-request return status 200 content-type text/plain string "served by haproxy"
END
    } > "$T/haproxy.cfg"
    start_daemon "$T/haproxy.log" "port_answers $PORT" haproxy -W -f "$T/haproxy.cfg"
    for _ in 1 2 3; do visit 'served by haproxy'; done
    nobody_comes_in
}

row server stunnel4 file stunnel4 curl
server_stunnel4() {
    PORT=$(free_port)
    # stunnel may drop the answer of one that ends before its client.
    printf '#!/bin/sh\necho served by stunnel\nexec cat > /dev/null\n' > "$T/answer"
    chmod 0755 "$T/answer"
    {
        if [ "$(id -u)" = 0 ]; then printf 'setuid = nobody\nsetgid = nogroup\n'; fi
        cat << END
foreground = yes
pid =
[server]
accept = 127.0.0.1:$PORT
exec = $T/answer
CAfile = $T/ca.pem
verifyChain = yes
requireCert = yes
cert = $CERT
key = $KEY
END
    } > "$T/stunnel.conf"
    start_daemon "$T/stunnel.log" "port_answers $PORT" stunnel4 "$T/stunnel.conf"
    visit 'served by stunnel'
    nobody_comes_in
}

row server postgres file psql postgres initdb
server_postgres() {
    start_postgres "$CERT" "$KEY"
    OPENSSL_CONF=$T/plain.cnf pg_client client "$T/client.pem" "$T/client.key"
    expect_text "$T/out" client
}

row server lighttpd file lighttpd curl
server_lighttpd() {
    PORT=$(free_port)
    mkdir "$T/www"
    echo 'served by lighttpd' > "$T/www/index.html"
    chmod -R a+rX "$T/www"
    {
        if [ "$(id -u)" = 0 ]; then printf 'server.username = "www-data"\nserver.groupname = "www-data"\n'; fi
        cat << END
server.modules = ("mod_openssl", "mod_indexfile")
server.document-root = "$T/www"
server.port = $PORT
server.bind = "127.0.0.1"
index-file.names = ("index.html")
ssl.engine = "enable"
ssl.pemfile = "$CERT"
ssl.privkey = "$KEY"
ssl.ca-file = "$T/ca.pem"
ssl.verifyclient.activate = "enable"
ssl.verifyclient.enforce = "enable"
END
    } > "$T/lighttpd.conf"
    start_daemon "$T/lighttpd.log" "port_answers $PORT" lighttpd -D -f "$T/lighttpd.conf"
    visit 'served by lighttpd'
    nobody_comes_in
}

row server hostapd file eapol_test hostapd
server_hostapd() {
    start_hostapd "$CERT" "$KEY"
    OPENSSL_CONF=$T/plain.cnf eap_client "$T/client.pem" "$T/client.key"
}

row server socat-fork file socat curl
server_socat-fork() {
    PORT=$(free_port)
    start_daemon "$T/socat.log" "port_answers $PORT" socat \
        "OPENSSL-LISTEN:$PORT,bind=127.0.0.1,reuseaddr,fork,cafile=$T/ca.pem,cert=$CERT,key=$KEY,verify=1" \
        'SYSTEM:echo served by socat; exec cat > /dev/null'
    for _ in 1 2 3; do visit 'served by socat'; done
    nobody_comes_in
}

row server redis-server file redis-cli redis-server
server_redis-server() {
    start_redis "$CERT" "$KEY"
    OPENSSL_CONF=$T/plain.cnf redis-cli -h localhost -p "$PORT" --tls --cacert "$T/ca.pem" --cert "$T/client.pem" \
        --key "$T/client.key" PING > "$T/out"
    expect_text "$T/out" PONG
}

row server nghttpd file nghttp nghttpd
server_nghttpd() {
    start_nghttpd "$CERT" "$KEY"
    OPENSSL_CONF=$T/plain.cnf nghttp --cert="$T/client.pem" --key="$T/client.key" \
        "https://localhost:$PORT/index.html" > "$T/out"
    expect_text "$T/out" 'hello over h2'
}
