#!/bin/bash
# hwid(1), and the page of a group (hwid-ca(1)), have every subcommand and option that
# `hwid SUBCOMMAND --help` has, and none that it has not.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
ROOT=$HWID_TESTS_DIR/..

help_options() { # COMMAND
    # shellcheck disable=SC2086  # two words
    hwid $1 --help | sed -n 's/^  \(-. \[ \)\{0,1\}\(--[a-z-]*\).*/\2/p' | sort
}
part() { # BEGIN END FILE: from the line BEGIN to before the next that fits END
    awk -v begin="$1" -v end="$2" '$0 == begin {on = 1; next} $0 ~ end {on = 0} on' "$ROOT/doc/$3"
}
page_options() { # COMMAND: of its part of hwid(1), or of its group's synopsis
    local page=hwid-${1%% *}.1
    if [ -f "$ROOT/doc/$page" ]; then
        part ".Nm hwid $1" '^[.](Nm|Sh)' "$page" |
            sed -n 's/Fl -/\n--/gp' | sed -n 's/^\(--[a-z-]*\).*/\1/p'
    else
        part ".Ss $1" '^[.]S[hs]' hwid.1 |
            sed -n 's/^\.It Fl \(. , \)\{0,1\}\(-[a-z-]*\).*/-\2/p'
    fi | sort -u
}
if command -v mandoc > /dev/null; then
    mandoc -Tlint -W warning "$ROOT/doc/hwid.1" > "$T/lint" 2>&1 || fail "$(cat "$T/lint")"
else
    echo 'skipped: the form of hwid(1): mandoc is not installed'
fi

expect_exit 0 hwid --help
sed -n 's/^  \([a-z-]*\( [a-z]*\)\{0,1\}\)  .*/\1/p' "$T/out" > "$T/commands"
[ "$(wc -l < "$T/commands")" -ge 19 ] || fail "too few: $(cat "$T/commands")"
printf '%s\n' --help --json --openssl-conf --pin-source > "$T/common"
sed -n '/^\.Sh DESCRIPTION/,/^\.Sh SUBCOMMANDS/p' "$ROOT/doc/hwid.1" > "$T/description"
while read -r option; do
    grep -qE "^\.It Fl (. , )?${option#-}\b" "$T/description" || fail "hwid(1) has no $option for all"
done < "$T/common"
COUNT=0
while read -r command; do
    grep -q "^\.It Ic .*\b${command%% *}\b" "$T/description" || fail "hwid(1) tells not of $command"
    help_options "$command" | comm -13 "$T/common" - > "$T/help"
    page_options "$command" > "$T/page"
    diff "$T/help" "$T/page" > "$T/diff" ||
        fail "$command: in its --help <, in the page >: $(cat "$T/diff")"
    COUNT=$((COUNT + $(wc -l < "$T/help")))
done < "$T/commands"
[ $COUNT -ge 50 ] || fail "only $COUNT options were seen"
