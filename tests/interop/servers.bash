# shellcheck shell=bash disable=SC2153,SC2154  # $KEY and $CERT are row.sh's
# Rows: servers whose key is in hardware; the client has a software key, and is asked for it.

row server openssl file,uri openssl
server_openssl() {
    PORT=$(free_port)
    daemon_recipe openssl 2 server.sh "8443=127.0.0.1:$PORT"
    start_daemon "$T/server.log" "port_answers $PORT" bash server.sh
    visit 'CN = client\|CN=client'
    nobody_comes_in 'CN = client\|CN=client'
}

row server mosquitto file mosquitto mosquitto_pub mosquitto_sub
server_mosquitto() {
    # By root it becomes the user mosquitto.
    belongs_to mosquitto
    start_mosquitto "$CERT" "$KEY" mosquitto
    subscribe_in_software
    publish_in_software 'to a chip'
    arrives 'to a chip'
    subscribe_in_software # to one message
    expect_failure timeout 20 env OPENSSL_CONF="$T/plain.cnf" mosquitto_pub -h localhost -p "$PORT" \
        --cafile "$T/ca.pem" -t topic -m 'from nobody' -q 1
    publish_in_software 'to a chip again'
    arrives 'to a chip again'
}

start_nginx() { # at $PORT, with $T/server.conf and two workers; by root they are www-data's
    mkdir "$T/nginx"
    {
        if [ "$(id -u)" = 0 ]; then echo 'user www-data;'; fi
        cat << END
daemon off;
worker_processes 2;
pid $T/nginx/pid;
error_log $T/nginx/error.log;
events {}
http {
    client_body_temp_path $T/nginx/body; proxy_temp_path $T/nginx/proxy;
    fastcgi_temp_path $T/nginx/fastcgi; uwsgi_temp_path $T/nginx/uwsgi; scgi_temp_path $T/nginx/scgi;
    access_log off;
    include $T/server.conf;
}
END
    } > "$T/nginx.conf"
    start_daemon "$T/nginx.log" "port_answers $PORT" nginx -e "$T/nginx/error.log" -c "$T/nginx.conf"
}
row server nginx file nginx curl
server_nginx() {
    PORT=$(free_port)
    belongs_to www-data
    recipe nginx 1 server.conf "8443=127.0.0.1:$PORT"
    # The environment of its workers is empty, for they are not told to keep anything.
    start_nginx
    for _ in 1 2 3 4; do visit 'served by nginx'; done
    nobody_comes_in 'served by nginx'
}

# Of URIs it takes what begins with pkcs11: for one, anything else for a file.
row server apache2 file,uri apache2 curl
server_apache2() {
    if [ "$FORM" = uri ]; then
        if [ "$WORLD" = tpm ]; then cannot 'Of URIs it knows "pkcs11:" alone.'; fi
        KEY=$(key_uri "$TOKEN" "$DEVICE")
    fi
    PORT=$(free_port)
    mkdir "$T/www"
    echo 'served by apache' > "$T/www/index.html"
    chmod -R a+rX "$T/www"
    # Each process with tpm2-pkcs11 takes two of a TPM's three slots where there is no resource manager.
    local modules=/usr/lib/apache2/modules module children=3
    if [ "$WORLD" = tpm2-pkcs11 ]; then children=1; fi
    belongs_to www-data
    recipe Apache 1 host.conf
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
END
        if [ "$(id -u)" = 0 ]; then printf 'User www-data\nGroup www-data\n'; fi
        cat host.conf
    } > "$T/apache.conf"
    # It ends its whole process group.
    start_daemon "$T/apache.out" "port_answers $PORT" setsid apache2 -f "$T/apache.conf" -DFOREGROUND
    for _ in 1 2 3 4; do visit 'served by apache'; done
    nobody_comes_in 'served by apache'
}

