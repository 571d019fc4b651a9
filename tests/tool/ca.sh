#!/bin/bash
# hwid ca: strict clients accept what it signs, and nobody what it revoked.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
PYTHON=/usr/bin/python3 # the system's: others may bring an OpenSSL of their own
need $PYTHON
CA=$T/ca

in_ca() { hwid ca "$1" --dir "$CA" "${@:2}"; }
text_of() { # FILE: of a certificate, in $T/text
    plain_openssl x509 -in "$1" -noout -text > "$T/text"
}
verify() { # FILE PURPOSE [OPTION...]: by stock openssl, strictly
    plain_openssl verify -x509_strict -purpose "$2" -CAfile "$CA/ca.pem" "${@:3}" "$1" \
        > "$T/out" 2>&1
}
request() { # NAME [OPTION...]: $T/NAME.csr and .key, by stock openssl
    [ -f "$T/$1.key" ] || software_key "$T/$1.key" ec:P-256
    plain_openssl req -new -key "$T/$1.key" -subj "/CN=$1" "${@:2}" -out "$T/$1.csr"
}

make_token line rsa:2048,label=rsa,id=01 ec:P-256,label=ec,id=02 ec:P-384,label=ca-key,id=03
make_conf "$T/openssl.cnf" default-first line "keys.rsa=$(key_uri line rsa)" \
    "keys.ec=$(key_uri line ec)" "keys.ca=$(key_uri line ca-key)"
export OPENSSL_CONF=$T/openssl.cnf

# --- init

hwid ca init --dir "$CA" --subject '/O=Example/CN=Development CA' --days 800 > "$T/out" 2> "$T/err"
expect_text "$T/out" 'CN=Development CA,O=Example'
expect_text "$T/err" 'this is for development'
[ "$(stat -c %a "$CA" "$CA/ca.key" "$CA/ca.pem" | xargs)" = '700 600 644' ] || fail 'modes'
text_of "$CA/ca.pem"
for text in 'Version: 3' 'X509v3 Basic Constraints: critical' 'CA:TRUE, pathlen:0' \
    'X509v3 Key Usage: critical' 'Certificate Sign, CRL Sign' 'X509v3 Subject Key Identifier'; do
    expect_text "$T/text" "$text"
done
plain_openssl verify -x509_strict -CAfile "$CA/ca.pem" "$CA/ca.pem" > /dev/null
cp "$CA/ca.key" "$T/before"
refused 1 'never replaced' in_ca init --subject /CN=x
cmp "$T/before" "$CA/ca.key"
refused 2 '--subject' in_ca init --subject "/CN=$(printf 'a%.0s' {1..5000})"
refused 3 'hwid ca init' hwid ca list --dir "$T/nowhere"
# Interrupted before ca.pem, and before ca.key: what is left is told, or as good as new.
hwid ca init --dir "$T/half" --subject /CN=half > "$T/out" 2>&1
rm "$T/half/ca.pem"
cp "$T/half/ca.key" "$T/before"
refused 1 "rm '$T/half/ca.key'" hwid ca init --dir "$T/half" --subject /CN=half
cmp "$T/before" "$T/half/ca.key"
rm "$T/half/ca.key"
expect_exit 0 hwid ca init --dir "$T/half" --subject /CN=half
rm "$T/half"/ca.*
echo V > "$T/half/index.txt"
refused 1 'index.txt' hwid ca init --dir "$T/half" --subject /CN=half
mkdir -m 777 "$T/open"
chmod 777 "$T/open"
refused 3 'others may write' hwid ca init --dir "$T/open" --subject /CN=x
mkdir -m 700 "$T/real"
ln -s "$T/real" "$T/link"
refused 3 'it is a symbolic link' hwid ca init --dir "$T/link" --subject /CN=x
if [ "$(id -u)" = 0 ]; then
    chown 65534 "$T/real"
    refused 3 'it belongs to user 65534' hwid ca init --dir "$T/real" --subject /CN=x
