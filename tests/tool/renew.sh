#!/bin/bash
# hwid renew and hwid re-enroll est: when, with which key, what the endpoint thinks of the new
# certificate, what happens after failures, and what is left of the old.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
need python3

HALF='-3600 32400'  # seconds: a tenth of its life is over
MOST='-32400 3600'  # nine tenths
ENDED='-7200 2'

start_est_device
renew() { hwid renew --config "$T/device.conf" "$@"; }
enroll() { # LIFETIME: anew
    rm -rf "$T/state.d" "$EST/faults"
    echo "$1" > "$EST/lifetime"
    expect_exit 0 hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-7 \
        --san DNS:device-7.example --user device --password-source "file:$T/password"
}
keys_on_token() { hwid list 'pkcs11:token=line' | grep -c '^key ' || true; }
is() { # EXPRESSION WANTED: of the JSON answer
    [ "$(json "$1")" = "$2" ] || fail "$1 is $(json "$1"), not $2: $(cat "$T/out")"
}

status() { # STATE WORDS...: what `hwid status` says of the renewal
    expect_exit 0,1 hwid status --config "$T/device.conf" --json --prometheus "$T/metrics.prom"
    json '[c for c in d["checks"] if c["check"] == "renewal"]' > "$T/rows"
    expect_text "$T/rows" "'state': '$1'"
    shift
    for words in "$@"; do expect_text "$T/rows" "$words"; done
    expect_text "$T/metrics.prom" 'hwid_renewal_due_timestamp_seconds{name="device"} '
}

refused 2 'enrol first: hwid enroll est' renew
rm -rf "$T/state.d"
refused 2 'enrol first: hwid enroll est' renew --dry-run
[ ! -e "$T/state.d" ] || fail "written: $(find "$T/state.d")"
refused 2 '--config' hwid renew

# Before it is time: nothing, whichever policy. The provider finds the key by its name.
enroll "$HALF"
expect_exit 0 renew
expect_text "$T/out" 'not due'
[ "$(issued)" = 1 ] || fail "$(issued) were issued"
openssl pkey -in hwid://device -pubout > "$T/by-name.pub"
diff "$T/by-name.pub" <(plain_openssl x509 -in "$CURRENT/cert.pem" -noout -pubkey)
expect_exit 0 renew --dry-run --json
is 'd["outcome"]' 'not due'
is 'd["generation"]' 1
[ "$(json 'd["renewal_due"] < d["ends"]')" = True ] || fail "$(cat "$T/out")"
status ok "'subject': 'device'" 'gen-1; renewal due'
make_device_conf "ca-file = $EST/ca.pem" 'renew-at = 7h'
expect_exit 0 renew --json
is 'd["outcome"]' 'not due'

# When it is: the same subject and names, the same key, by the certificate that is in use.
make_device_conf "ca-file = $EST/ca.pem"
enroll "$MOST"
echo "$HALF" > "$EST/lifetime"
cp "$CURRENT/cert.pem" "$T/old.pem"
before=$(issued)
# Only looked at, whatever a run before has left; and whoever works there is not in the way.
tree() { find "$T/state.d" -printf '%p %y %m %i %l %s %T@ %C@\n' | sort; }
mkdir "$T/state.d/device/.new-gen-2"
rm "$T/state.d/learned.conf"
exec 9< "$T/state.d/device"
flock -n 9
tree > "$T/before"
expect_exit 0 renew --dry-run --json
exec 9<&-
is 'd["outcome"]' due
diff "$T/before" <(tree) || fail 'a dry run has written'
[ "$(issued)" = "$before" ] || fail "$(issued) were issued"
expect_exit 0 renew --json
is 'd["outcome"]' 'new certificate in use'
is 'd["generation"]' 2
[ "$(current)" = gen-2 ] || fail "$(current)"
working_pair
for fact in subject pubkey 'ext subjectAltName'; do
    # shellcheck disable=SC2086  # words
    diff <(plain_openssl x509 -in "$T/old.pem" -noout -$fact) \
        <(plain_openssl x509 -in "$CURRENT/cert.pem" -noout -$fact) || fail "another $fact"
