#!/bin/bash
# hwid renew: how long each generation stays that is out of use, however often the next one comes; and
# what was begun with a key that is gone.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
need python3
need faketime

start_est_device
STATE=$T/state.d/device/renewal.json
DAY=86400
enroll() { # LIFETIME
    rm -rf "$T/state.d"
    echo "$1" > "$EST/lifetime"
    expect_exit 0 hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-7 \
        --user device --password-source "file:$T/password"
}
renew_at() { # DAYS OPTION...: as a timer would then. What files say of their times stays true.
    expect_exit 0,1 env -u LD_PRELOAD NO_FAKE_STAT=1 faketime -f "$(printf %+d "$1")d" "$HWID_TOOLS_DIR/hwid" \
        renew --config "$T/device.conf" "${@:2}"
}
generations() { find "$T/state.d/device" -name 'gen-*' -printf '%f\n' | sort -V | tr '\n' ' '; }
are() { # GENERATION...
    [ "$(generations)" = "$* " ] || fail "there are $(generations), not $*: $(cat "$STATE")"
}
keys_on_token() { hwid list 'pkcs11:token=line' | grep -c '^key ' || true; }

# Certificates that are renewed more often than every week: each old one goes a week after its own
# end of use, with the key that was made for it.
enroll "-$DAY $((60 * DAY))"
renew_at 0 --now --new-key
are gen-1 gen-2
renew_at 3 --now --new-key
renew_at 6 --now --new-key
are gen-1 gen-2 gen-3 gen-4
[ "$(keys_on_token)" = 4 ] || fail "$(keys_on_token) keys"
renew_at 8
are gen-2 gen-3 gen-4
renew_at 9
are gen-2 gen-3 gen-4
renew_at 11
are gen-3 gen-4
[ "$(keys_on_token)" = 3 ] || fail "$(keys_on_token) keys" # the user's own stays
renew_at 12 --now --keep-old 5d
are gen-4 gen-5
# One that is used again by hand begins anew when it is out of use again.
ln -sfn gen-4 "$T/state.d/device/current"
mv "$T/state.d/device/gen-5" "$T/state.d/device/kept"
renew_at 13
mv "$T/state.d/device/kept" "$T/state.d/device/gen-5"
ln -sfn gen-5 "$T/state.d/device/current"
touch -h -d '+14 days' "$T/state.d/device/current"
renew_at 18 --keep-old 5d
are gen-4 gen-5
renew_at 19 --keep-old 5d
are gen-5
working_pair

# What a version before has left, which noted no times: since the switch is late enough.
python3 - "$STATE" << 'PYTHON'
import json, sys
d = json.load(open(sys.argv[1]))
del d["superseded"]
json.dump(d, open(sys.argv[1], "w"))
PYTHON
cp -r "$T/state.d/device/gen-5" "$T/state.d/device/gen-4"
renew_at 20
are gen-4 gen-5
renew_at 22
are gen-5

# A clock that was ahead when one went out of use keeps it for no longer than the others.
enroll "-$DAY $((60 * DAY))"
renew_at 30 --now
renew_at 0
renew_at 6
are gen-1 gen-2
renew_at 8
are gen-2

# One that is behind once, or was when that went out of use, ends its time no sooner.
enroll "-$DAY $((60 * DAY))"
renew_at 0 --now
renew_at -30
renew_at 1
are gen-1 gen-2
python3 - "$STATE" << 'PYTHON'
import json, sys
d = json.load(open(sys.argv[1]))
d["superseded"], d["switched"] = {}, 1
json.dump(d, open(sys.argv[1], "w"))
PYTHON
touch -h -d '-30 days' "$T/state.d/device/current"
renew_at 1
are gen-1 gen-2
renew_at 8
are gen-2

# One that has ended opens no door any more, and is waited for by nobody: not by a program whose
# hook fails either.
printf '#!/bin/sh\n[ ! -e %s ]\n' "$T/hook-fails" > "$T/hook"
chmod +x "$T/hook"
touch "$T/hook-fails"
enroll "-$DAY $((2 * DAY))"
echo "-$DAY $((60 * DAY))" > "$EST/lifetime"
renew_at 0 --now --hook "$T/hook"
renew_at 1 --hook "$T/hook" --keep-old 0s
are gen-1 gen-2
renew_at 3 --hook "$T/hook" --keep-old 0s
are gen-2
renew_at 4 --now --hook "$T/hook"
renew_at 20 --hook "$T/hook"
are gen-2 gen-3
rm "$T/hook-fails"
renew_at 20 --hook "$T/hook"
are gen-3
working_pair

# What was begun with a key that the token has lost comes to nothing, and is in the way of nothing.
lose() { hwid delete "pkcs11:token=line;object=$1" --yes > "$T/lost" || fail "$(cat "$T/lost")"; }
enroll "-$DAY $((DAY / 10))"
faults 'simplereenroll 202 3600'
expect_exit 4 hwid renew --config "$T/device.conf" --new-key
are gen-1 gen-2
lose device-g2
expect_exit 0 hwid renew --config "$T/device.conf" --now --new-key
expect_text "$T/err" 'gen-2/key.pem: the token has lost this key'
[ "$(current)" = gen-2 ] || fail "$(current)"
working_pair
# Also where it has its certificate, and the endpoint was away.
make_device_conf "ca-file = $EST/ca.pem" "endpoint = mqtts://localhost:$(free_port)"
expect_exit 1 hwid renew --config "$T/device.conf" --now --new-key
[ -s "$T/state.d/device/gen-3/cert.pem" ] || fail 'nothing was issued'
make_device_conf "ca-file = $EST/ca.pem"
lose device-g3
expect_exit 0 hwid renew --config "$T/device.conf" --now
[ "$(current)" = gen-3 ] || fail "$(current)"
working_pair
# Where the key in use is not there either nothing is thrown away.
faults 'simplereenroll 202 3600'
expect_exit 4 hwid renew --config "$T/device.conf" --now --new-key
cp -r "$T/state.d/device" "$T/kept"
lose device-g4
lose device-g2
expect_exit 1 hwid renew --config "$T/device.conf" --now --new-key
diff -r -x renewal.json "$T/kept" "$T/state.d/device" || fail 'something was thrown away'