fi
[ -z "$(find "$T/real" "$T/open" -mindepth 1)" ] || fail "something was left"
hwid ca init --dir "$T/shared/by/all" --subject /CN=x > "$T/out" 2>&1
chmod 770 "$T/shared/by/all"
refused 3 'others may write' hwid ca list --dir "$T/shared/by/all"
refused 2 'ordinary key file' hwid ca init --dir "$T/ca2" --subject /CN=x --key "$CA/ca.key"
env -u XDG_DATA_HOME HOME="$T/home" "$HWID_TOOLS_DIR/hwid" ca init --subject /CN=home > /dev/null 2>&1
[ -f "$T/home/.local/share/hwid/ca/ca.pem" ] || fail 'not in the default directory'
XDG_DATA_HOME=$T/data hwid ca init --subject /CN=data > /dev/null 2>&1
XDG_DATA_HOME=$T/data hwid ca list > "$T/out"
expect_text "$T/out" "$T/data/hwid/ca"

# --- sign

for key in rsa ec; do
    hwid csr hwid:$key --subject "/O=Example/CN=device-$key" --san URI:urn:device:$key --out "$T/$key.csr" \
        > /dev/null
    in_ca sign "$T/$key.csr" --profile client --days 9 --out "$T/$key.pem" > "$T/out"
    expect_text "$T/out" "CN=device-$key,O=Example"
    verify "$T/$key.pem" sslclient || fail "$(cat "$T/out")"
    if verify "$T/$key.pem" sslserver; then fail 'a client is no server'; fi
    text_of "$T/$key.pem"
    for text in 'Version: 3' 'X509v3 Basic Constraints: critical' 'CA:FALSE' \
        'X509v3 Key Usage: critical' 'TLS Web Client Authentication' "URI:urn:device:$key" \
        'X509v3 Subject Key Identifier' 'X509v3 Authority Key Identifier'; do
        expect_text "$T/text" "$text"
    done
    if grep -q 'Key Encipherment' "$T/text"; then fail 'key transport for a client'; fi
    plain_openssl x509 -in "$T/$key.pem" -noout -checkend $((8 * 86400)) > /dev/null
    if plain_openssl x509 -in "$T/$key.pem" -noout -checkend $((10 * 86400)) > /dev/null; then
        fail 'good for longer than asked'
    fi
    serial=$(plain_openssl x509 -in "$T/$key.pem" -noout -serial)
    [[ $serial =~ ^serial=[4-7][0-9A-F]{31}$ ]] || fail "$serial"
    cmp "$T/$key.pem" "$CA/certs/${serial#serial=}.pem"
done
in_ca sign "$T/rsa.csr" --profile both --json 2> /dev/null > "$T/out"
[ "$(json 'd["usage"], d["alt_names"], d["issuer"]')" = \
    "('both', ['URI:urn:device:rsa'], 'CN=Development CA,O=Example')" ] || fail "$(cat "$T/out")"
json 'd["pem"]' > "$T/both.pem"
for purpose in sslclient sslserver; do
    verify "$T/both.pem" $purpose || fail "$(cat "$T/out")"
done
text_of "$T/both.pem"
expect_text "$T/text" 'Digital Signature, Key Encipherment'

# A server's, from a pipe, in DER; its end is not after the CA's.
request server
plain_openssl req -in "$T/server.csr" -outform DER |
    in_ca sign - --profile server --san DNS:localhost,IP:127.0.0.1 --days 1000 --out "$T/server.pem" \
        > "$T/out" 2> "$T/err"
expect_text "$T/err" 'ends with the CA'
[ "$(plain_openssl x509 -in "$T/server.pem" -noout -enddate)" = \
    "$(plain_openssl x509 -in "$CA/ca.pem" -noout -enddate)" ] || fail 'good for longer than the CA'
verify "$T/server.pem" sslserver -verify_hostname localhost || fail "$(cat "$T/out")"

