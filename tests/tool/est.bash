# shellcheck shell=bash
# Sourced by the tests of enrolment and renewal, after tool.bash: the stand-in EST server.

# In $EST (a directory): a CA `ca`, one of manufacturers `maker`, a stranger `other`, and the server's
# own certificate. Sets EST_URL, EST_PID and FINGERPRINT (of ca).
# shellcheck disable=SC2034  # for the tests
start_est() {
    local name
    EST=$T/est
    if [ ! -d "$EST" ]; then
        mkdir "$EST"
        for name in ca maker other; do
            make_ca "$name"
            mv "$T/$name.pem" "$T/$name.key" "$EST"
        done
        cp "$EST"/{ca,maker,other}.{pem,key} "$T"
        issue_cert ca server server ec:P-256
        issue_cert maker born client ec:P-256
        issue_cert other stranger client ec:P-256
        mv "$T"/server.{pem,key} "$EST"
        cat "$EST/ca.pem" "$EST/maker.pem" > "$EST/clients.pem"
        : > "$EST/log"
        echo 'device:secret' > "$EST/users"
        echo secret > "$T/password"
        chmod 600 "$T/password"
        FINGERPRINT=$(fingerprint "$EST/ca.pem")
    fi
    rm -f "$EST/port"
    start_daemon "$T/est.out" "test -s $EST/port" env -u LD_PRELOAD -u OPENSSL_CONF \
        python3 "$HWID_TESTS_DIR/cloud/est_server.py" --directory "$EST"
    EST_PID=$DAEMON_PID
    EST_URL=https://localhost:$(cat "$EST/port")/.well-known/est
}
# The same, and a device whose key is hwid://first in SoftHSM, with device.conf for that server.
start_est_device() {
    make_token line ec:P-256,label=device,id=01
    make_conf "$T/openssl.cnf" default-first line "state-dir = $T/state.d" \
        "keys.first=pkcs11:token=line;object=device"
    export OPENSSL_CONF=$T/openssl.cnf
    start_est
    make_device_conf "ca-file = $EST/ca.pem"
}
restart_est() { # with what is in $EST now, at another port
    stop_daemon "$EST_PID"
    start_est
}
fingerprint() { # FILE
    plain_openssl x509 -in "$1" -noout -fingerprint -sha256 | sed 's/.*=//'
}
make_device_conf() { # [LINE...]: $T/device.conf with the server, a state directory, and these lines
    {
        printf 'est-url = %s\nstate-dir = %s\nclient-id = device\n' "$EST_URL" "$T/state.d"
        printf '%s\n' "$@"
    } > "$T/device.conf"
}
faults() { printf '%s\n' "$@" > "$EST/faults"; } # "OPERATION FAULT"...
issued() { # how many certificates the CA has issued
    if [ -f "$EST/issued" ]; then wc -l < "$EST/issued"; else echo 0; fi
}
server_said() { # how often its log has a line that fits
    grep -cE -- "$1" "$EST/log" 2> /dev/null || true
}
CURRENT=$T/state.d/device/current
current() { readlink "$CURRENT"; } # gen-N
working_pair() { # the current pair: its certificate fits its key, which signs, and the CA vouches
    local dir=$CURRENT
    plain_openssl verify -CAfile "$EST/ca.pem" "$dir/cert.pem" > "$T/verified" 2>&1 ||
        fail "$(cat "$T/verified")"
    plain_openssl x509 -in "$dir/cert.pem" -noout -pubkey > "$T/pair.pub"
    echo something > "$T/data"
    openssl dgst -sha256 -sign "$dir/key.pem" -out "$T/data.sig" "$T/data" 2> "$T/sign.err" ||
        fail "the key of $dir does not sign: $(cat "$T/sign.err")"
    plain_openssl dgst -sha256 -verify "$T/pair.pub" -signature "$T/data.sig" "$T/data" > "$T/verified" ||
        fail "certificate and key of $dir do not fit"
}
expires_in() { # SECONDS: the certificate of the current generation ends within
    ! plain_openssl x509 -in "$CURRENT/cert.pem" -noout -checkend "$1" > /dev/null
}
