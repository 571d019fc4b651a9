#!/bin/bash
# hwid aws credentials against a stand-in for the credential provider of AWS IoT Core.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/cloud.bash
. "$HWID_TESTS_DIR/tool/cloud.bash"

make_token line ec:P-256,label=device,id=01
make_conf "$T/openssl.cnf" default-first line "audit=file:$T/audit.log" \
    keys.device='pkcs11:token=line;object=device;type=private'
export OPENSSL_CONF=$T/openssl.cnf
printf '%s\n' 'client-id = line-7' 'role-alias = device-role' 'endpoint = mqtts://localhost' \
    > "$T/device.conf"
hwid aws policy --config "$T/device.conf" --region eu-central-1 --account 123456789012 \
    > "$T/policy.json"
start_cloud aws "$T/policy.json" "$HWID_TESTS_DIR/../conf/aws-claim-policy.json"
hwid csr hwid://device --subject /CN=line-7 --out "$T/device.csr" > "$T/out"
issue_cert cloud line-7 client "$T/device.csr"
device_conf() { # PORT [LINE...]
    printf '%s\n' "endpoint = mqtts://localhost:$CLOUD_PORT" 'client-id = line-7' \
        'thing-name = line-7' 'role-alias = device-role' "ca-file = $T/cloud.pem" \
        "cert = $T/line-7.pem" 'key = hwid://device' \
        "credentials-endpoint = https://localhost:$1" "${@:2}" > "$T/device.conf"
}
device_conf "$CLOUD_CREDENTIALS_PORT"
asked() { # how often the service was
    wc -l < "$CLOUD_DIR/credentials.log"
}
credentials() { # OPTION...
    hwid aws credentials --config "$T/device.conf" --timeout 60 "$@"
}
show() { # OPTION...: the credentials; nothing else is printed
    expect_exit 0 credentials "$@"
    [ ! -s "$T/err" ] || fail "$(cat "$T/err")"
}

# What the AWS CLI takes from a credential_process.
show --no-cache
[ "$(json 'sorted(d)')" = "['AccessKeyId', 'Expiration', 'SecretAccessKey', 'SessionToken', 'Version']" ]
[ "$(json 'd["Version"]')" = 1 ]
[[ $(json 'd["AccessKeyId"]') = ASIA* ]]
[ "$(json 'len(d["SessionToken"])')" = 800 ]
cp "$T/out" "$T/first"
show --no-cache
if cmp -s "$T/out" "$T/first"; then fail "kept in spite of --no-cache"; fi
[ "$(asked)" = 2 ]
expect_exit 0 hwid audit "$T/audit.log" --op sign --lines
[ -s "$T/out" ]

# Kept in a file, for this user alone, until shortly before they end.
show --cache-file "$T/kept"
cp "$T/out" "$T/first"
show --cache-file "$T/kept"
cmp "$T/out" "$T/first"
[ "$(asked)" = 3 ]
[ "$(stat -c %a "$T/kept")" = 600 ]
chmod 0644 "$T/kept" # others have read it
show --cache-file "$T/kept"
[ "$(asked)" = 4 ]
# For this device and role alone: another device.conf asks for its own.
show --cache-file "$T/kept"
[ "$(asked)" = 4 ]
for other in 's/^role-alias.*/role-alias = other/' 's/^thing-name.*/thing-name = line-8/'; do
    sed -i "$other" "$T/device.conf"
    refused 1 'the service answers 403' credentials --cache-file "$T/kept"
    [ ! -s "$T/out" ] || fail "of another: $(cat "$T/out")"
    device_conf "$CLOUD_CREDENTIALS_PORT"
done
rm -f "$T/kept"
echo 250 > "$CLOUD_DIR/lifetime" # less than the margin
show --cache-file "$T/kept"
[ ! -e "$T/kept" ]
rm "$CLOUD_DIR/lifetime"
show --cache-file "$T/kept"
for bad in '' '{' '{"Version": 2}' '{"Version": 1, "AccessKeyId": 7}'; do
    for line in '' "$(head -n 1 "$T/kept")"; do # without and with whose they are
        (umask 077 && printf '%s\n%s' "$line" "$bad" > "$T/kept")
        show --cache-file "$T/kept"
    done
done
# Nearly over, and the service does not answer: they are still good.
python3 - "$T/kept" << 'EOF'
import datetime, json, sys
whose, kept = open(sys.argv[1]).read().split("\n", 1)
kept = json.loads(kept)
end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=290)
kept["Expiration"] = end.strftime("%Y-%m-%dT%H:%M:%SZ")
open(sys.argv[1], "w").write(whose + "\n" + json.dumps(kept))
EOF
still_good() { # WHY OPTION...
    expect_exit 0 credentials --cache-file "$T/kept" "${@:2}"
    expect_text "$T/err" 'are still good'
    expect_text "$T/err" "$1"
    [ "$(json 'd["SessionToken"]')" = "$(tail -n +2 "$T/kept" | json 'd["SessionToken"]' /dev/stdin)" ] ||
        fail "other ones: $(cat "$T/out")"
}
credential_faults drop
still_good "localhost:$CLOUD_CREDENTIALS_PORT"
for status in 408 429 500 503; do
    credential_faults $status
    still_good "the service answers $status"