# Of what a request asks for only alternative names are taken. (A CA it will not become.)
request pushy -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign \
    -addext extendedKeyUsage=codeSigning -addext subjectAltName=DNS:pushy.example \
    -addext 1.2.3.4=DER:0500
in_ca sign "$T/pushy.csr" --profile client > "$T/pushy.pem"
text_of "$T/pushy.pem"
expect_text "$T/text" 'DNS:pushy.example'
if grep -q 'CA:TRUE\|Certificate Sign\|Code Signing\|1\.2\.3\.4' "$T/text"; then
    fail "$(cat "$T/text")"
fi
in_ca sign "$T/pushy.csr" --profile client --san DNS:mine.example > "$T/pushy.pem"
text_of "$T/pushy.pem"
expect_text "$T/text" 'DNS:mine.example'
if grep -q pushy.example "$T/text"; then fail '--san did not replace'; fi
# Without a subject the alternative names are critical.
request nameless -subj / -addext subjectAltName=DNS:n.example
in_ca sign "$T/nameless.csr" --profile server > "$T/nameless.pem"
verify "$T/nameless.pem" sslserver || fail "$(cat "$T/out")"
text_of "$T/nameless.pem"
expect_text "$T/text" 'X509v3 Subject Alternative Name: critical'

# Requests that are not signed, and leave nothing in the index.
cp "$CA/index.txt" "$T/before"
request plain
refused 1 'alternative names' in_ca sign "$T/plain.csr" --profile server
plain_openssl req -in "$T/plain.csr" -outform DER -out "$T/bad.der"
printf '\x01' | dd of="$T/bad.der" bs=1 seek=$(($(stat -c %s "$T/bad.der") - 3)) conv=notrunc status=none
refused 1 'its signature is not good' in_ca sign "$T/bad.der" --profile client
request odd -addext 'subjectAltName=otherName:1.2.3.4;UTF8:x'
refused 1 'only DNS, IP, URI and email' in_ca sign "$T/odd.csr" --profile client
request odd -addext 'subjectAltName=DNS:a b'
refused 1 'name 1:' in_ca sign "$T/odd.csr" --profile client
request odd -subj "/CN=$(printf 'a\033%.0s' {1..9})"
refused 1 'part 1 (CN): control characters' in_ca sign "$T/odd.csr" --profile client
request odd -subj '/O=Example/CN=Development CA'
refused 1 "the CA's own name" in_ca sign "$T/odd.csr" --profile client
# Stock openssl makes no name that is too long: this puts another one into its request.
cat > "$T/rename.py" << 'END'
import sys
def tlv(tag, body):
    size = len(body).to_bytes(3, "big").lstrip(b"\0") or b"\0"
    return bytes([tag]) + (size if len(body) < 128 else bytes([128 + len(size)]) + size) + body
def parts(der):
    found = []
    while der:
        size, head = der[1], 2
        if size > 128:
            head += size - 128
            size = int.from_bytes(der[2:head], "big")
        found.append(der[: head + size])
        der = der[head + size :]
    return found, head
