#!/bin/bash
# hwid csr, on SoftHSM and on a TPM, as a person types it.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

request_text() { # FILE: verified by stock openssl; its text in $T/text
    plain_openssl req -in "$1" -noout -verify > "$T/text" 2>&1 || fail "$(cat "$T/text")"
    plain_openssl req -in "$1" -noout -text -nameopt RFC2253,-esc_msb,utf8 > "$T/text"
}
certificate_text() { # FILE: strictly verified by itself; its text in $T/text
    plain_openssl verify -x509_strict -CAfile "$1" "$1" > "$T/text" 2>&1 || fail "$(cat "$T/text")"
    plain_openssl x509 -in "$1" -noout -text > "$T/text"
}

keys_of_every_kind() { # KEY DIGEST [OPTION...]: a request to the standard output and to a file
    local key=$1 digest=$2
    shift 2
    rm -f "$T/a.csr"
    hwid csr "hwid:$key" --subject "/C=US/O=Example/CN=$key" "$@" > "$T/out.csr"
    request_text "$T/out.csr"
    expect_text "$T/text" "Subject: CN=$key,O=Example,C=US"
    grep -qi "Signature Algorithm: .*$digest\|Hash Algorithm: $digest" "$T/text" ||
        fail "no $digest: $(cat "$T/text")"
    if grep -q 'X509v3' "$T/text"; then fail "extensions that nobody asked for"; fi
    hwid csr "hwid://$key" --subject "CN=$key,O=Example,C=US" --san DNS:a.example,IP:192.0.2.7 \
        --san 'URI:urn:x:a,b,IP:2001:db8::1,email:a@b.example' --usage both --out "$T/a.csr" "$@" \
        > "$T/out"
    request_text "$T/a.csr"
    expect_text "$T/text" "Subject: CN=$key,O=Example,C=US"
    expect_text "$T/text" 'DNS:a.example, IP Address:192.0.2.7, URI:urn:x:a,b, IP Address:2001:DB8:0:0:0:0:0:1, email:a@b.example'
    expect_text "$T/text" 'TLS Web Server Authentication, TLS Web Client Authentication'
    expect_text "$T/out" 'Certificate request'
    expect_text "$T/out" "CN=$key,O=Example,C=US"
    expect_text "$T/out" "$T/a.csr"
    hwid csr "hwid:$key" --subject "/CN=$key" --self-signed --days 9 "$@" > "$T/self.pem"
    certificate_text "$T/self.pem"
    for text in 'Version: 3' 'CA:FALSE' 'X509v3 Key Usage: critical' \
        'X509v3 Subject Key Identifier' 'X509v3 Authority Key Identifier'; do
        expect_text "$T/text" "$text"
    done
    plain_openssl x509 -in "$T/self.pem" -noout -checkend $((8 * 86400)) > /dev/null
    if plain_openssl x509 -in "$T/self.pem" -noout -checkend $((10 * 86400)) > /dev/null; then
        fail 'good for longer than asked'
    fi
}

make_token line rsa:2048,label=rsa,id=01 ec:P-256,label=ec,id=02 ec:P-384,label=ec384,id=03
make_conf "$T/openssl.cnf" default-first line "keys.rsa=$(key_uri line rsa)" \
    "keys.ec=$(key_uri line ec)" "keys.ec384=$(key_uri line ec384)"
export OPENSSL_CONF=$T/openssl.cnf
keys_of_every_kind rsa sha256
keys_of_every_kind rsa sha512 --digest sha512 --pss
expect_text "$T/text" 'Salt Length: 0x40'
keys_of_every_kind ec sha256
keys_of_every_kind ec384 sha384
# Without our section in openssl.cnf the provider is the one beside the command.
: > "$T/empty.cnf"
OPENSSL_MODULES='' OPENSSL_CONF=$T/empty.cnf PKCS11_PROVIDER_MODULE=$HWID_SOFTHSM_MODULE \
    expect_exit 0 hwid csr "$(key_uri line rsa pin)" --subject /CN=x --out "$T/a.pem"
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
request_text "$T/a.pem"
# RSA key transport is for servers.
hwid csr hwid:rsa --subject /CN=x --usage client > "$T/a.pem"
request_text "$T/a.pem"
if grep -q 'Key Encipherment' "$T/text"; then fail 'key transport for a client'; fi
hwid csr hwid:rsa --subject /CN=x --usage server > "$T/a.pem"
request_text "$T/a.pem"
expect_text "$T/text" 'Digital Signature, Key Encipherment'

# By URI without configuration, by reference, with a PIN from elsewhere; software keys as well.
hwid csr "$(key_uri line ec)" --subject /CN=x > "$T/a.pem"
openssl pkey -in hwid:ec -out "$T/ec.ref"
hwid csr "$T/ec.ref" --subject /CN=x > "$T/a.pem"
request_text "$T/a.pem"
sed '/pin-source/d' "$T/openssl.cnf" > "$T/no-pin.cnf"
refused 1 'CKR_PIN_INCORRECT' hwid csr hwid:ec --subject /CN=x --openssl-conf "$T/no-pin.cnf" \
    --pin-source "file:$T/plain.cnf"
