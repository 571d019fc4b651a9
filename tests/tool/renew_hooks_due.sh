#!/bin/bash
# Several hooks of hwid renew: each is run until it has succeeded for the generation that is in use,
# whatever becomes of the others, and hwid status names those that failed.
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
hook() { # NAME: one that fails as long as there is NAME-fails, and hangs where NAME-hangs is
    cat > "$T/$1" << END
#!/bin/sh
name=\$(basename "\$0")
echo "\$name" >> $T/ran
if [ -e "$T/\$name-fails" ]; then echo "\$name is not well"; exit 7; fi
if [ -e "$T/\$name-hangs" ]; then
    mv "$T/\$name-hangs" "$T/\$name-hanging"
    exec sleep 600
fi
END
    chmod +x "$T/$1"
}
with() { # HOOK...: the options, in HOOKS
    local name
    HOOKS=()
    for name; do HOOKS+=(--hook "$T/$name"); done
}
renew() { hwid renew --config "$T/device.conf" "${HOOKS[@]}" "$@"; }
re_enroll() { hwid re-enroll est --config "$T/device.conf" "${HOOKS[@]}"; }
run_by() { # WANTED EXIT COMMAND...: what that run, in its order
    rm -f "$T/ran"
    expect_exit "$2" "${@:3}"
    touch "$T/ran"
    [ "$(paste -sd ' ' "$T/ran")" = "$1" ] || fail "not $1: $(cat "$T/ran")"
}
told() { # STATE NAMES [HOURS]: what status says of hooks then: that state, and these of h1 to h4
    local name
    expect_exit 0,1 env -u LD_PRELOAD faketime -f "+${3:-0}h" "$HWID_TOOLS_DIR/hwid" status --config \
        "$T/device.conf" --json --prometheus "$T/metrics.prom"
    [ "$(json '[c["state"] for c in d["checks"] if c["check"] == "hook"]')" = "[$1]" ] ||
        fail "not $1: $(cat "$T/out")"
    json '[c["text"] for c in d["checks"] if c["check"] == "hook"]' > "$T/rows"
    for name in h1 h2 h3 h4; do
        if [[ " $2 " = *" $name "* ]]; then
            expect_text "$T/rows" "$T/$name: "
        elif grep -q "$T/$name" "$T/rows"; then
            fail "$name is told of: $(cat "$T/rows")"
        fi
    done
}
for name in h1 h2 h3 h4; do hook $name; done

# One that fails is in the way of none, and is the only one that is run again.
echo '-3600 36000' > "$EST/lifetime" # ten hours are left
with h1 h2 h3
touch "$T/h2-fails"
run_by 'h1 h2 h3' 1 hwid enroll est hwid://first --config "$T/device.conf" --subject /CN=device-7 \
    --user device --password-source "file:$T/password" "${HOOKS[@]}"
expect_text "$T/out" "$T/h2: exit code 7 (h2 is not well); mend it: hwid renew"
told "'warning'" h2
run_by h2 1 renew
run_by h2 1 renew --json
rm "$T/h2-fails"
run_by h2 0 renew
told '' ''
run_by '' 0 renew
# One that comes later is due as well; one that is named twice is run once.
with h1 h4 h2 h4
run_by h4 0 renew
run_by '' 0 renew

# The next generation: all are told, and each that failed is named.
with h3 h2 h1
touch "$T/h1-fails" "$T/h3-fails"
run_by 'h3 h2 h1' 1 re_enroll
expect_text "$T/out" \
    "$T/h3: exit code 7 (h3 is not well); $T/h1: exit code 7 (h1 is not well); mend them: hwid renew"
told "'warning'" 'h1 h3'
expect_text "$T/rows" 'which ends'
rm "$T/h3-fails"
run_by 'h3 h1' 1 renew
told "'warning'" h1
told "'critical'" h1 6
# One that others replace has told nobody of anything: that counts until the old certificate has ended.
with h2 h3
run_by '' 0 renew
told "'warning'" h1
told "'critical'" h1 11
echo '-60 864000' > "$EST/lifetime"
run_by 'h2 h3' 0 re_enroll
told "'warning'" h1
expect_exit 0 env -u LD_PRELOAD NO_FAKE_STAT=1 faketime -f +11h "$HWID_TOOLS_DIR/hwid" renew --config \
    "$T/device.conf" "${HOOKS[@]}"
