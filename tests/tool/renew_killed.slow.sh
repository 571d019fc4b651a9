#!/bin/bash
# hwid renew is killed before each call that changes something on the disk or says something to the
# server, once with the key kept and once with a new one. There is a working pair each time, and the
# next run ends well and leaves nothing behind.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
need python3 strace
if [ -n "${HWID_PRELOAD:-}" ]; then skip 'strace and the runtime of a sanitizer'; fi

CALLS=(rename renameat renameat2 mkdir mkdirat symlink symlinkat unlink unlinkat rmdir fsync connect)
strace -qq -o /dev/null -e trace=fsync true 2> /dev/null || skip 'strace may not trace here'

start_est_device
echo '-32400 3600' > "$EST/lifetime"
expect_exit 0 hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-7 \
    --user device --password-source "file:$T/password"
echo '-3600 32400' > "$EST/lifetime"
cp -a "$T/state.d" "$T/first-state"
cp -a "$T/tokens" "$T/first-tokens"
keys_on_token() { hwid list 'pkcs11:token=line' | grep -c '^key ' || true; }
generations() { find "$T/state.d/device" -mindepth 1 -maxdepth 1 -name 'gen-*' | wc -l; }

killed_at() { # CALL NUMBER OPTION...: before that one of these calls; true if it was
    local call=$1 number=$2 code=0
    shift 2
    rm -rf "$T/state.d" "$T/tokens"
    cp -a "$T/first-state" "$T/state.d"
    cp -a "$T/first-tokens" "$T/tokens"
    # (The shell says "Killed".)
    { strace -qq -o "$T/trace" -e "trace=?$call" -e "inject=?$call:signal=KILL:when=$number" \
        "$HWID_TOOLS_DIR/hwid" renew --config "$T/device.conf" "$@" > "$T/out" 2> "$T/err" ||
        code=$?; } 2> /dev/null
    [ $code = 0 ] || [ $code = 137 ] || fail "exit $code at $call $number: $(cat "$T/out" "$T/err")"
    [ $code = 137 ]
}
recovers() { # OPTION KEYS WHERE
    working_pair
    expect_exit 0 hwid renew --config "$T/device.conf" "$1" --now
    working_pair
    [ "$(current)" = gen-2 ] || [ "$(current)" = gen-3 ] || fail "at $3: $(current)"
    # What it left is removed with the old generation.
    expect_exit 0 hwid renew --config "$T/device.conf" --keep-old 0s
    expect_text "$T/out" 'not due'
    working_pair
    [ "$(generations)" = 1 ] || fail "at $3: $(find "$T/state.d")"
    [ "$(keys_on_token)" = "$2" ] || fail "at $3: $(hwid list pkcs11:token=line)"
    if find "$T/state.d" -name '.new-*' | grep .; then fail "at $3: leftovers"; fi
}
for option in --keep-old=7d --new-key; do
    kills=0
    keys=1
    if [ $option = --new-key ]; then keys=2; fi # the user's own, and the new one
    for call in "${CALLS[@]}"; do
        number=1
        while killed_at "$call" $number $option; do
            recovers $option $keys "$call $number"
            number=$((number + 1))
        done
        kills=$((kills + number - 1))
    done
    [ $kills -ge 30 ] || fail "only $kills calls were seen"
    echo "$option: killed at $kills calls"
done