hwid csr hwid:ec --subject /CN=x --openssl-conf "$T/no-pin.cnf" --pin-source "file:$T/pin" > "$T/a.pem"
hwid csr "$T/ec.ref" --subject /CN=x --openssl-conf "$T/no-pin.cnf" --pin-source "file:$T/pin" \
    > "$T/a.pem"
request_text "$T/a.pem"
plain_openssl genpkey -algorithm ed25519 -aes256 -pass pass:1111 -out "$T/ed.key"
hwid csr "$T/ed.key" --subject /CN=x --pin-source "file:$T/pin" > "$T/a.pem"
request_text "$T/a.pem"

# A file of the working directory does not stand in a name's way.
(cd "$T" && plain_openssl genpkey -algorithm ed25519 -out hwid:ec && hwid csr hwid:ec --subject /CN=x > a.pem)
request_text "$T/a.pem"
expect_text "$T/text" 'id-ecPublicKey'

# JSON.
hwid csr hwid:ec --subject '/CN=ä' --san DNS:a --json > "$T/out"
[ "$(json 'd["subject"], d["alt_names"], d["key"], d["digest"]')" = \
    "('CN=ä', ['DNS:a'], 'EC P-256', 'SHA256')" ] || fail "$(cat "$T/out")"
json 'd["pem"]' > "$T/a.pem"
request_text "$T/a.pem"
rm -f "$T/a.pem"
hwid csr hwid:ec --subject '/CN=x' --json --out "$T/a.pem" > "$T/out"
[ "$(json 'd["file"], "pem" in d')" = "('$T/a.pem', False)" ] || fail "$(cat "$T/out")"

# Nothing is overwritten, and nothing is asked of the token before that is known.
refused 1 '--force' hwid csr hwid:ec --subject /CN=x --out "$T/a.pem" --openssl-conf "$T/no-pin.cnf"
hwid csr hwid:ec --subject '/CN=forced' --out "$T/a.pem" --force > "$T/out"
request_text "$T/a.pem"
expect_text "$T/text" CN=forced
ln -s "$T/elsewhere" "$T/link.pem"
refused 3 'symbolic link' hwid csr hwid:ec --subject /CN=x --out "$T/link.pem" --force
[ ! -e "$T/elsewhere" ] || fail 'written through a link'
refused 3 'No such file or directory' hwid csr hwid:ec --subject /CN=x --out "$T/nowhere/a.pem"
[ -z "$(find "$T" -name '.hwid-*')" ] || fail 'a temporary file is left'

# Subjects: what is good, and what is not.
subject_is() { # TYPED WANTED
    hwid csr hwid:ec --subject "$1" > "$T/a.pem" || fail "refused: $1"
    request_text "$T/a.pem"
    sed -n 's/^ *Subject: //p' "$T/text" > "$T/subject"
    [ "$(cat "$T/subject")" = "$2" ] || fail "$1 became $(cat "$T/subject")"
}
subject_is '/CN=a\/b\+c\\d' 'CN=a/b\+c\\d'
subject_is '/O=x+OU=y/CN=z' 'CN=z,OU=y+O=x'
subject_is 'CN=a\2Cb\,c\ , O = x\C3\A4' 'CN=a\,b\,c\ ,O=xä'
subject_is 'cn=z,o=x+ou=y' 'CN=z,OU=y+O=x'
subject_is '/2.5.4.3=oid' 'CN=oid'
subject_is "/CN=$(printf 'ä%.0s' {1..64})" "CN=$(printf 'ä%.0s' {1..64})"
refused 2 'part 1 (CN): 5000 characters, and X.520 allows 64' hwid csr hwid:ec \
    --subject "/CN=$(printf 'a%.0s' {1..5000})"
refused 2 'part 2 (C): 3 characters' hwid csr hwid:ec --subject '/CN=a/C=USA'
refused 2 'part 1 (C): ' hwid csr hwid:ec --subject '/C=ää'
refused 2 'part 2 ("b"): it has no "="' hwid csr hwid:ec --subject '/CN=a/b'
refused 2 'part 2 (FOO): no attribute type' hwid csr hwid:ec --subject '/CN=a/FOO=b'
refused 2 'part 1 (FOO): no attribute type' hwid csr hwid:ec --subject 'FOO=b,CN=a'
refused 2 'part 1 (CN): it has no value' hwid csr hwid:ec --subject '/CN='
refused 2 'part 1 (CN): control characters' hwid csr hwid:ec --subject $'/CN=a\e[2J'
refused 2 'part 1 (CN): control characters' hwid csr hwid:ec --subject $'/CN=a\xff'
refused 2 'part 1 (CN): control characters' hwid csr hwid:ec --subject 'CN=a\00'
refused 2 'escapes nothing' hwid csr hwid:ec --subject "/CN=a\\"
refused 2 'is written \;' hwid csr hwid:ec --subject 'CN=a;O=b'
for subject in '' / /=x = ',' CN /CN '//' '+' '/CN=a/' 'CN=a,' 'CN=#0401'; do
    refused 2 --subject hwid csr hwid:ec --subject "$subject"