done
[ "$(server_said 'simplereenroll 200 user=- client=device-7')" = 1 ] || fail "$(cat "$EST/log")"
expect_exit 0 renew
expect_text "$T/out" 'not due'
# Old generations stay for a week, or for as long as is said.
[ -d "$T/state.d/device/gen-1" ] || fail 'gen-1 is gone'
expect_exit 0 renew --keep-old 0s --json
is 'd["removed"]' "['gen-1']"
[ ! -e "$T/state.d/device/gen-1" ] || fail 'gen-1 is there'
[ "$(keys_on_token)" = 1 ] || fail 'the key went with it'

# A new key beside the old one; the one that the user made is never destroyed.
expect_exit 0 hwid re-enroll est --config "$T/device.conf" --new-key
[ "$(current)" = gen-3 ] || fail "$(current)"
working_pair
hwid list pkcs11:token=line > "$T/list"
expect_text "$T/list" device-g3
expect_exit 0 renew --keep-old 0s
[ "$(keys_on_token)" = 2 ] || fail "$(cat "$T/list")"
expect_exit 0 hwid re-enroll est --config "$T/device.conf" --new-key
expect_exit 0 renew --keep-old 0s --json
is 'd["removed"]' "['pkcs11:token=line;object=device-g3;type=private', 'gen-3']"
hwid list pkcs11:token=line > "$T/list"
[ "$(keys_on_token)" = 2 ] || fail "$(cat "$T/list")"
expect_text "$T/list" device-g4
if grep -q device-g3 "$T/list"; then fail 'device-g3 is there'; fi
working_pair
grep -q secret -r "$T/state.d" && fail 'a secret is kept'

# A key that a renewal made goes on with the generations that others begin with it.
enroll_again() { # NAME OF THE DEVICE: with the key that is in use
    expect_exit 0 hwid enroll est --config "$T/device.conf" --subject "/CN=$1" --user device \
        --password-source "file:$T/password"
}
enroll_again device-8
[ "$(current)" = gen-5 ] || fail "$(current)"
expect_exit 0 renew --keep-old 0s --json
is 'd["removed"]' "['gen-4']"
working_pair
expect_exit 0 hwid re-enroll est --config "$T/device.conf" --new-key
expect_exit 0 renew --keep-old 0s --json
is 'd["removed"]' "['pkcs11:token=line;object=device-g4;type=private', 'gen-5']"
[ "$(keys_on_token)" = 2 ] || fail 'it was not destroyed in the end'
working_pair

# A certificate that cannot be read is no certificate that is missing.
cp "$CURRENT/cert.pem" "$T/kept.pem"
echo nonsense > "$CURRENT/cert.pem"
refused 3 'cert.pem: it holds no certificate' renew --now
rm "$CURRENT/cert.pem"
expect_exit 1 renew --now
expect_text "$T/out" 'there is no cert.pem'
cp "$T/kept.pem" "$CURRENT/cert.pem"
working_pair

# What an enrolment tells the next program: a hook, until it succeeds.
cat > "$T/hook" << END
#!/bin/sh
echo "\$HWID_NAME \$HWID_GENERATION \$HWID_CERT \$HWID_KEY" >> $T/hooked
if [ -e $T/hook-fails ]; then echo 'the agent does not answer'; exit 7; fi
END
chmod +x "$T/hook"
touch "$T/hook-fails"
expect_exit 1 hwid re-enroll est --config "$T/device.conf" --hook "$T/hook"
expect_text "$T/out" 'exit code 7 (the agent does not answer)'
[ "$(current)" = gen-7 ] || fail "$(current)"
rm "$T/hook-fails"
expect_exit 0 renew --hook "$T/hook"
expect_exit 0 renew --hook "$T/hook"
[ "$(wc -l < "$T/hooked")" = 2 ] || fail "$(cat "$T/hooked")"
expect_text "$T/hooked" "device 7 $CURRENT/cert.pem $CURRENT/key.pem"
refused 2 'no-such' renew --hook "$T/no-such"
(cd "$T" && refused 2 'by its absolute path' renew --hook hook)
# One that was not run yet is not forgotten by a run without it, and the old pair stays for it.
expect_exit 0 hwid re-enroll est --config "$T/device.conf"
touch "$T/hook-fails"
expect_exit 1 renew --keep-old 0s --hook "$T/hook"
[ -d "$T/state.d/device/gen-7" ] || fail 'gen-7 is gone'
rm "$T/hook-fails"
expect_exit 0 renew --hook "$T/hook"
expect_text "$T/hooked" "device 8 "
[ "$(wc -l < "$T/hooked")" = 4 ] || fail "$(cat "$T/hooked")"