told '' ''

# A name that is no UTF-8.
rm "$T/h1-fails"
odd=$'h\xe9'
hook "$odd"
with h1 "$odd"
touch "$T/$odd-fails"
run_by "h1 $odd" 1 renew
run_by "$odd" 1 renew
rm "$T/$odd-fails"
run_by "$odd" 0 renew
run_by '' 0 renew

# What versions before left, that had one text for all hooks, and one word for whether all are done.
as_before() { # due|over FAILED: as they have written it
    python3 - "$STATE" "$1" "$2" << 'END'
import json, sys
d = json.load(open(sys.argv[1]))
d = {name: value for name, value in d.items() if name not in ("hooks_done", "hooks_failed")}
d["hooks_due"] = d["hooks_due"] if sys.argv[2] == "due" else 0
since = d["switched"] if sys.argv[3] else 0
d.update(hook_failed=sys.argv[3], hook_failed_since=since, untold_ends=since and since + 36000)
json.dump(d, open(sys.argv[1], "w"))
END
}
with h1 h2 h3
as_before over ''
told '' ''
run_by '' 0 renew
as_before due "$T/h2: no end after 60 s (h2: it hangs)"
run_by 'h1 h2 h3' 0 re_enroll # a new generation, since the one before has none due
as_before due "$T/h2: no end after 60 s (h2: it hangs)"
told "'warning'" h2
expect_text "$T/rows" 'no end after 60 s (h2: it hangs); programs may have the old certificate'
told "'critical'" h2 6
touch "$T/h3-fails"
run_by 'h1 h2 h3' 1 renew
told "'warning'" h3
rm "$T/h3-fails"
run_by h3 0 renew
told '' ''
working_pair

# A run that is killed while a hook runs: that has not ended, as have not those behind it, and nobody
# has to wait for a run that has them to hear of it.
killed() { # SIGNAL CODE [STATE NAMES]: in h2; before that, what status says
    local pid code=0
    touch "$T/h2-hangs"
    rm -f "$T/ran"
    "$HWID_TOOLS_DIR/hwid" renew --config "$T/device.conf" "${HOOKS[@]}" > "$T/out" 2> "$T/err" &
    pid=$!
    wait_for 60 test -e "$T/h2-hanging" || fail "no hook: $(cat "$T/out" "$T/err")"
    told "${3:-}" "${4:-}"
    kill "-$1" $pid
    { wait $pid || code=$?; } 2> /dev/null # (The shell says "Killed".)
    [ $code = "$2" ] || fail "exit $code: $(cat "$T/out" "$T/err")"
    rm "$T/h2-hanging"
}
for how in 'KILL 137' 'TERM 143'; do
    with
    run_by '' 0 re_enroll
    with h1 h2 h3
    # shellcheck disable=SC2086  # two words
    killed $how
    told "'warning'" 'h2 h3'
    expect_text "$T/rows" "$T/h2: it has not ended: the renewal was interrupted; $T/h3: "
    expect_text "$T/rows" 'programs may have the old certificate, which ends'
    expect_text "$T/metrics.prom" 'hwid_renewal_hook_failed{name="device"} 1'
    with
    run_by '' 0 renew
    told "'warning'" 'h2 h3'
    with h1 h2 h3
    touch "$T/h2-fails"
    run_by 'h2 h3' 1 renew
    rm "$T/h2-fails"
    # What has failed before is told while it is run again, too.
    # shellcheck disable=SC2086
    killed $how "'warning'" h2
    told "'warning'" h2
    expect_text "$T/rows" 'exit code 7'
    run_by h2 0 renew
    told '' ''
    expect_text "$T/metrics.prom" 'hwid_renewal_hook_failed{name="device"} 0'
done
working_pair