done
# Alternative names.
for name in a DNS: 'DNS:a b' DNS:-a DNS:a..b DNS:ä 'DNS:*' DNS:a.*.b IP:1.2.3 IP:1.2.3.4/8 IP: \
    URI:x URI: 'URI:http://a b' email:a email:@b RID:1.2 $'DNS:a\n' "DNS:$(printf 'a%.0s' {1..64})" \
    '' 'DNS:a,' "DNS:$(printf 'a.%.0s' {1..200})a"; do
    refused 2 --san hwid csr hwid:ec --subject /CN=x --san "$name"
done
hwid csr hwid:ec --subject /CN=x --san 'DNS:*.example.com, DNS:b' > "$T/a.pem"
request_text "$T/a.pem"
expect_text "$T/text" 'DNS:*.example.com, DNS:b'

# Other mistakes.
refused 2 'subject' hwid csr hwid:ec
refused 2 '--usage' hwid csr hwid:ec --subject /CN=x --usage mail
refused 2 '--digest' hwid csr hwid:ec --subject /CN=x --digest nonsense
refused 2 '--digest' hwid csr hwid:ec --subject /CN=x --digest sha1
refused 2 '--pss' hwid csr hwid:ec --subject /CN=x --pss
refused 2 '--days' hwid csr hwid:ec --subject /CN=x --days 3
refused 2 '--days' hwid csr hwid:ec --subject /CN=x --self-signed --days 0
refused 1 'no-such' hwid csr 'pkcs11:token=line;object=no-such' --subject /CN=x
refused 1 'hwid:nothing: the name is not configured' hwid csr hwid:nothing --subject /CN=x
refused 2 'unknown attribute "nonsense"' hwid csr 'pkcs11:nonsense=1' --subject /CN=x
refused 2 '--pin-source: its value is empty' hwid csr hwid:ec --subject /CN=x --pin-source ''
refused 2 '--pin-source: file:PATH' hwid csr hwid:ec --subject /CN=x --pin-source 1234
refused 2 '--pin-source: file:PATH' hwid csr hwid:ec --subject /CN=x --pin-source '|cat pin'
# A mistyped scheme shows no PIN.
for command in 'csr --subject /CN=x' ref export 'export --public' list; do
    # shellcheck disable=SC2086  # words
    if hwid $command 'pkcs1:token=line;object=rsa?pin-value=9876' > "$T/out" 2> "$T/err"; then
        fail "$command takes pkcs1:"
    fi
    if grep -q 9876 "$T/err" "$T/out"; then fail "$command shows a PIN: $(cat "$T/err")"; fi
done
refused 3 "$T/no-file" hwid csr "$T/no-file" --subject /CN=x
refused 2 'which is needed' hwid csr "$T/ec.ref" --subject /CN=x --out "$T/../${T##*/}/ec.ref" --force
refused 1 "$T/plain.cnf: there is no private key" hwid csr "$T/plain.cnf" --subject /CN=x
hwid csr --help > "$T/out"
expect_text "$T/out" 'hwid csr hwid:device --subject'

# The same keys' work in a TPM.
if without_tpm; then exit 0; fi
HWID_WORLD=tpm
make_token chip rsa:2048,label=rsa ec:P-256,label=ec
make_conf "$T/openssl.cnf" default-first chip keys.rsa=tpm2:handle=0x81000002 \
    keys.ec=tpm2:handle=0x81000003
keys_of_every_kind rsa sha256
keys_of_every_kind rsa sha256 --pss
keys_of_every_kind ec sha256
hwid csr tpm2:handle=0x81000003 --subject /CN=x --pin-source "file:$T/pin" > "$T/a.pem"
request_text "$T/a.pem"
refused 1 '0x81000009' hwid csr tpm2:handle=0x81000009 --subject /CN=x

# RSA-PSS keys: of the TPM, and in software with a digest of its own.
sed 's/^backends/keygen = dev\n&/' "$T/openssl.cnf" > "$T/keygen.cnf"
OPENSSL_CONF=$T/keygen.cnf openssl genpkey -propquery provider=hwid -algorithm RSA-PSS \
    -out "$T/pss-sha256.pem" 2> "$T/err" || fail "$(cat "$T/err")"
plain_openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 \
    -pkeyopt rsa_pss_keygen_md:sha384 -pkeyopt rsa_pss_keygen_mgf1_md:sha384 \
    -pkeyopt rsa_pss_keygen_saltlen:48 -out "$T/pss-sha384.pem" 2> /dev/null
for digest in sha256 sha384; do
    hwid csr "$T/pss-$digest.pem" --subject /CN=x --usage server > "$T/a.pem"
    request_text "$T/a.pem"
    expect_text "$T/text" 'Signature Algorithm: rsassaPss'
    expect_text "$T/text" "Hash Algorithm: $digest"
    if grep -q 'Key Encipherment' "$T/text"; then fail 'key transport with a PSS key'; fi
done
refused 2 'SHA2-384 alone' hwid csr "$T/pss-sha384.pem" --subject /CN=x --digest sha256
