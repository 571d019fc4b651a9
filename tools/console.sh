# shellcheck shell=bash
# What the scripts print. Sourced. Plain text; colours only on a terminal.

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
    BOLD='' RED='' GREEN='' PLAIN=''
fi
STEP_NUMBER=0
STEP_NAME='the start'

say() { printf '%s\n' "$*"; }
good() { printf '%s%s%s\n' "$GREEN" "$*" "$PLAIN"; }

step() { # NAME: a new numbered step
    STEP_NUMBER=$((STEP_NUMBER + 1))
    STEP_NAME=$*
    printf '\n%s%d. %s%s\n' "$BOLD" "$STEP_NUMBER" "$*" "$PLAIN"
}

fail() { # MESSAGE...: ends the script
    printf '\n%sFAILED in "%s":%s %s\n' "$RED" "$STEP_NAME" "$PLAIN" "$*" >&2
    exit 1
}

# ctest names what was skipped, and does not say why.
why_skipped() { # BUILD
    grep -hE '^SKIPPED: |MESSAGE: skipped: ' "$1/Testing/Temporary/LastTest.log" || true
}

# The command as it could be typed.
show_command() {
    local word text='' quote="'"
    for word in "$@"; do
        case $word in
            *[!A-Za-z0-9_@%+=:,./-]* | '') text+=" '${word//$quote/$quote\\$quote$quote}'" ;;
            *) text+=" $word" ;;
        esac
    done
    printf '$%s\n' "$text"
}

# Shows a command, runs it, and shows what it printed, indented. Fails as the command does.
run() { # COMMAND...
    show_command "$@"
    indented "$@"
}
indented() { # COMMAND...
    "$@" < /dev/null 2>&1 | sed 's/^/    /'
    return "${PIPESTATUS[0]}"
}

# Runs what prints much. Its output is shown only if it fails (or with VERBOSE=yes).
attempt_quietly() { # WHAT COMMAND...
    local what=$1 log code=0
    shift
    if [ "${VERBOSE:-no}" = yes ]; then
        "$@" < /dev/null
        return
    fi
    log=$(mktemp)
    "$@" < /dev/null > "$log" 2>&1 || code=$?
    if [ $code != 0 ]; then
        say "$what failed (exit code $code):"
        tail -n 60 "$log"
    fi
    rm -f "$log"
    return $code
}
attempt() { # WHAT COMMAND...: the same, and ends the script
    attempt_quietly "$@" || fail "$1: see above"
}
