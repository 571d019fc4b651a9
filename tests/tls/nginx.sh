#!/bin/bash
# nginx, unmodified: its key is a reference, its two workers have an empty environment, and it
# demands certificates of its clients.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tls/credentials.bash
. "$HWID_TESTS_DIR/tls/credentials.bash"
PATH=$PATH:/usr/sbin
need nginx curl
if ! curl -V | grep -q OpenSSL/3; then skip "curl is built without OpenSSL 3"; fi
token_credentials

write_nginx_conf() { # KEY: sets PORT
    PORT=$(free_port)
    mkdir -p "$T/nginx"
    if [ "$(id -u)" = 0 ]; then echo 'user root;'; fi
    cat << END
daemon off;
worker_processes 2;
pid $T/nginx/pid;
error_log $T/nginx/error.log info;
events {}
http {
    client_body_temp_path $T/nginx/body;
    proxy_temp_path $T/nginx/proxy;
    fastcgi_temp_path $T/nginx/fastcgi;
    uwsgi_temp_path $T/nginx/uwsgi;
    scgi_temp_path $T/nginx/scgi;
    log_format workers '\$pid \$ssl_client_verify';
    access_log $T/nginx/access.log workers;
    server {
        listen 127.0.0.1:$PORT ssl reuseport;
        server_name localhost;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate $T/$1.pem;
        ssl_certificate_key $T/$1.ref;
        ssl_client_certificate $T/ca.pem;
        ssl_verify_client on;
        location / { return 200 "\$ssl_client_s_dn \$ssl_client_verify \$ssl_protocol\n"; }
    }
}
END
}
get() { # ARGUMENT...
    curl -sSf --max-time 20 --noproxy '*' --cacert "$T/ca.pem" "$@" "https://localhost:$PORT/"
}
both_workers_answered() {
    [ "$(awk '$2 == "SUCCESS" {print $1}' "$T/nginx/access.log" | sort -u | wc -l)" = 2 ]
}

for key in rsa ec; do
    write_nginx_conf $key > "$T/nginx.conf"
    start_daemon "$T/nginx.log" "port_answers $PORT" \
        "${BARE[@]}" nginx -e "$T/nginx/error.log" -p "$T/nginx" -c "$T/nginx.conf"
    for tls in 1.2 1.3; do
        get --tlsv$tls --tls-max $tls --cert "$T/ec.pem" --key "$T/ec.ref" > "$T/out"
        expect_text "$T/out" "CN=device-ec SUCCESS TLSv$tls"
    done
    for ((i = 0; i < 60; i++)); do # the kernel chooses the worker
        if both_workers_answered; then break; fi
        get --cert "$T/rsa.pem" --key "$T/rsa.ref" > "$T/out"
        expect_text "$T/out" 'CN=device-rsa SUCCESS'
    done
    both_workers_answered || fail "one worker never answered: $(cat "$T/nginx/error.log")"
    expect_failure get
    stop_daemon "$DAEMON_PID"
    rm -f "$T/nginx/access.log"
done
