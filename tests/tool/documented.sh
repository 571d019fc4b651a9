#!/bin/bash
# hwid(1), and the page of a group (hwid-ca(1)), have every subcommand and option that
# `hwid SUBCOMMAND --help` has, and none that it has not.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/fixture/manual.bash
. "$HWID_TESTS_DIR/fixture/manual.bash"
ROOT=$HWID_TESTS_DIR/..

help_options() { # COMMAND
    # shellcheck disable=SC2086  # two words
    hwid $1 --help | sed -n 's/^  \(-. \[ \)\{0,1\}\(--[a-z-]*\).*/\2/p' | sort
}
page_options() { # COMMAND: of its part of hwid(1), or of its group's synopsis
    local page=$ROOT/doc/hwid-${1%% *}.1.md
    if [ -f "$page" ]; then
        manual_part '# SYNOPSIS' '^# ' "$page" | awk -v RS= -v command="**hwid $1**" \
            'index($0, command) == 1'
    else
        manual_part "## $1" '^##* ' "$ROOT/doc/hwid.1.md" | manual_terms
    fi | bold_words | sed -n '/^--/p' | sort -u
}

expect_exit 0 hwid --help
sed -n 's/^  \([a-z-]*\( [a-z]*\)\{0,1\}\)  .*/\1/p' "$T/out" > "$T/commands"
[ "$(wc -l < "$T/commands")" -ge 19 ] || fail "too few: $(cat "$T/commands")"
printf '%s\n' --help --json --openssl-conf --pin-source > "$T/common"
manual_part '# DESCRIPTION' '^# ' "$ROOT/doc/hwid.1.md" > "$T/description"
while read -r option; do
    manual_terms < "$T/description" | bold_words | grep -qx -- "$option" ||
        fail "hwid(1) has no $option for all"
done < "$T/common"
COUNT=0
while read -r command; do
    grep '^|' "$T/description" | bold_words | grep -qx "${command%% *}" ||
        fail "hwid(1) tells not of $command"
    help_options "$command" | comm -13 "$T/common" - > "$T/help"
    page_options "$command" > "$T/page"
    diff "$T/help" "$T/page" > "$T/diff" ||
        fail "$command: in its --help <, in the page >: $(cat "$T/diff")"
    COUNT=$((COUNT + $(wc -l < "$T/help")))
done < "$T/commands"
[ $COUNT -ge 50 ] || fail "only $COUNT options were seen"
