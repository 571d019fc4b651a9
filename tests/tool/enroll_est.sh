#!/bin/bash
# hwid enroll est, against a server that checks what RFC 7030 says: who is believed, who is let in,
# what is asked for, and what comes of it; a server that wants time, and one that wants more.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
need python3 curl

make_token line ec:P-256,label=device,id=01 rsa:2048,label=rsa,id=02
make_conf "$T/openssl.cnf" default-first line "state-dir = $T/state.d" \
    "audit = file:$T/audit.log" "keys.device=pkcs11:token=line;object=device" \
    "keys.rsa=pkcs11:token=line;object=rsa"
export OPENSSL_CONF=$T/openssl.cnf
start_est
make_device_conf 'key = hwid://device'
enroll() { # OPTION...: as device-7 with the password
    hwid enroll est --config "$T/device.conf" --subject /O=Example/CN=device-7 --user device \
        --password-source "file:$T/password" "$@"
}
by_fingerprint() { enroll --fingerprint "$FINGERPRINT" "$@"; }
forget() { rm -rf "$T/state.d" "$EST/faults"; }
nothing_said() { # to the server but cacerts, and nothing is kept
    [ "$(server_said 'enroll|csrattrs')" = 0 ] || fail "it was asked: $(cat "$EST/log")"
    [ ! -e "$CURRENT" ] || fail 'there are credentials'
}

# Whom to believe: nobody by default, and no first come.
refused 3 "$EST_URL/cacerts" enroll
expect_text "$T/err" 'ca-file'
nothing_said
refused 1 "it offers: CN=ca $FINGERPRINT" enroll --fingerprint "$(fingerprint "$EST/other.pem")"
refused 1 "is that of the server's own certificate" enroll --fingerprint "$(fingerprint "$EST/server.pem")"
expect_text "$T/err" "it offers: CN=ca $FINGERPRINT"
nothing_said
refused 3 "$EST_URL" enroll --ca-file "$EST/other.pem"
nothing_said
refused 2 'SHA-256' enroll --fingerprint 12:34
refused 2 'one of them' by_fingerprint --ca-file "$EST/ca.pem"
# The fingerprint is of a CA in cacerts that is not the server's: it is no proof.
cat "$EST/ca.pem" "$EST/other.pem" > "$EST/chain.pem"
refused 3 "$EST_URL" enroll --fingerprint "$(fingerprint "$EST/other.pem")"
nothing_said
rm "$EST/chain.pem"

# With the fingerprint.
expect_exit 0 by_fingerprint
expect_text "$T/out" 'new certificate in use'
expect_text "$T/out" 'CN=device-7,O=Example'
[ "$(current)" = gen-1 ] || fail "$(current)"
working_pair
[ "$(issued)" = 1 ] || fail "$(issued) were issued"
diff "$EST/ca.pem" "$CURRENT/est-ca.pem"
expect_text "$T/state.d/learned.conf" "cert = $CURRENT/cert.pem"
expect_text "$T/state.d/learned.conf" "key = $CURRENT/key.pem"
expect_text "$EST/log" 'simpleenroll 200 user=device client=-'
if grep -rqE 'secret|\b1111\b' "$T/state.d" "$T/audit.log" "$T/out" "$T/err"; then fail 'a secret is shown'; fi
hwid audit "$T/audit.log" --lines > "$T/lines"
expect_text "$T/lines" '"mechanism":"simpleenroll serial '
expect_text "$T/lines" '"mechanism":"switch to gen-1"'
# What it learned is what programs use: a connection with it.
curl -sf --cacert "$EST/ca.pem" --cert "$CURRENT/cert.pem" --key "$CURRENT/key.pem" \
    "$EST_URL/cacerts" > "$T/cacerts"
[ "$(server_said 'cacerts 200 user=- client=device-7')" -ge 1 ] || fail "$(cat "$EST/log")"

