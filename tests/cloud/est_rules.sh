#!/bin/bash
# The stand-in for an EST server keeps its rules: each is broken once with curl and openssl, or, where
# they cannot, with Python's own TLS.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
need python3 curl
start_est
URL=$EST_URL

http() { # STATUS OPERATION CURL-ARGUMENT...: the body is left in $T/body
    local wanted=$1 operation=$2 got
    shift 2
    got=$(env -u LD_PRELOAD curl -s --cacert "$EST/ca.pem" -D "$T/headers" -o "$T/body" \
        -w '%{http_code}' "$@" "$URL/$operation") || fail "curl: $*"
    [ "$got" = "$wanted" ] || fail "$operation $*: $got, not $wanted: $(head -c 300 "$T/body")"
}
request() { # NAME [OPENSSL-REQ-ARGUMENT...]: $T/NAME.b64 by $T/device.key
    local name=$1
    shift
    plain_openssl req -new -key "$T/device.key" -subj "/CN=device" "$@" -outform DER |
        base64 > "$T/$name.b64"
}
post() { # STATUS OPERATION NAME CURL-ARGUMENT...
    local status=$1 operation=$2 name=$3
    shift 3
    http "$status" "$operation" --data-binary "@$T/$name.b64" -H 'Content-Type: application/pkcs10' "$@"
}
says() { expect_text "$T/body" "$1"; }
DEVICE=(--user device:secret)
software_key "$T/device.key" ec:P-256
request good
has_ended() { ! plain_openssl x509 -in "$T/ended.pem" -noout -checkend 0 > /dev/null; }

# Section 4.1: cacerts is for everybody, and certs-only.
http 200 cacerts
expect_text "$T/headers" 'application/pkcs7-mime; smime-type=certs-only'
base64 -d "$T/body" | plain_openssl pkcs7 -inform DER -print_certs > "$T/cas"
grep -Eq 'CN ?= ?ca' "$T/cas" || fail "$(cat "$T/cas")"
http 405 cacerts --data x
http 404 nothing

# Sections 3.2.3 and 3.3.2: by password or by certificate.
post 401 simpleenroll good
expect_text "$T/headers" 'WWW-Authenticate: Basic'
post 401 simpleenroll good --user device:wrong
post 401 simpleenroll good --user nobody:secret
post 401 simpleenroll good -H 'Authorization: Bearer secret'
post 200 simpleenroll good "${DEVICE[@]}"
base64 -d "$T/body" | plain_openssl pkcs7 -inform DER -print_certs -out "$T/device.pem"
plain_openssl verify -CAfile "$EST/ca.pem" "$T/device.pem" > "$T/out" || fail "$(cat "$T/out")"
diff <(plain_openssl pkey -in "$T/device.key" -pubout) \
    <(plain_openssl x509 -in "$T/device.pem" -noout -pubkey)
post 200 simpleenroll good --cert "$T/born.pem" --key "$T/born.key"
if curl -s --cacert "$EST/ca.pem" --cert "$T/stranger.pem" --key "$T/stranger.key" \
    "$URL/cacerts" > /dev/null; then fail 'a stranger is let in'; fi

# Section 4.2.1: a PKCS#10 request in base64, signed by its key.
http 405 simpleenroll "${DEVICE[@]}"
http 415 simpleenroll "${DEVICE[@]}" --data-binary "@$T/good.b64" -H 'Content-Type: text/plain'
echo 'no base64 at all!' > "$T/bad.b64"
post 400 simpleenroll bad "${DEVICE[@]}"
(echo '-----BEGIN CERTIFICATE REQUEST-----' && cat "$T/good.b64") > "$T/armoured.b64"
post 400 simpleenroll armoured "${DEVICE[@]}"
base64 -d "$T/good.b64" > "$T/good.der"
python3 - "$T/good.der" << 'END' | base64 > "$T/forged.b64"
import sys
request = bytearray(open(sys.argv[1], "rb").read())
request[-1] ^= 1
sys.stdout.buffer.write(request)
END
post 400 simpleenroll forged "${DEVICE[@]}"
head -c 70000 /dev/zero | base64 > "$T/long.b64"
post 413 simpleenroll long "${DEVICE[@]}"