done
if ! in_tpm; then # whose key has no PIN
    echo wrong > "$T/wrong-pin" && chmod 0600 "$T/wrong-pin"
    still_good CKR_PIN_INCORRECT --pin-source "file:$T/wrong-pin"
fi
credential_faults 403 # who is not to have them gets none of them
refused 1 'the service answers 403' credentials --cache-file "$T/kept"
[ ! -s "$T/out" ] || fail "$(cat "$T/out")"
cp "$T/line-7.pem" "$T/good.pem" # nor whose certificate the service does not take
make_ca other
issue_cert other line-7 client "$T/device.csr"
expect_exit 1 credentials --cache-file "$T/kept"
[ ! -s "$T/out" ] || fail "$(cat "$T/out")"
cp "$T/good.pem" "$T/line-7.pem"
rm "$T/kept"

# Where they cannot be kept they are good all the same.
for place in "$T/nowhere/kept" "$T"; do
    expect_exit 0 credentials --cache-file "$place"
    expect_text "$T/err" "$place"
    expect_text "$T/err" 'good, and not kept'
    [[ $(json 'd["AccessKeyId"]') = ASIA* ]]
done

# Kept by the kernel, where it does that: never on disk.
before=$(asked)
show
cp "$T/out" "$T/first"
show
if cmp -s "$T/out" "$T/first"; then
    [ "$(asked)" = $((before + 1)) ]
else
    echo 'skipped: the keyring: this kernel, or container, keeps no keys'
fi
secret=$(json 'd["SecretAccessKey"]')
if grep -rlF --exclude=out --exclude=first -e "$secret" "$T"; then fail "a secret is in a file"; fi

# No, and nonsense; nothing of an answer is shown.
no() { # TEXT FAULT
    credential_faults "$2"
    expect_exit 1 credentials --no-cache
    expect_text "$T/err" "$1"
    [ ! -s "$T/out" ]
    ! grep -q 'hidden' "$T/err" || fail "shown: $(cat "$T/err")"
}
no 'iot:AssumeRoleWithCertificate' 403
no 'iot:CredentialProvider' 404
no 'try again later' 500
no 'no JSON object with credentials' 'say garbage hidden'
no 'no JSON object with credentials' 'say {"credentials": "hidden"}'
no 'no text accessKeyId' 'say {"credentials": {"accessKeyId": 1, "secretAccessKey": "hidden"}}'
no 'sessionToken is none' \
    'say {"credentials": {"accessKeyId": "A", "secretAccessKey": "hidden", "sessionToken": "a\"b"}}'
no 'expiration is no time' \
    'say {"credentials": {"accessKeyId": "A", "secretAccessKey": "hidden", "sessionToken": "hidden", "expiration": "soon"}}'
no 'ended before they came' \
    'say {"credentials": {"accessKeyId": "A", "secretAccessKey": "hidden", "sessionToken": "hidden", "expiration": "2018-01-18T09:18:06Z"}}'
for fault in drop cut 'long 200'; do
    credential_faults "$fault"
    expect_exit 1,3 credentials --no-cache
done
credential_faults stall
expect_exit 3 hwid aws credentials --config "$T/device.conf" --no-cache --timeout 1

# On its usual port (behind a proxy, that is) no profile asks for the data endpoint's ALPN name.
cat > "$T/proxy.py" << 'EOF'
import asyncio, os, sys
async def copy(source, target):
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except OSError:
        pass
    target.close()
async def serve(reader, writer):
    if not (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT localhost:443 "):
        return writer.close()
    source, target = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await asyncio.gather(copy(reader, target), copy(source, writer))
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    with open(sys.argv[2] + ".new", "w") as file:
        file.write(str(server.sockets[0].getsockname()[1]))
    os.replace(sys.argv[2] + ".new", sys.argv[2])
    await server.serve_forever()
asyncio.run(main())
EOF
start_daemon "$T/proxy.log" "test -s $T/proxy.port" env -u LD_PRELOAD -u OPENSSL_CONF \
    python3 "$T/proxy.py" "$CLOUD_CREDENTIALS_PORT" "$T/proxy.port"
device_conf 443 'profile = aws' "proxy = http://127.0.0.1:$(cat "$T/proxy.port")"
show --no-cache
[[ $(json 'd["AccessKeyId"]') = ASIA* ]]
device_conf "$CLOUD_CREDENTIALS_PORT"

# The endpoint of MQTT's HTTPS is another one; a thing that is not ours; a policy without the role.
device_conf "$CLOUD_HTTPS_PORT"
expect_exit 1 credentials --no-cache
expect_text "$T/err" 'iot:CredentialProvider'
wrong() { # EXIT TEXT SED-SCRIPT
    device_conf "$CLOUD_CREDENTIALS_PORT"
    sed -i "$3" "$T/device.conf"
    refused "$1" "$2" credentials --no-cache
}
wrong 1 'Access Denied' 's/^thing-name.*/thing-name = line-8/'
wrong 1 'iot:AssumeRoleWithCertificate' 's/^role-alias.*/role-alias = other/'
wrong 3 'role-alias' '/^role-alias/d'
wrong 3 'thing-name' 's/^thing-name.*/thing-name = a b/'
wrong 3 'credentials-endpoint' 's/https:/mqtts:/'
wrong 3 'certificate' '/^cert/d'
refused 2 '--no-cache' hwid aws credentials --config "$T/device.conf" --no-cache --cache-file x
