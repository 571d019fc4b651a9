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

uri_escape() { # TEXT: percent-encoded, for a value in a URI
    local text=$1 i c escaped=''
    for ((i = 0; i < ${#text}; i++)); do
        c=${text:i:1}
        case $c in
            [a-zA-Z0-9/._~-]) escaped+=$c ;;
            *) escaped+=$(printf '%s' "$c" | od -An -v -tx1 | sed 's/ /%/g' | tr -d '\n') ;;
        esac
    done
    printf '%s' "$escaped"
}

conf_value() { # TEXT: as openssl.cnf reads it
    printf '%s' "$1" | sed 's/[\\"'"'"'`$#;]/\\&/g'
}

write_token_files() {
    mkdir "$WORK/tokens"
    cat > "$WORK/softhsm2.conf" <<TEXT
directories.tokendir = $WORK/tokens
objectstore.backend = file
log.level = ERROR
TEXT
    printf '%s\n' "$PIN" > "$WORK/pin"
    chmod 0400 "$WORK/pin"
}

# Extensions that strict verifiers (Python 3.13, -x509_strict) want.
write_ca_conf() {
    cat > "$WORK/ca.cnf" <<'TEXT'
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = DNS:localhost, IP:127.0.0.1
TEXT
}

sign() { # CSR EXTENSIONS CERTIFICATE
    must run openssl x509 -req -in "$WORK/$1" -CA "$WORK/ca.pem" -CAkey "$WORK/ca.key" \
        -CAcreateserial -days 30 -extfile "$WORK/ca.cnf" -extensions "$2" -out "$WORK/$3"
}

write_openssl_conf() { # FILE MODULE DEVICE-KEY-URI
    cat > "$1" <<TEXT
openssl_conf = init
nodejs_conf = init

[init]
providers = provider_sect

[provider_sect]
default = default_sect
hwid = hwid_sect

[default_sect]
activate = 1

[hwid_sect]
module = $(conf_value "$BUILD/provider/hwid.so")
activate = 1
backends = dev tpm
dev = hwid_dev
tpm = hwid_tpm
keys = hwid_keys

[hwid_dev]
type = pkcs11
module = $(conf_value "$2")
token = $TOKEN
pin-source = file:$(conf_value "$WORK/pin")

[hwid_tpm]
type = tpm2
tcti = swtpm:port=$TPM_PORT

[hwid_keys]
device = $3
peer = pkcs11:token=$TOKEN;object=mqtt-mtls-key-ec
twin = pkcs11:token=$TOKEN;object=twin

[req]
distinguished_name = req_name

[req_name]
TEXT
}

# Where SoftHSM looks for the token is SoftHSM's own variable.
write_environment() {
    printf 'export SOFTHSM2_CONF=%q OPENSSL_CONF=%q\n' "$WORK/softhsm2.conf" \
        "$WORK/openssl.cnf" > "$WORK/env"
}

write_device_conf() { # NAME CLIENT-ID [no-credentials]
    {
        printf 'endpoint = mqtts://localhost:%s\n' "${PORT:-8883}"
        printf 'client-id = %s\n' "$2"
        printf 'ca-file = %s\n' "$WORK/ca.pem"
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
        printf 'cafile %s\n' "$WORK/ca.pem"
        printf 'certfile %s\n' "$WORK/broker.pem"
        printf 'keyfile %s\n' "$WORK/broker.key"
        printf 'require_certificate true\n'
        printf 'use_identity_as_username true\n'
        printf 'log_dest stderr\nlog_type all\n'
    } > "$WORK/mosquitto.conf"
}
