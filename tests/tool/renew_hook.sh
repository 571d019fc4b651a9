#!/bin/bash
# hwid status tells of a hook of hwid renew that failed: a program may have the old certificate, which
# ends some day.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/est.bash
. "$HWID_TESTS_DIR/tool/est.bash"
need python3
need faketime

start_est_device
echo '-3600 36000' > "$EST/lifetime" # ten hours are left
cat > "$T/hook" << END
#!/bin/sh
if [ -e $T/hook-fails ]; then echo 'the agent does not answer'; exit 7; fi
END
chmod +x "$T/hook"
enroll() { # NAME OPTION...
    hwid enroll est hwid://first --config "$T/device.conf" --subject "/CN=$1" --user device \
        --password-source "file:$T/password" "${@:2}"
}
renew() { hwid renew --config "$T/device.conf" --hook "$T/hook" "$@"; }
status_in() { # HOURS: what is said of the hook then, in $T/rows
    expect_exit 0,1 env -u LD_PRELOAD faketime -f "+$1h" "$HWID_TOOLS_DIR/hwid" status --config \
        "$T/device.conf" --json --prometheus "$T/metrics.prom"
    json '[c for c in d["checks"] if c["check"] == "hook"]' > "$T/rows"
}
fails() { # STATE WORDS...
    expect_text "$T/rows" "'state': '$1'"
    for words in "${@:2}"; do expect_text "$T/rows" "$words"; done
    expect_text "$T/metrics.prom" 'hwid_renewal_hook_failed{name="device"} 1'
}
is_silent() {
    [ "$(cat "$T/rows")" = '[]' ] || fail "$(cat "$T/rows")"
    expect_text "$T/metrics.prom" 'hwid_renewal_hook_failed{name="device"} 0'
}

# At the first enrolment no program has an old certificate.
touch "$T/hook-fails"
expect_exit 1 enroll device-7 --hook "$T/hook"
status_in 0
fails warning "$T/hook: exit code 7 (the agent does not answer)" 'the next hwid renew'
if grep -q 'old certificate' "$T/rows"; then fail "$(cat "$T/rows")"; fi
rm "$T/hook-fails"
expect_exit 0 renew
status_in 0
is_silent
# A switch whose hooks no run has had yet is no fault: many have none.
expect_exit 0 hwid re-enroll est --config "$T/device.conf"
status_in 0
is_silent

# Half of what the old one has left, and then its end.
touch "$T/hook-fails"
expect_exit 1 renew
status_in 0
fails warning 'exit code 7 (the agent does not answer); programs may have the old certificate, which ends'
status_in 4
fails warning
status_in 6
fails critical 'which ends'
status_in 11
fails critical 'which ended'
# That is what programs have, however many come after it, and wherever it went.
echo '-60 864000' > "$EST/lifetime"
expect_exit 1 renew --now
rm -r "$T/state.d/device/gen-1"
expect_exit 1 renew
status_in 6
fails critical 'which ends'
rm "$T/hook-fails"
expect_exit 0 renew
status_in 6
is_silent

# One that was taken away tells nobody of anything any more: that counts until the old one has ended.
without_hooks() { # HOURS
    expect_exit 0 env -u LD_PRELOAD NO_FAKE_STAT=1 faketime -f "+$1h" "$HWID_TOOLS_DIR/hwid" renew --config \
        "$T/device.conf"
    status_in "$1"
}
rm -rf "$T/state.d" "$EST/lifetime"
echo '-60 36000' > "$EST/lifetime"
expect_exit 0 enroll device-7
echo '-60 864000' > "$EST/lifetime"
touch "$T/hook-fails"
expect_exit 1 renew --now
without_hooks 2
fails warning 'taken away'
without_hooks 11
is_silent
# At a first enrolment there is no old one.
rm -rf "$T/state.d"
expect_exit 1 enroll device-7 --hook "$T/hook"
status_in 0
fails warning
without_hooks 0
is_silent