def inside(der): return der[parts(der)[1] :]
info, *rest = parts(inside(sys.stdin.buffer.read()))[0]
version, name, *others = parts(inside(info))[0]
name = tlv(0x30, tlv(0x31, tlv(0x30, b"\6\3\x55\4\3" + tlv(12, b"a" * 5000))))
sys.stdout.buffer.write(tlv(0x30, tlv(0x30, b"".join([version, name, *others])) + b"".join(rest)))
END
plain_openssl req -in "$T/plain.csr" -outform DER | $PYTHON "$T/rename.py" > "$T/long.der"
refused 1 'part 1 (CN): 5000 characters' in_ca sign "$T/long.der" --profile client
plain_openssl genrsa -out "$T/weak.key" 1024 2> /dev/null
request weak
refused 1 'less than 2048 bits' in_ca sign "$T/weak.csr" --profile client
plain_openssl ecparam -name secp256k1 -genkey -noout -out "$T/curve.key"
request curve
refused 1 'secp256k1' in_ca sign "$T/curve.csr" --profile client
plain_openssl req -new -key "$CA/ca.key" -subj /CN=x -out "$T/odd.csr"
refused 1 "the CA's own key" in_ca sign "$T/odd.csr" --profile client
refused 3 'no certificate request' in_ca sign "$CA/ca.pem" --profile client
refused 3 "$T/none.csr" in_ca sign "$T/none.csr" --profile client
refused 2 'profile' in_ca sign "$T/plain.csr"
refused 2 '--profile' in_ca sign "$T/plain.csr" --profile mail
refused 2 '--days' in_ca sign "$T/plain.csr" --profile client --days 0
refused 1 '--force' in_ca sign "$T/plain.csr" --profile client --out "$T/ec.pem"
refused 2 'which is needed' in_ca sign "$T/plain.csr" --profile client --out "$CA/ca.pem" --force
refused 2 'which is needed' in_ca sign "$T/plain.csr" --profile client --out "$T/plain.csr" --force
refused 2 'which is needed' in_ca crl --out "$CA/ca.key" --force
refused 2 'one of init, sign' hwid ca
cmp "$T/before" "$CA/index.txt"

# Several at once: each is in the index.
known=$(wc -l < "$CA/index.txt")
pids=()
for n in 1 2 3 4 5 6; do
    in_ca sign "$T/plain.csr" --profile client > "$T/parallel-$n.pem" 2> /dev/null &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
[ "$(wc -l < "$CA/index.txt")" = $((known + 6)) ] || fail "$(cat "$CA/index.txt")"
[ "$(cut -f4 "$CA/index.txt" | sort -u | wc -l)" = $((known + 6)) ] || fail 'a serial number twice'

# --- TLS, mutual and strict

cat > "$T/tls.py" << 'END'
import socket, ssl, sys
ca, certificate, key, port = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN  # as Python 3.13
context.load_cert_chain(certificate, key)
with socket.create_connection(("127.0.0.1", int(port)), 20) as plain:
    with context.wrap_socket(plain, server_hostname="localhost") as stream:
        stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while data := stream.recv(65536):
            sys.stdout.buffer.write(data)
END
tls_server() { # OPTION...: sets PORT
    PORT=$(free_port)
    start_daemon "$T/server.log" "port_answers $PORT" env OPENSSL_CONF="$T/plain.cnf" \
        openssl s_server -accept "127.0.0.1:$PORT" -www -cert "$T/server.pem" -x509_strict \
        -key "$T/server.key" -CAfile "$CA/ca.pem" -Verify 1 -verify_return_error "$@"
}
tls_client() { # KEY: the page, in $T/out
    timeout 20 openssl s_client -connect "127.0.0.1:$PORT" -ign_eof -CAfile "$CA/ca.pem" \
        -x509_strict -verify_return_error -verify_hostname localhost -cert "$T/$1.pem" \
        -key "hwid:$1" <<< $'GET / HTTP/1.0\r\n\r\n' > "$T/out" 2>&1 || true
}
tls_server
for key in rsa ec; do
    tls_client $key
    grep -Eq "Subject: .*CN ?= ?device-$key" "$T/out" || fail "$(cat "$T/out")"
    openssl pkey -in hwid:$key -out "$T/$key.ref"
    $PYTHON "$T/tls.py" "$CA/ca.pem" "$T/$key.pem" "$T/$key.ref" "$PORT" > "$T/out"
    grep -Eq "Subject: .*CN ?= ?device-$key" "$T/out" || fail "$(cat "$T/out")"
done
stop_daemon "$DAEMON_PID"

# --- revoke, crl, list

crl_text() { plain_openssl crl -in "$1" -noout -text -CAfile "$CA/ca.pem" > "$T/text" 2>&1; }
in_ca crl > "$T/crl.pem"
crl_text "$T/crl.pem"
for text in 'Version 2' 'No Revoked Certificates' 'X509v3 Authority Key Identifier' 'verify OK'; do
    expect_text "$T/text" "$text"