# What cannot be removed is in the way of nothing.
edit_state() { # PYTHON STATEMENT: of d
    python3 - "$T/state.d/device/renewal.json" "$1" << 'END'
import json, sys
d = json.load(open(sys.argv[1]))
exec(sys.argv[2])
json.dump(d, open(sys.argv[1], "w"))
END
}
edit_state 'd["made_keys"]["6"] = "nonsense:key"'
expect_exit 0 renew --keep-old 0s --json
is 'd["outcome"]' 'not due'
is '"nonsense:key" in d["clean_up_failed"]' True
expect_exit 0 hwid re-enroll est --config "$T/device.conf"
[ "$(current)" = gen-9 ] || fail "$(current)"
working_pair
# Nor of a new key, whose first name somebody else's may have.
edit_state 'd["made_keys"]["10"] = "nonsense:key"'
expect_exit 0 hwid generate 'pkcs11:token=line;object=device-g10' --type ec:P-256
expect_exit 0 hwid re-enroll est --config "$T/device.conf" --new-key
[ "$(current)" = gen-10 ] || fail "$(current)"
json 'd["made_keys"]' "$T/state.d/device/renewal.json" > "$T/made"
expect_text "$T/made" 'object=device-g11;'
expect_text "$T/made" 'nonsense:key'
working_pair
expect_exit 0 hwid delete 'pkcs11:token=line;object=device-g10' --yes

# A new key is made though a try with the old one was begun.
faults 'simplereenroll 403'
expect_exit 1 renew --now
[ -d "$T/state.d/device/gen-11" ] || fail 'it was not begun'
cp "$CURRENT/cert.pem" "$T/old.pem"
expect_exit 0 renew --now --new-key
working_pair
if diff <(plain_openssl x509 -in "$T/old.pem" -noout -pubkey) "$T/pair.pub" > /dev/null; then
    fail 'the key is the old one'
fi

# The endpoint decides whether the new certificate is used: here, one that knows another CA.
broker() { # CA [LINE...]: at $BROKER, one that takes its clients
    if [ -n "${BROKER_PID:-}" ]; then stop_daemon "$BROKER_PID"; fi
    printf '%s\n' "listener $BROKER 127.0.0.1" "certfile $EST/server.pem" \
        "keyfile $EST/server.key" "cafile $EST/$1.pem" 'require_certificate true' \
        'persistence false' 'allow_anonymous true' "${@:2}" > "$T/mosquitto.conf"
    if [ "$(id -u)" = 0 ]; then echo 'user root' >> "$T/mosquitto.conf"; fi
    start_daemon "$T/broker.out" "port_answers $BROKER" env -u LD_PRELOAD -u OPENSSL_CONF \
        mosquitto -v -c "$T/mosquitto.conf"
    BROKER_PID=$DAEMON_PID
}
PATH=$PATH:/usr/sbin
need mosquitto
BROKER=$(free_port)
make_device_conf "ca-file = $EST/ca.pem" "endpoint = mqtts://localhost:$BROKER"
enroll "$MOST"
echo "$HALF" > "$EST/lifetime"
before=$(issued)
broker other
expect_exit 1 renew --json
is 'd["outcome"]' failed
is 'd["generation"]' 1
expect_text "$T/out" 'the old pair stays in use'
[ "$(current)" = gen-1 ] || fail "$(current)"
working_pair
# The same certificate is tried again, and none is asked for.
expect_exit 1 renew
expect_text "$T/out" waiting
expect_exit 1 renew --now
[ "$(issued)" = $((before + 1)) ] || fail "$(issued) were issued"
stop_daemon "$BROKER_PID"
BROKER_PID=
expect_exit 1 renew --now
expect_text "$T/out" "localhost:$BROKER"
broker ca
expect_exit 0 renew --now
[ "$(current)" = gen-2 ] || fail "$(current)"
[ "$(issued)" = $((before + 1)) ] || fail "$(issued) were issued"
working_pair

