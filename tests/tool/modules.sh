#!/bin/bash
# The same work with other modules than SoftHSM: NSS softokn (no C_Initialize symbol, wants
# arguments), p11-kit's proxy, and p11-kit's remote over a socket.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
need certutil p11-kit pkg-config
export TSS2_LOG=all+NONE # of tpm2-pkcs11, where p11-kit is configured with it

module_named() { # FILE: of p11-kit or NSS, where they are on this system
    local lib candidate
    lib=$(pkg-config --variable=libdir p11-kit-1)
    for candidate in "$lib/$1" "$lib/pkcs11/$1" "$lib/nss/$1"; do
        if [ -e "$candidate" ]; then
            printf '%s' "$candidate"
            return
        fi
    done
    printf '%s is not installed\n' "$1" >&2
    return 1
}

# The work of a device, with keys that are made on the way.
work() { # TOKEN [without-ecdh]
    local token=$1 without=${2:-} key algorithm option signature
    local all="pkcs11:token=${token// /%20}"
    echo 'a message' > "$T/message"
    for key in 'rsa RSA rsa_keygen_bits:2048' 'p256 EC group:P-256' 'p384 EC group:P-384'; do
        read -r key algorithm option <<< "$key"
        openssl genpkey -propquery provider=hwid -algorithm "$algorithm" -pkeyopt "$option" \
            -pkeyopt "hwid_uri:$all;object=$key" -out "$T/$key.ref" 2> "$T/err" ||
            fail "$(cat "$T/err")"
        openssl pkey -in "$all;object=$key;type=private" -pubout -out "$T/$key.pub"
        for signature in "$T/$key.ref" "$all;object=$key"; do
            openssl dgst -sha256 -sign "$signature" -out "$T/signature" "$T/message"
            plain_openssl dgst -sha256 -verify "$T/$key.pub" -signature "$T/signature" \
                "$T/message" > /dev/null
        done
        # Never over a key that is there.
        expect_failure openssl genpkey -propquery provider=hwid -algorithm "$algorithm" \
            -pkeyopt "$option" -pkeyopt "hwid_uri:$all;object=$key"
        expect_text "$T/out" 'is there already'
    done
    openssl dgst -sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest \
        -sign "$T/rsa.ref" -out "$T/signature" "$T/message"
    plain_openssl dgst -sha384 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest \
        -verify "$T/rsa.pub" -signature "$T/signature" "$T/message" > /dev/null
    for option in rsa_padding_mode:oaep rsa_padding_mode:pkcs1; do
        plain_openssl pkeyutl -encrypt -pubin -inkey "$T/rsa.pub" -in "$T/message" \
            -out "$T/message.enc" -pkeyopt "$option"
        openssl pkeyutl -decrypt -inkey "$all;object=rsa" -in "$T/message.enc" -out "$T/out" \
            -pkeyopt "$option"
        cmp "$T/message" "$T/out"
    done
    if [ "$without" != without-ecdh ]; then
        software_key "$T/peer.key" ec:P-256
        plain_openssl pkey -in "$T/peer.key" -pubout -out "$T/peer.pub"
        openssl pkeyutl -derive -inkey "$T/p256.ref" -peerkey "$T/peer.pub" -out "$T/ours"
        plain_openssl pkeyutl -derive -inkey "$T/peer.key" -peerkey "$T/p256.pub" -out "$T/theirs"
        cmp "$T/ours" "$T/theirs"
    fi

    # A certificate, beside its key, and found by its subject.
    openssl req -new -x509 -key "$all;object=p384" -subj /CN=of-the-token -days 7 -out "$T/own.pem"
    plain_openssl verify -CAfile "$T/own.pem" "$T/own.pem" > /dev/null
    hwid import "$all;object=p384" "$T/own.pem" > "$T/out" 2>&1 || fail "$(cat "$T/out")"
    openssl storeutl -certs -noout -subject /CN=of-the-token "$all" > "$T/out"
    expect_text "$T/out" 'Total found: 1'
    openssl storeutl -noout -keys "$all" > "$T/out"
    expect_text "$T/out" 'Total found: 3'
    hwid list "$all" --json > "$T/out"
    python3 - "$T/out" << 'END'
import json, sys
objects = json.load(open(sys.argv[1]))["objects"]
keys = {each["label"]: each for each in objects if each["class"] == "private-key"}
assert set(keys) == {"rsa", "p256", "p384"}, objects
assert not any(key["exportable"] for key in keys.values()), keys
assert keys["p384"]["certificates"], keys
END
    # Both halves go.
    hwid delete "$all;object=rsa" --yes > "$T/out" 2>&1 || fail "$(cat "$T/out")"
    openssl storeutl -noout "$all;object=rsa" > "$T/out" 2>&1 || true
    expect_text "$T/out" 'no key or certificate matches'
}
conf() { # MODULE TOKEN [LINE...]
    HWID_CONF_MODULE=$1 make_conf "$T/openssl.cnf" default-first "${@:2}"
    export OPENSSL_CONF=$T/openssl.cnf
}

make_token line
client=$(module_named p11-kit-client.so)
proxy=$(module_named p11-kit-proxy.so)
softokn=$(module_named libsoftokn3.so)

# As root or not, the proxy reads what p11-kit is configured with: SoftHSM, on Debian.
conf "$proxy" line
if env -u LD_PRELOAD p11-kit list-modules 2> /dev/null | grep -q 'libsofthsm2'; then
    work line
else
    echo 'p11-kit is not configured with SoftHSM'
fi

make_token far
start_daemon "$T/server.log" "test -S $T/socket" env -u LD_PRELOAD \
    p11-kit server -f -n "$T/socket" --provider "$HWID_SOFTHSM_MODULE" pkcs11:
export P11_KIT_SERVER_ADDRESS=unix:path=$T/socket
conf "$client" far
work far without-ecdh # p11-kit 0.24 does not carry that mechanism

mkdir "$T/db"
env -u LD_PRELOAD certutil -N -d "sql:$T/db" -f "$T/pin"
conf "$softokn" 'NSS Certificate DB' \
    "dev.init-args = configdir='sql:$T/db' certPrefix='' keyPrefix='' secmod='secmod.db'"
work 'NSS Certificate DB'
# Without the arguments the error says what is missing. (Newer ones take a default.)
conf "$softokn" 'NSS Certificate DB'
if ! openssl storeutl -noout 'pkcs11:token=NSS%20Certificate%20DB' > "$T/out" 2>&1; then
    expect_text "$T/out" 'init-args'
fi