# Whatever the umask of who enrols: programs that run as somebody else connect with it.
forget
mask=$(umask)
umask 077
expect_exit 0 by_fingerprint
umask "$mask"
(cd "$T/state.d" && stat -L -c '%a %n' . device device/current device/current/*.pem learned.conf) > "$T/modes"
if grep -Ev '^(755 (.|device|device/current)|644 .*[.](pem|conf))$' "$T/modes"; then fail 'it is closed'; fi

# With the CA's file, as JSON; alternative names; an RSA key by another name.
forget
expect_exit 0 enroll --ca-file "$EST/ca.pem" --json --san DNS:device-7.example,IP:192.0.2.7
[ "$(json 'd["outcome"] + str(d["generation"]) + d["subject"]')" = \
    'new certificate in use1CN=device-7,O=Example' ] || fail "$(cat "$T/out")"
plain_openssl x509 -in "$CURRENT/cert.pem" -noout -ext subjectAltName > "$T/names"
expect_text "$T/names" 'DNS:device-7.example, IP Address:192.0.2.7'
forget
expect_exit 0 enroll --ca-file "$EST/ca.pem" hwid://rsa --name other
[ -e "$T/state.d/other/current/cert.pem" ] || fail 'no other'
# As ca-file of device.conf.
forget
make_device_conf 'key = hwid://device' "ca-file = $EST/ca.pem"
expect_exit 0 enroll
working_pair

# Who is let in: the manufacturer's certificate, which nobody else has.
forget
make_device_conf 'key = hwid://device' "claim-cert = $T/born.pem" "claim-key = $T/born.key"
forget
expect_exit 0 hwid enroll est --config "$T/device.conf" --subject /CN=device-8 \
    --fingerprint "$FINGERPRINT"
working_pair
[ "$(server_said 'simpleenroll 200 user=- client=born')" = 1 ] || fail "$(cat "$EST/log")"
forget
make_device_conf 'key = hwid://device' "claim-cert = $T/stranger.pem" "claim-key = $T/stranger.key"
refused 1 'the server does not know the CA' hwid enroll est --config "$T/device.conf" \
    --subject /CN=x --fingerprint "$FINGERPRINT"
make_device_conf 'key = hwid://device'
refused 1 '401 (who are you?); give --user and --password-source' hwid enroll est --config \
    "$T/device.conf" --subject /CN=x --fingerprint "$FINGERPRINT"
(umask 077 && echo wrong > "$T/wrong")
refused 1 '401' hwid enroll est --config "$T/device.conf" --subject /CN=x --user device \
    --password-source "file:$T/wrong" --fingerprint "$FINGERPRINT"
expect_text "$T/err" 'check --user, and the password'
[ ! -e "$CURRENT" ] || fail 'there are credentials'

# What is asked for: a CA with rules of its own.
forget
echo yes > "$EST/fixed"
refused 1 '400 (this CA issues to O=Example alone)' hwid enroll est --config "$T/device.conf" \
    --subject /O=Elsewhere/CN=x --user device --password-source "file:$T/password" \
    --fingerprint "$FINGERPRINT"
expect_exit 0 by_fingerprint
rm "$EST/fixed"
# A key of another kind than the server wants (RFC 7030's example of csrattrs, without the binding).
forget
python3 - > "$EST/csrattrs" << 'END'
import base64
curve = bytes.fromhex("06052b81040022")
item = bytes.fromhex("06072a8648ce3d0201") + b"\x31" + bytes([len(curve)]) + curve
print(base64.b64encode(b"\x30" + bytes([len(item) + 2]) + b"\x30" + bytes([len(item)]) + item).decode())
END
refused 1 'the server wants EC P-384 keys; this key is EC P-256' by_fingerprint
expect_text "$T/err" 'hwid generate --type'
# A digest that it wants: ecdsa-with-SHA384, 1.2.840.10045.4.3.3.
echo 'MAoGCCqGSM49BAMD' > "$EST/csrattrs"
expect_exit 0 by_fingerprint
[ "$(server_said 'csrattrs 200')" -ge 2 ] || fail "$(cat "$EST/log")"

# A request that is tied to its connection (section 3.5): TLS 1.2 alone can, on one connection.
forget
: > "$EST/log"
touch "$EST/binding"
refused 1 'no challenge password' by_fingerprint
echo 'MAsGCSqGSIb3DQEJBw==' > "$EST/csrattrs"
expect_exit 0 by_fingerprint
working_pair
[ "$(server_said 'simpleenroll 200 .*tls=TLSv1.2')" = 1 ] || fail "$(cat "$EST/log")"
forget
touch "$EST/closes"
refused 1 'did not keep open' by_fingerprint
rm "$EST"/{closes,csrattrs,binding}

# A CA that wants time: the same request again, when it is time.
forget
faults 'simpleenroll 202 7200' 'simpleenroll 202'
expect_exit 4 by_fingerprint
expect_text "$T/out" 'pending'
expect_text "$T/out" 'an operator looks at it'
grep -qE 'in (2 hours|1 hour)' "$T/out" || fail "$(cat "$T/out")"
hangs() { # STATE WORDS...: what `hwid status` says of an enrolment that has no certificate
    local word
    expect_exit 1 hwid status --config "$T/device.conf" --json
    [ "$(json "[c['state'] for c in d['checks'] if c['check'] == 'enrolment']")" = "['$1']" ] ||
        fail "$(cat "$T/out")"
    shift
    for word in "$@"; do expect_text "$T/out" "$word"; done
}
hangs warning 'was asked for, and has no certificate yet; the CA has not decided' 'next try'
[ ! -e "$CURRENT" ] || fail 'there are credentials'
cp "$T/state.d/device/gen-1/request.pem" "$T/first.pem"
expect_exit 4 by_fingerprint
diff "$T/first.pem" "$T/state.d/device/gen-1/request.pem"
expect_exit 4 hwid renew --config "$T/device.conf"
expect_text "$T/out" pending
expect_exit 0 by_fingerprint
working_pair
[ "$(current)" = gen-1 ] || fail "$(current)"
[ ! -e "$CURRENT/request.pem" ] || fail 'the request is still there'
# Another subject is another request.
forget
faults 'simpleenroll 202 60'
expect_exit 4 by_fingerprint
expect_exit 0 hwid enroll est --config "$T/device.conf" --subject /CN=device-9 --user device \
    --password-source "file:$T/password" --fingerprint "$FINGERPRINT"
expect_text "$T/out" 'CN=device-9'
# The timer goes on with it where the manufacturer's certificate opens the door.
forget
make_device_conf 'key = hwid://device' "claim-cert = $T/born.pem" "claim-key = $T/born.key"
faults 'simpleenroll 202 60'
expect_exit 4 hwid enroll est --config "$T/device.conf" --subject /CN=device-8 \
    --fingerprint "$FINGERPRINT"
# What fails is seen, though nothing is in use that could be renewed.
for try in 1 2 3; do
    faults 'simpleenroll 503'
    expect_exit 1 hwid renew --config "$T/device.conf" --now
    state=warning
    if [ $try = 3 ]; then state=critical; fi
    hangs $state "$try tries failed: " 'the server is busy' 'mend that, and run the enrolment'
done
expect_exit 0 hwid renew --config "$T/device.conf" --now
working_pair
expect_exit 0,1 hwid status --config "$T/device.conf"
if grep -q enrolment "$T/out"; then fail "$(cat "$T/out")"; fi

# Another key, and a key in software.
make_device_conf "ca-file = $EST/ca.pem"
expect_exit 0 enroll hwid://rsa
[ "$(current)" = gen-2 ] || fail "$(current)"
working_pair
software_key "$T/plain.key" ec:P-256
refused 1 'give a key in hardware' enroll "$T/plain.key"
[ "$(current)" = gen-2 ] || fail "$(current)"

# Usage.
forget
refused 2 "the key's URI is expected" enroll
printf 'state-dir = %s\n' "$T/state.d" > "$T/none.conf"
refused 2 'est-url' hwid enroll est hwid://device --config "$T/none.conf" --subject /CN=x
refused 2 '--config' hwid enroll est --subject /CN=x
refused 2 '--subject' hwid enroll est --config "$T/device.conf"
refused 2 'belong together' hwid enroll est hwid://device --config "$T/device.conf" --subject /CN=x --user a
refused 2 'no colon' hwid enroll est hwid://device --config "$T/device.conf" --subject /CN=x \
    --user a:b --password-source "file:$T/password"
refused 2 'est is expected' hwid enroll
for url in http://localhost/.well-known/est ftp://x https://localhost/somewhere; do
    sed "s,^est-url.*,est-url = $url," "$T/device.conf" > "$T/bad.conf"
    refused 2 'est-url' hwid enroll est hwid://device --config "$T/bad.conf" --subject /CN=x
done
sed 's/^est-url.*/renew-at = soon/' "$T/device.conf" > "$T/bad.conf"
refused 3 'a share of the lifetime (50%)' hwid renew --config "$T/bad.conf"

# In a TPM: a persistent key.
if without_tpm; then exit 0; fi
HWID_WORLD=tpm
make_token chip ec:P-256,label=ec
make_conf "$T/openssl.cnf" default-first chip "state-dir = $T/state.d" keys.device=tpm2:handle=0x81000002
make_device_conf 'key = hwid://device' "ca-file = $EST/ca.pem"
forget
expect_exit 0 enroll
working_pair