# A broker that takes nobody by this client id, with whatever certificate, is no reason to keep the old.
enroll "$MOST"
echo "$HALF" > "$EST/lifetime"
: > "$T/nobody"
broker ca 'allow_anonymous false' "password_file $T/nobody"
expect_exit 0 renew --now
[ "$(current)" = gen-2 ] || fail "$(current)"
grep -c CONNACK "$T/broker.out" > "$T/asked"
[ "$(cat "$T/asked")" = 2 ] || fail "asked $(cat "$T/asked") times: $(cat "$T/broker.out")"

# One that closes instead of an answer (a balancer, and its broker is down) proves nothing where it does
# so to both pairs, and says no where the old one gets in.
enroll "$MOST"
echo "$HALF" > "$EST/lifetime"
before=$(issued)
stop_daemon "$BROKER_PID"
cat > "$T/closer.py" << 'END'
import socket, ssl, sys
port, est, known = int(sys.argv[1]), sys.argv[2], sys.argv[3] # a file: who gets in
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(est + "/server.pem", est + "/server.key")
context.load_verify_locations(est + "/ca.pem")
context.verify_mode = ssl.CERT_REQUIRED
server = socket.create_server(("127.0.0.1", port))
while True:
    raw, _ = server.accept()
    try:
        with context.wrap_socket(raw, server_side=True) as stream:
            connect = stream.recv(4096)
            if connect and stream.getpeercert()["serialNumber"] in open(known).read():
                stream.sendall(bytes.fromhex("20020000"))
                stream.recv(4096)
    except OSError:
        pass
    finally:
        raw.close()
END
: > "$T/known"
start_daemon "$T/closer.log" "port_answers $BROKER" env -u LD_PRELOAD -u OPENSSL_CONF \
    python3 "$T/closer.py" "$BROKER" "$EST" "$T/known"
BROKER_PID=$DAEMON_PID
refusals() { json 'd.get("refused", 0)' "$T/state.d/device/renewal.json"; }
expect_exit 1 renew --json
is 'd["outcome"]' failed
expect_text "$T/out" 'closed the connection instead of CONNACK; the old pair stays in use'
[ "$(current)" = gen-1 ] || fail "$(current)"
[ "$(refusals)" = 0 ] || fail 'it counts as refused'
plain_openssl x509 -in "$CURRENT/cert.pem" -noout -serial | sed 's/.*=//' > "$T/known"
expect_exit 1 renew --now
expect_text "$T/out" 'lets this client id in with it'
[ "$(current)" = gen-1 ] || fail "$(current)"
[ "$(refusals)" = 1 ] || fail 'it does not count as refused'
plain_openssl x509 -in "$T/state.d/device/gen-2/cert.pem" -noout -serial | sed 's/.*=//' > "$T/known"
expect_exit 0 renew --now
[ "$(current)" = gen-2 ] || fail "$(current)"
[ "$(issued)" = $((before + 1)) ] || fail "$(issued) were issued"
working_pair
# The old one that has ended opens no door, whatever it means.
enroll "$MOST"
echo "$HALF" > "$EST/lifetime"
expect_exit 1 renew
need faketime
expect_exit 0 env -u LD_PRELOAD faketime -f +2h "$HWID_TOOLS_DIR/hwid" renew --config \
    "$T/device.conf" --now
[ "$(current)" = gen-2 ] || fail "$(current)"

# One that the endpoint goes on refusing is given up for another one.
enroll "$MOST"
echo "$HALF" > "$EST/lifetime"
before=$(issued)
broker other
for _ in 1 2 3; do expect_exit 1 renew --now; done
[ "$(issued)" = $((before + 1)) ] || fail "$(issued) were issued"
edit_state 'd["made_keys"]["2"] = "nonsense:key"' # which no token destroys
expect_exit 1 renew --now
[ "$(issued)" = $((before + 2)) ] || fail "$(issued) were issued"
[ "$(current)" = gen-1 ] || fail "$(current)"
working_pair
# Enrolment over a working pair asks the endpoint, too.
expect_exit 1 hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-9 \
    --user device --password-source "file:$T/password"