done
[ "$(plain_openssl crl -in "$CA/crl.pem" -noout -crlnumber)" = crlNumber=0x01 ] || fail 'number'
serial=$(plain_openssl x509 -in "$T/ec.pem" -noout -serial)
serial=${serial#serial=}
in_ca revoke "$T/ec.pem" --reason keyCompromise > "$T/out" 2> "$T/err"
expect_text "$T/out" "$serial"
expect_text "$T/err" 'hwid ca crl'
refused 1 'revoked already' in_ca revoke "0x${serial,,}"
in_ca revoke "$(sed 's/../&:/g; s/:$//' <<< "$(plain_openssl x509 -in "$T/both.pem" -noout -serial |
    cut -d= -f2)")" --json > "$T/out"
[ "$(json 'd["reason"] == "" and d["revoked_at"].endswith("Z")')" = True ] || fail "$(cat "$T/out")"
rm -f "$T/crl.pem"
in_ca crl --days 3 --out "$T/crl.pem" > "$T/out"
expect_text "$T/out" 'revoked       2'
crl_text "$T/crl.pem"
expect_text "$T/text" 'verify OK'
expect_text "$T/text" "Serial Number: $serial"
expect_text "$T/text" 'Key Compromise'
[ "$(plain_openssl crl -in "$CA/crl.pem" -noout -crlnumber)" = crlNumber=0x02 ] || fail 'number'
cmp "$T/crl.pem" "$CA/crl.pem"
verify "$T/rsa.pem" sslclient -crl_check -CRLfile "$T/crl.pem" || fail "$(cat "$T/out")"
if verify "$T/ec.pem" sslclient -crl_check -CRLfile "$T/crl.pem"; then fail 'not revoked'; fi
expect_text "$T/out" 'certificate revoked'
tls_server -crl_check -CRL "$T/crl.pem"
tls_client ec
if grep -q 'CN ?= ?device' "$T/out"; then fail 'a revoked client was let in'; fi
tls_client rsa
grep -Eq "Subject: .*CN ?= ?device-rsa" "$T/out" || fail "$(cat "$T/out")"
stop_daemon "$DAEMON_PID"
# The index is one for OpenSSL's own OCSP responder.
plain_openssl ocsp -index "$CA/index.txt" -CA "$CA/ca.pem" -rsigner "$CA/ca.pem" \
    -rkey "$CA/ca.key" -issuer "$CA/ca.pem" -cert "$T/ec.pem" -cert "$T/rsa.pem" \
    -reqout "$T/ocsp.req" -no_nonce > /dev/null 2>&1
plain_openssl ocsp -index "$CA/index.txt" -CA "$CA/ca.pem" -rsigner "$CA/ca.pem" \
    -rkey "$CA/ca.key" -reqin "$T/ocsp.req" -respout "$T/ocsp.resp" > "$T/out" 2>&1
plain_openssl ocsp -respin "$T/ocsp.resp" -CAfile "$CA/ca.pem" -issuer "$CA/ca.pem" \
    -cert "$T/ec.pem" -cert "$T/rsa.pem" > "$T/out" 2>&1
expect_text "$T/out" 'ec.pem: revoked'
expect_text "$T/out" 'rsa.pem: good'

in_ca list > "$T/out"
expect_text "$T/out" "$serial  revoked"
expect_text "$T/out" 'keyCompromise'
expect_text "$T/out" 'valid'
expect_text "$T/out" 'CN=device-ec'
in_ca list --json > "$T/out"
[ "$(json 'sorted(set(c["state"] for c in d["certificates"])), [c["reason"] for c in d["certificates"] if c["serial"] == "'"$serial"'"]')" = \
    "(['revoked', 'valid'], ['keyCompromise'])" ] || fail "$(cat "$T/out")"
# That needs no provider, so it works without one, too.
OPENSSL_CONF=$T/plain.cnf OPENSSL_MODULES=$T in_ca list > "$T/list"
cmp "$T/list" <(in_ca list)
# After its end, by the clock.
need faketime
later() { env -u LD_PRELOAD faketime -f +801d "$HWID_TOOLS_DIR/hwid" ca "$1" --dir "$CA" "${@:2}"; }
refused 1 'the CA ended at' later sign "$T/ec.csr" --profile client --out "$T/late.pem"
[ ! -e "$T/late.pem" ] || fail 'signed by a CA that is over'
later list > "$T/out"
expect_text "$T/out" 'expired'
if grep -q ' valid' "$T/out"; then fail "$(cat "$T/out")"; fi
refused 2 'neither a file nor a serial' in_ca revoke nonsense
refused 1 'not issued by the CA' in_ca revoke 1234
refused 2 '--reason' in_ca revoke "$T/rsa.pem" --reason because
refused 1 'did not issue it' hwid ca revoke "$T/rsa.pem" --dir "$T/data/hwid/ca"

# What is damaged is said, and not written over.
cp "$CA/index.txt" "$T/index"
for line in 'V' $'V\t261128223105Z\t\t12\tunknown' $'X\t261128223105Z\t\t12\tunknown\t/CN=x' \
    $'R\t261128223105Z\t\t12\tunknown\t/CN=x' $'V\tnever\t\t12\tunknown\t/CN=x' \
    $'V\t261128223105Z\t\t1g\tunknown\t/CN=x' $'R\t261128223105Z\t261128223105Z,x\t12\tunknown\t/CN=x'; do
    { cat "$T/index" && echo "$line"; } > "$CA/index.txt"
    refused 3 'is damaged' in_ca sign "$T/plain.csr" --profile client
done
cp "$T/index" "$CA/index.txt"
echo nonsense > "$CA/crlnumber"
refused 3 'no hexadecimal number' in_ca crl
echo 03 > "$CA/crlnumber"
cp "$CA/ca.key" "$T/ca.key"
cp "$T/plain.key" "$CA/ca.key"
refused 3 'another key' in_ca sign "$T/plain.csr" --profile client
cp "$T/ca.key" "$CA/ca.key"
in_ca sign "$T/plain.csr" --profile client > /dev/null

# --- a CA whose key is in a token

CA=$T/token-ca
hwid ca init --dir "$CA" --subject 'CN=Token CA,O=Example' --key hwid:ca --json > "$T/out"
[ "$(json 'd["key"], d["key_in_hardware"], d["subject"]')" = \
    "('EC P-384', True, 'CN=Token CA,O=Example')" ] || fail "$(cat "$T/out")"
expect_text "$CA/ca.key" 'BEGIN HWID KEY REFERENCE'
in_ca sign "$T/ec.csr" --profile both --out "$T/by-token.pem" > /dev/null
verify "$T/by-token.pem" sslclient || fail "$(cat "$T/out")"
text_of "$T/by-token.pem"
expect_text "$T/text" 'ecdsa-with-SHA384'
in_ca revoke "$T/by-token.pem" > /dev/null 2>&1
in_ca crl > "$T/crl.pem"
crl_text "$T/crl.pem"
expect_text "$T/text" 'verify OK'
sed '/pin-source/d' "$T/openssl.cnf" > "$T/no-pin.cnf"
OPENSSL_CONF=$T/no-pin.cnf in_ca sign "$T/rsa.csr" --profile client --pin-source "file:$T/pin" \
    > "$T/by-token.pem"
verify "$T/by-token.pem" sslclient || fail "$(cat "$T/out")"

# --- and in a TPM

if without_tpm; then exit 0; fi
HWID_WORLD=tpm
make_token chip rsa:2048,label=rsa ec:P-256,label=ec
make_conf "$T/openssl.cnf" default-first chip
CA=$T/chip-ca
hwid ca init --dir "$CA" --subject CN=Chip --key tpm2:handle=0x81000002 > "$T/out"
request device
in_ca sign "$T/device.csr" --profile client > "$T/device.pem"
verify "$T/device.pem" sslclient || fail "$(cat "$T/out")"