# The lines of the drop-in for its service, as systemd does them.
bind_paths() { # FILE
    local line from to
    while IFS= read -r line; do
        from=${line#*=-} to=${line#*:}
        from=${from%%:*}
        if [ ! -e "$from" ]; then continue; fi
        mkdir -p "${to%/*}"
        if [ -d "$from" ]; then mkdir "$to"; else : > "$to"; fi
        mount --bind "$from" "$to"
        if [[ $line = BindReadOnlyPaths=* ]]; then mount -o remount,bind,ro "$to"; fi
    done < <(grep '^Bind' "$1")
}
row server haproxy file haproxy curl unshare
server_haproxy() {
    local chroot=() jailed=()
    PORT=$(free_port)
    belongs_to haproxy
    if [ "$(id -u)" = 0 ]; then
        chroot=('global' '  user haproxy' '  group haproxy')
        # As Debian's has it; but tpm2-pkcs11 cannot be loaded again in there.
        if [ "$WORLD" != tpm2-pkcs11 ]; then
            # In a chroot, whose root is no mount and where all mounts are private, the second.
            local mounts=(unshare --mount)
            "${mounts[@]}" true 2> /dev/null || mounts+=(--propagation unchanged)
            "${mounts[@]}" true || skip 'nothing can be mounted here, as the chroot of haproxy needs it'
            mkdir "$T/jail"
            chroot+=("  chroot $T/jail")
            recipe haproxy 2 dropin.conf "/var/lib/haproxy/etc/hwid=$T/jail$T" \
                "/var/lib/haproxy/etc/softhsm=$T/jail$T" "/var/lib/haproxy/var/lib/softhsm=$T/jail$T" \
                "/etc/softhsm=$T" "/var/lib/softhsm=$T"
            jailed=("${mounts[@]}" bash -ec "$(declare -f bind_paths); bind_paths $T/dropin.conf; exec \"\$@\"" --)
        fi
    fi
    recipe haproxy 1 frontend.cfg "bind :8443=bind 127.0.0.1:$PORT"
    {
        printf '%s\n' "${chroot[@]}" 'defaults' '  mode http' '  timeout client 10s' '  timeout server 10s' \
            '  timeout connect 10s'
        cat frontend.cfg
        echo '  http-request return status 200 content-type text/plain string "served by haproxy"'
    } > "$T/haproxy.cfg"
    start_daemon "$T/haproxy.log" "port_answers $PORT" "${jailed[@]}" haproxy -W -f "$T/haproxy.cfg"
    for _ in 1 2 3; do visit 'served by haproxy'; done
    nobody_comes_in 'served by haproxy'
}

row server stunnel4 file stunnel4 curl
server_stunnel4() {
    PORT=$(free_port)
    belongs_to stunnel4
    # stunnel may drop the answer of one that ends before its client.
    printf '#!/bin/sh\necho served by stunnel\nexec cat > /dev/null\n' > "$T/answer"
    chmod 0755 "$T/answer"
    recipe stunnel 2 server.conf "8443=127.0.0.1:$PORT" "connect.*=exec = $T/answer" "/run/stunnel4=$T/run"
    mkdir "$T/run"
    if [ "$(id -u)" = 0 ]; then chown stunnel4 "$T/run"; else sed -i '/^set[ug]id/d' server.conf; fi
    start_forking "$T/run/server.pid" "port_answers $PORT" stunnel4 "$T/server.conf"
    visit 'served by stunnel'
    nobody_comes_in 'served by stunnel'
}

row server postgres file psql postgres initdb
server_postgres() {
    belongs_to postgres
    start_postgres "$CERT" "$KEY"
    OPENSSL_CONF=$T/plain.cnf pg_client client "$T/client.pem" "$T/client.key"
    expect_text "$T/out" client
    OPENSSL_CONF=$T/plain.cnf expect_failure psql -c '' \
        "host=localhost port=$PORT dbname=postgres user=client sslmode=verify-full sslrootcert=$T/ca.pem sslcert=none"
    expect_text "$T/out" 'connection requires a valid client certificate'
    OPENSSL_CONF=$T/plain.cnf pg_client client "$T/client.pem" "$T/client.key"
    expect_text "$T/out" client
}

row server lighttpd file lighttpd curl
server_lighttpd() {
    PORT=$(free_port)
    mkdir "$T/www"
    echo 'served by lighttpd' > "$T/www/index.html"
    chmod -R a+rX "$T/www"
    belongs_to www-data
    recipe lighttpd 1 ssl.conf
    {
        if [ "$(id -u)" = 0 ]; then printf 'server.username = "www-data"\nserver.groupname = "www-data"\n'; fi
        cat << END
server.modules = ("mod_openssl", "mod_indexfile")
server.document-root = "$T/www"
server.port = $PORT
server.bind = "127.0.0.1"
index-file.names = ("index.html")
END
        cat ssl.conf
    } > "$T/lighttpd.conf"
    start_daemon "$T/lighttpd.log" "port_answers $PORT" lighttpd -D -f "$T/lighttpd.conf"
    visit 'served by lighttpd'
    nobody_comes_in 'served by lighttpd'
}

row server hostapd file eapol_test hostapd
server_hostapd() {
    start_hostapd "$CERT" "$KEY"
    OPENSSL_CONF=$T/plain.cnf eap_client "$T/client.pem" "$T/client.key"
    # Without a certificate eapol_test does not begin.
    make_ca stranger
    issue_cert stranger nobody client ec:P-256
    OPENSSL_CONF=$T/plain.cnf expect_failure eap_client "$T/nobody.pem" "$T/nobody.key"
    expect_text "$T/hostapd.log" 'unknown CA'
    OPENSSL_CONF=$T/plain.cnf eap_client "$T/client.pem" "$T/client.key"
}

row server socat-fork file socat curl
server_socat-fork() {
    PORT=$(free_port)
    daemon_recipe socat 2 server.sh "8443=$PORT,bind=127.0.0.1"
    start_daemon "$T/socat.log" "port_answers $PORT" bash server.sh
    for _ in 1 2 3; do visit 'served by socat'; done
    nobody_comes_in 'served by socat'
}

row server redis-server file redis-cli redis-server
server_redis-server() {
    local as=()
    if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid redis --regid redis --clear-groups --); fi
    belongs_to redis
    start_redis "$CERT" "$KEY" "${as[@]}"
    CERT=$T/client.pem KEY=$T/client.key recipe redis 1 client.sh
    OPENSSL_CONF=$T/plain.cnf bash client.sh > "$T/out"
    expect_text "$T/out" PONG
    OPENSSL_CONF=$T/plain.cnf expect_failure redis-cli -h localhost -p "$PORT" --tls --cacert "$T/ca.pem" PING
    OPENSSL_CONF=$T/plain.cnf bash client.sh > "$T/out"
    expect_text "$T/out" PONG
}

# It takes any certificate, but none it does not take.
row server nghttpd file nghttp nghttpd curl
server_nghttpd() {
    PORT=$(free_port)
    mkdir "$T/www"
    echo 'hello over h2' > "$T/www/index.html"
    daemon_recipe 'nghttp and nghttpd' 2 server.sh "/var/www=$T/www" "nghttpd -v=nghttpd --address=127.0.0.1 -v"
    start_daemon "$T/nghttpd.log" "port_answers $PORT" bash server.sh
    CERT=$T/client.pem KEY=$T/client.key recipe 'nghttp and nghttpd' 1 client.sh
    OPENSSL_CONF=$T/plain.cnf bash client.sh > "$T/out"
    expect_text "$T/out" 'hello over h2'
    visit 'Verify return code' -alpn h2
    nobody_comes_in 'Verify return code' -alpn h2
}