expect_text "$T/err" 'the old pair stays in use'
[ "$(current)" = gen-1 ] || fail "$(current)"
# What was issued for another subject is not what is asked for.
broker ca
expect_exit 0 hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-10 \
    --user device --password-source "file:$T/password"
expect_text "$T/out" 'CN=device-10'
working_pair

# An endpoint that is away keeps no ended certificate in use.
enroll "$MOST"
echo "$HALF" > "$EST/lifetime"
stop_daemon "$BROKER_PID"
BROKER_PID=
expect_exit 1 renew
need faketime
expect_exit 0 env -u LD_PRELOAD faketime -f +2h "$HWID_TOOLS_DIR/hwid" renew --config \
    "$T/device.conf" --now
[ "$(current)" = gen-2 ] || fail "$(current)"
make_device_conf "ca-file = $EST/ca.pem"

# A server that fails: the old pair stays, the next try is later, and each one more.
enroll "$MOST"
faults 'cacerts drop' 'csrattrs 500' 'simplereenroll 503 7' 'simplereenroll 403'
for words in "$EST_URL/cacerts" '500 (a fault of the test)' 'the server is busy' 403; do
    expect_exit 1 renew --now
    expect_text "$T/out" "$words"
    [ "$(current)" = gen-1 ] || fail "$(current)"
done
[ "$(json 'd["failures"]' "$T/state.d/device/renewal.json")" = 4 ] ||
    fail "$(cat "$T/state.d/device/renewal.json")"
expect_exit 1 renew --json
is 'd["outcome"]' waiting
working_pair
status critical 'gen-1 of gen-1, gen-2; renewal was due' '4 tries failed: ' 'next try'
expect_exit 0 renew --now

# How long it wants to be left alone is waited for, whichever question it says no to, and however it
# writes that.
waits() { # FAULT: half an hour, and a tenth of that at most for its neighbours
    enroll '-36000 7200'
    faults "$1"
    expect_exit 1 renew
    json 'd["next"] - d["tried"]' "$T/state.d/device/renewal.json" > "$T/wait"
    if [ "$(cat "$T/wait")" -lt 1600 ] || [ "$(cat "$T/wait")" -gt 1980 ]; then
        fail "$1: $(cat "$T/wait") s"
    fi
    expect_exit 1 renew --json
    is 'd["outcome"]' waiting
}
for fault in 'cacerts 503' 'cacerts 429' 'csrattrs 503' 'simplereenroll 500' 'simplereenroll 502' \
    'simplereenroll 503'; do
    waits "$fault 1800"
done
for operation in cacerts simplereenroll; do
    waits "$operation 503 $(LC_ALL=C date -u -d '+30 minutes' '+%a, %d %b %Y %H:%M:%S GMT')"
done

# A CA that wants time is asked again with the same request, and not before.
enroll "$MOST"
faults 'simplereenroll 202 3600'
expect_exit 4 renew --json
is 'd["outcome"]' pending
expect_exit 4 renew --json
is 'd["outcome"]' pending
status critical 'the CA has not decided on a request'
[ "$(server_said 'simplereenroll 202')" = 1 ] || fail "$(cat "$EST/log")"
working_pair
expect_exit 0 renew --now
working_pair

# The CA goes on having it whatever happens to a try that asks for it, but not where it says no.
enroll "$MOST"
request() { cat "$T/state.d/device/gen-2/request.pem"; }
faults 'simplereenroll 202 60' 'simplereenroll 503' 'cacerts drop' 'simplereenroll 202 60' \
    'simplereenroll 400' 'simplereenroll 202 60'
expect_exit 4 renew
request > "$T/first.pem"
for code in 1 1 4; do
    expect_exit $code renew --now
    diff "$T/first.pem" <(request)
done
expect_exit 1 renew --now
expect_exit 4 renew --now
if diff "$T/first.pem" <(request) > /dev/null; then fail 'what was refused is asked for again'; fi
# What the server asks to wait is waited for, however long.
enroll '-70000000 20000000'
faults 'simplereenroll 202 864000'
expect_exit 4 renew
asked=$(server_said 'simplereenroll 202')
expect_exit 4 renew --json
is 'd["outcome"]' pending
[ "$(server_said 'simplereenroll 202')" = "$asked" ] || fail "$(cat "$EST/log")"

