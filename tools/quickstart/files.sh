# shellcheck shell=bash
# The files that the quickstart writes into $WORK, and small helpers. Sourced by quickstart.sh.

must() { # COMMAND...: or the end
    "$@" || fail "the command above failed; its output says why"
}

set_variable() { # NAME VALUE
    show_command export "$1=$2"
    export "$1=$2"
}

first_file() { # PATH...
    local path
    for path in "$@"; do
        if [ -e "$path" ]; then
            printf '%s\n' "$path"
            return
        fi
    done
    fail "none of these exists: $*; run this without --no-install"
}

conf_value() { # TEXT: as openssl.cnf reads it
    printf '%s' "$1" | sed 's/[\\"'"'"'`$#;]/\\&/g'
}

write_openssl_conf() { # FILE DEVICE-KEY-URI [MODULE]: what hwid init left, together
    {
        sed '/^\.include/d' "$WORK/dev/openssl.cnf"
        echo
        sed -n '/^\.include/p' "$WORK/dev/openssl.cnf" "$WORK/tpm/openssl.cnf"
        printf '\n[hwid_sect]\nbackends = dev tpm\n\n[hwid_keys]\ndevice = %s\n' "$2"
        printf 'peer = pkcs11:token=%s;object=mqtt-mtls-key-ec\n' "$TOKEN"
        printf 'twin = pkcs11:token=%s;object=twin\n' "$TOKEN"
        if [ -n "${3:-}" ]; then printf '\n[hwid_dev]\nmodule = %s\n' "$(conf_value "$3")"; fi
    } > "$1"
}

write_device_conf() { # NAME CLIENT-ID [no-credentials]
    {
        printf 'endpoint = mqtts://localhost:%s\n' "${PORT:-8883}"
        printf 'client-id = %s\n' "$2"
        printf 'ca-file = %s\n' "$WORK/ca/ca.pem"
        if [ "${3:-}" != no-credentials ]; then
            printf 'cert = %s\n' "$WORK/$1.pem"
            printf 'key = hwid://%s\n' "$1"
        fi
        # The peer is there for one message at a time; the device's messages wait for it.
        if [ "$1" = peer ]; then printf 'clean-session = yes\n'; fi
        printf 'topics.publish = %s/req\n' "$TOPIC"
        printf 'topics.subscribe = %s/resp\n' "$TOPIC"
    } > "$WORK/$1.conf"
}

write_mosquitto_conf() {
    {
        printf 'listener %s localhost\n' "$PORT"
        # It would become user mosquitto, who may not read this directory.
        if [ "$(id -u)" = 0 ]; then printf 'user root\n'; fi
        printf 'cafile %s\n' "$WORK/ca/ca.pem"
        printf 'certfile %s\n' "$WORK/broker.pem"
        printf 'keyfile %s\n' "$WORK/broker.key"
        printf 'require_certificate true\n'
        printf 'use_identity_as_username true\n'
        printf 'log_dest stderr\nlog_type all\n'
    } > "$WORK/mosquitto.conf"
}
