# shellcheck shell=bash
# Sourced by the tests of hwid doctor that need a server, after doctor.bash: a token with keys and
# certificates (tls/credentials.bash), and servers with any fault.
# shellcheck source=tests/tls/credentials.bash
. "${HWID_TESTS_DIR:?}/tls/credentials.bash"
PATH=$PATH:/usr/sbin
need mosquitto

# shellcheck disable=SC2034  # of those who source this
WITH_CERTIFICATE=('require_certificate true' 'use_identity_as_username true')
start_mosquitto() { # SERVER-CERTIFICATE LINE...: sets PORT
    PORT=$(free_port)
    printf '%s\n' "listener $PORT 127.0.0.1" "cafile $T/ca.pem" "certfile $T/$1.pem" \
        "keyfile $T/$1.key" 'persistence false' "${@:2}" > "$T/mosquitto.conf"
    if [ "$(id -u)" = 0 ]; then echo 'user root' >> "$T/mosquitto.conf"; fi
    OPENSSL_CONF=$T/plain.cnf start_daemon "$T/broker.log" "port_answers $PORT" \
        mosquitto -v -c "$T/mosquitto.conf"
}
start_server() { # OPTION...: openssl s_server; sets PORT
    PORT=$(free_port)
    start_daemon "$T/server.log" "port_answers $PORT" env OPENSSL_CONF="$T/plain.cnf" \
        openssl s_server -accept "127.0.0.1:$PORT" -quiet "$@"
}
server_fault() { # ID FIX [EDIT...] -- OPTION...: of openssl s_server, with these edits of device.conf
    local told=()
    while [ "$1" != -- ]; do
        told+=("$1")
        shift
    done
    start_server "${@:2}"
    fault "${told[@]}"
    stop_daemon "$DAEMON_PID"
}
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
well() { # OPTION...: as healthy, asked once, since the broker's opinion is waited for
    doctor 0 "$@"
    [ "$HEALTHY$CAUSE" = True ] || fail "$(cat "$T/out")"
}

# Certificates of any dates: of $T/ca.pem, by openssl ca.
start_authority() {
    printf '%s\n' '[ca]' 'default_ca = here' '[here]' "database = $T/index" 'rand_serial = yes' \
        "new_certs_dir = $T" "certificate = $T/ca.pem" "private_key = $T/ca.key" \
        'default_md = sha256' 'policy = any' 'unique_subject = no' '[any]' 'commonName = optional' \
        'organizationName = optional' > "$T/ca.cnf"
    : > "$T/index"
}
authority() { # ARGUMENT...
    plain_openssl ca -config "$T/ca.cnf" -batch "$@" 2> "$T/text" || fail "$(cat "$T/text")"
}
utc() { date -u -d "$1" +%y%m%d%H%M%SZ; }
dated() { # NAME BEGIN END CSR [EXTENSION...]: $T/NAME.pem
    printf '%s\n' "${@:5}" > "$T/$1.ext"
    authority -in "$4" -startdate "$(utc "$2")" -enddate "$(utc "$3")" -extfile "$T/$1.ext" -notext \
        -out "$T/$1.pem"
}
