# shellcheck shell=bash
# Sourced by the tests of attestation: TPMs as a maker delivers them, whose endorsement keys have
# certificates by the maker's CA: swtpm_setup with its local one.

make_maker() { # NAME: $T/NAME, with the certificates of root and intermediate CA in $T/NAME.certs
    need swtpm_setup swtpm_localca certtool
    local dir=$T/$1
    mkdir "$dir" "$dir.certs"
    printf '%s\n' "statedir = $dir" "signingkey = $dir/signkey.pem" \
        "issuercert = $dir/issuercert.pem" "certserial = $dir/certserial" > "$dir/localca.conf"
    printf '%s\n' '--platform-manufacturer hwid' '--platform-version 1' '--platform-model test' \
        > "$dir/localca.options"
    printf '%s\n' 'create_certs_tool = swtpm_localca' \
        "create_certs_tool_config = $dir/localca.conf" \
        "create_certs_tool_options = $dir/localca.options" > "$dir/setup.conf"
}
manufacture() { # MAKER: the state of a new TPM in $T/tpm, with EKs and certificates in it
    rm -rf "$T/tpm"
    mkdir "$T/tpm"
    env -u LD_PRELOAD -u OPENSSL_CONF swtpm_setup --tpm2 --tpm-state "dir://$T/tpm" \
        --create-ek-cert --overwrite --config "$T/$1/setup.conf" > "$T/setup.out" 2>&1 ||
        fail "swtpm_setup: $(cat "$T/setup.out")"
    cp "$T/$1"/*cert.pem "$T/$1.certs"
}
change() { # IN OUT PYTHON: a JSON file with a change (the document is d), for forgeries
    python3 - "$@" << 'END'
import base64, json, sys
def flip(text):
    data = bytearray(base64.b64decode(text))
    data[-1] ^= 1
    return base64.b64encode(bytes(data)).decode()
d = json.load(open(sys.argv[1]))
other = lambda path: json.load(open(path))
exec(sys.argv[3])
json.dump(d, open(sys.argv[2], "w"))
END
}
bytes_in() { # FILE PYTHON: base64 that stands there in a JSON file, as bytes
    python3 -c 'import base64, json, sys
sys.stdout.buffer.write(base64.b64decode(eval(sys.argv[2], {"d": json.load(open(sys.argv[1]))})))' \
        "$1" "$2"
}
checks() { # EXPECTED COMMAND...: `hwid verify-attestation` says no, for these checks alone
    local expected=$1
    shift
    expect_exit 1 "$@" --json
    [ "$(json '"; ".join(c["check"] for c in d["checks"] if not c["good"])')" = "$expected" ] ||
        fail "not \"$expected\": $(cat "$T/out")"
}