# Section 4.2.2: re-enrolment by the certificate itself, for the same subject and names.
CERT=(--cert "$T/device.pem" --key "$T/device.key")
post 403 simplereenroll good "${DEVICE[@]}"
post 403 simplereenroll good --cert "$T/born.pem" --key "$T/born.key"
request renamed -subj /CN=somebody
post 400 simplereenroll renamed "${CERT[@]}"
says 'same subject'
request shortened -subj /CN=devi
post 400 simplereenroll shortened "${CERT[@]}"
says 'same subject'
request named -addext 'subjectAltName=DNS:elsewhere'
post 400 simplereenroll named "${CERT[@]}"
says 'same alternative names'
post 200 simplereenroll good "${CERT[@]}"
echo '-7200 1' > "$EST/lifetime"
post 200 simpleenroll good "${DEVICE[@]}"
base64 -d "$T/body" | plain_openssl pkcs7 -inform DER -print_certs -out "$T/ended.pem"
rm "$EST/lifetime"
wait_for 10 has_ended || fail 'it does not end'
if curl -s --cacert "$EST/ca.pem" --cert "$T/ended.pem" --key "$T/device.key" \
    "$URL/cacerts" > /dev/null; then fail 'an ended certificate is taken'; fi
# The CA's own rule.
echo yes > "$EST/fixed"
post 400 simpleenroll good "${DEVICE[@]}"
says 'O=Example'
rm "$EST/fixed"

# Section 4.2.3: time to decide.
echo 'simpleenroll 202 120' > "$EST/faults"
post 202 simpleenroll good "${DEVICE[@]}"
expect_text "$T/headers" 'Retry-After: 120'
post 200 simpleenroll good "${DEVICE[@]}"

# Section 4.5: csrattrs, or none.
http 204 csrattrs
echo 'MAsGCSqGSIb3DQEJBw==' > "$EST/csrattrs"
http 200 csrattrs
expect_text "$T/headers" application/csrattrs

# Section 3.5: the request is tied to its TLS 1.2 connection.
touch "$EST/binding"
post 400 simpleenroll good "${DEVICE[@]}"
says 'no challenge password'
printf '[req]\ndistinguished_name = dn\nattributes = a\nprompt = no\n[dn]\nCN = device\n' > "$T/req.cnf"
printf '[a]\nchallengePassword = AAAAAAAAAAAAAAAA\n' >> "$T/req.cnf"
plain_openssl req -new -config "$T/req.cnf" -key "$T/device.key" -outform DER | base64 > "$T/tied.b64"
post 400 simpleenroll tied "${DEVICE[@]}" --tls-max 1.2
says 'that of another connection'
post 400 simpleenroll tied "${DEVICE[@]}"
says 'TLS 1.3 has no tls-unique'
cat > "$T/tie.py" << 'END'
import base64, http.client, ssl, subprocess, sys
port, ca, key, conf = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.maximum_version = ssl.TLSVersion.TLSv1_2
connection = http.client.HTTPSConnection("localhost", int(port), context=context)
connection.connect()
binding = base64.b64encode(connection.sock.get_channel_binding("tls-unique")).decode()
text = open(conf).read().replace("AAAAAAAAAAAAAAAA", binding)
open(conf + ".tied", "w").write(text)
request = subprocess.run(["openssl", "req", "-new", "-config", conf + ".tied", "-key", key,
                          "-outform", "DER"], check=True, capture_output=True).stdout
connection.request("POST", "/.well-known/est/simpleenroll", base64.b64encode(request), {
    "Content-Type": "application/pkcs10",
    "Authorization": "Basic " + base64.b64encode(b"device:secret").decode()})
print(connection.getresponse().status)
END
[ "$(env -u LD_PRELOAD OPENSSL_CONF="$T/plain.cnf" python3 "$T/tie.py" "$(cat "$EST/port")" "$EST/ca.pem" \
    "$T/device.key" "$T/req.cnf")" = 200 ] || fail 'a request that is tied is refused'