# An ended certificate opens no door. The manufacturer's does, if there is one.
enroll "$ENDED"
wait_for 10 expires_in 0 || fail 'it does not end'
expect_exit 1 renew
expect_text "$T/out" 'the certificate has ended'
status critical 'tries failed'
echo "$HALF" > "$EST/lifetime"
make_device_conf "ca-file = $EST/ca.pem" "claim-cert = $T/born.pem" "claim-key = $T/born.key"
expect_exit 0 renew --now
[ "$(current)" = gen-2 ] || fail "$(current)"
working_pair

# The CA's new root, which cacerts brings (RFC 7030, section 4.1.3): the next renewal believes it.
make_device_conf
rm -rf "$T/state.d"
expect_exit 0 hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-7 \
    --user device --password-source "file:$T/password" --fingerprint "$FINGERPRINT"
cp "$EST/ca.pem" "$T/old-ca.pem"
cat "$EST/ca.pem" "$EST/other.pem" > "$EST/chain.pem"
expect_exit 0 hwid re-enroll est --config "$T/device.conf"
[ "$(grep -c BEGIN "$CURRENT/est-ca.pem")" = 2 ] || fail 'the new root is not there'
# A list without the CA of the server itself is not believed.
cat "$EST/maker.pem" "$EST/ca.pem" > "$EST/chain.pem"
expect_exit 0 hwid re-enroll est --config "$T/device.conf"
working_pair
rm "$EST/chain.pem"
# A server that wants a certificate before it says anything: its new root is learned all the same.
expect_exit 0 hwid re-enroll est --config "$T/device.conf"
[ "$(grep -c BEGIN "$CURRENT/est-ca.pem")" = 1 ] || fail "$(cat "$CURRENT/est-ca.pem")"
touch "$EST/demands"
restart_est
make_device_conf
cat "$EST/ca.pem" "$EST/other.pem" > "$EST/chain.pem"
expect_exit 0 hwid re-enroll est --config "$T/device.conf"
[ "$(grep -c BEGIN "$CURRENT/est-ca.pem")" = 2 ] || fail 'the new root is not there'
rm "$EST"/{chain.pem,demands}
# The advice after what was learned has become wrong is one that helps.
expect_exit 0 hwid re-enroll est --config "$T/device.conf"
issue_cert other foreign server ec:P-256
for part in pem key; do
    cp "$EST/server.$part" "$T/usual.$part"
    cp "$T/foreign.$part" "$EST/server.$part"
done
restart_est
make_device_conf "ca-file = $EST/other.pem"
expect_exit 1 renew --now
expect_text "$T/out" "is not proved by $T/state.d/device/gen-"
expect_text "$T/out" 'hwid enroll est --fingerprint HEX or --ca-file FILE'
for part in pem key; do mv "$T/usual.$part" "$EST/server.$part"; done
restart_est
make_device_conf "ca-file = $EST/ca.pem"
expect_exit 0 hwid re-enroll est --config "$T/device.conf"
working_pair

# One at a time.
exec 9< "$T/state.d/device"
flock -n 9
refused 3 'another process' renew
exec 9<&-

# In a TPM: a new key is wrapped beside the old one, and gone with its generation.
if without_tpm; then exit 0; fi
HWID_WORLD=tpm
make_token chip ec:P-256,label=ec
make_conf "$T/openssl.cnf" default-first chip "state-dir = $T/state.d" keys.first=tpm2:handle=0x81000002
make_device_conf "ca-file = $EST/ca.pem"
enroll "$MOST"
echo "$HALF" > "$EST/lifetime"
expect_exit 0 renew --new-key
[ "$(current)" = gen-2 ] || fail "$(current)"
grep -q 'TSS2 PRIVATE KEY' "$CURRENT/key.pem" || fail "$(cat "$CURRENT/key.pem")"
[ "$(stat -c %a "$CURRENT/key.pem")" = 600 ] || fail 'others may read it'
working_pair
expect_exit 0 hwid re-enroll est --config "$T/device.conf" --new-key
expect_exit 0 renew --keep-old 0s
working_pair
