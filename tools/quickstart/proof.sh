# shellcheck shell=bash
# That the key did not leave. Sourced by quickstart.sh.
#
# The token's answers are one half. The other is memory: a key that cannot leave cannot be searched
# for, so a twin of it that may leave does the same work, and its private values are searched for.

step_proof_of_refusal() {
    step "Proof: the token gives the key to nobody"
    say "pkcs11-tool, as a user would try:"
    local tool=(pkcs11-tool --module "$SOFTHSM" --token-label "$TOKEN" --login --pin "$PIN"
        --read-object --type privkey --label mqtt-mtls-key-rsa --output-file "$WORK/stolen.der")
    show_command "${tool[@]}"
    indented "${tool[@]}" || true
    [ ! -s "$WORK/stolen.der" ] || fail "pkcs11-tool read the private key"
    say "Refused. Now every way that PKCS#11 knows, with the certificate that stands on the token:"
    must run hwid verify "$SOFTHSM_KEY" --cert "$SOFTHSM_KEY" --html "$WORK/device-key.html"
    must run hwid verify hwid://peer
    say "And every way that a TPM knows:"
    must run hwid verify "$TPM_KEY" --cert "$WORK/device.pem"
    say "The control: a twin that was made extractable must fail the same test."
    must run "$PROVE" make-twin "$SOFTHSM" "$TOKEN" "$WORK/dev/pin" twin
    if run hwid verify hwid://twin; then
        fail "the test sees no difference between a key that may leave and one that may not"
    fi
    good "PROVEN: the token refuses for its keys what it allows for the twin."
}

# A core of a process with all of its memory, also what it marked as not to be dumped.
take_core() { # PID NAME: sets CORE; false, with the reason in CORE_FAILURE, where that is impossible
    CORE=$RUN/$2.$1
    local log=$RUN/gcore.log gcore=(env DEBUGINFOD_URLS= gcore -a -o "$RUN/$2" "$1")
    show_command gcore -a -o "$RUN/$2" "$1"
    if ! command -v gcore > /dev/null; then
        CORE_FAILURE='gcore (package gdb) is not installed'
        return 1
    fi
    if ! "${gcore[@]}" > "$log" 2>&1 || [ ! -s "$CORE" ]; then
        # shellcheck disable=SC2024  # the log is ours
        # Yama lets only root look into a process that is no child.
        if [ "$(id -u)" != 0 ] && sudo -n true 2> /dev/null &&
            sudo -n "${gcore[@]}" > "$log" 2>&1 && [ -s "$CORE" ]; then
            sudo -n chown "$(id -u)" "$CORE"
        else
            CORE_FAILURE="gcore cannot read the memory of process $1: $(tail -n 3 "$log" | xargs -0)"
            return 1
        fi
    fi
    say "    $(stat -c %s "$CORE") bytes"
}

unproven() { # MESSAGE
    UNPROVEN+=("$1")
    printf '%sNOT PROVEN:%s %s\n' "$RED" "$PLAIN" "$1"
}

search_twin() { # PATH...: 0 nothing found, 1 found
    local code=0
    run "$PROVE" search "$SOFTHSM" "$TOKEN" "$WORK/dev/pin" twin "$@" || code=$?
    [ $code -le 1 ] || fail "the search failed"
    return $code
}

# The search must find the values in a process that has them; else it would prove nothing.
memory_control() { # false where no core can be had
    say "The control: a process that did read the twin's values. The search must find them."
    show_command "$PROVE" hold "$SOFTHSM" "$TOKEN" "$WORK/dev/pin" twin
    start_daemon "$WORK/hold.out" "$WORK/hold.err" \
        "$PROVE" hold "$SOFTHSM" "$TOKEN" "$WORK/dev/pin" twin
    local pid=$DAEMON_PID found=no
    wait_for 20 text_or_gone "$WORK/hold.out" holding "$pid" || true
    if ! take_core "$pid" control; then
        stop_daemon "$pid"
        return 1
    fi
    stop_daemon "$pid"
    search_twin "$CORE" || found=yes
    rm -f "$CORE"
    [ $found = yes ] || fail "the search does not find what is there"
}

# A core of hwid-request while it is connected with the twin's key, waiting for an answer; then the
# answer. Sets MEMORY to "clean" or "found"; false where no core can be had.
examine_requester() { # NAME MODULE
    local pid had_core=yes softhsm_inside=no
    write_openssl_conf "$WORK/$1.cnf" "$SOFTHSM_KEY" "$2"
    show_command env OPENSSL_CONF="$WORK/$1.cnf" "$REQUEST_PROGRAM" --config "$WORK/twin.conf" \
        --topic "$TOPIC/req" --message "$REQUEST" --timeout 120
    : > "$WORK/broker.log"
    start_daemon "$WORK/twin.out" "$WORK/twin.err" env OPENSSL_CONF="$WORK/$1.cnf" \
        "$REQUEST_PROGRAM" --config "$WORK/twin.conf" --topic "$TOPIC/req" \
        --message "$REQUEST" --timeout 120
    pid=$DAEMON_PID
    # The broker has the request: now the requester is connected, and waits.
    if ! wait_for 30 text_or_gone "$WORK/broker.log" "Received PUBLISH from $CLIENT-twin" "$pid" ||
        is_gone "$pid"; then
        fail "hwid-request did not send its request: $(cat "$WORK/twin.err"); the broker said:
$(tail -n 20 "$WORK/broker.log")"
    fi
    if grep -q libsofthsm2 "/proc/$pid/maps"; then softhsm_inside=yes; fi
    take_core "$pid" "$1" || had_core=no
    must run "$PUBLISH" --config "$WORK/peer.conf" --topic "$TOPIC/resp" --message "$RESPONSE"
    reap "$pid"
    indented cat "$WORK/twin.out" "$WORK/twin.err"
    [ "$DAEMON_EXIT" = 0 ] || fail "hwid-request ended with $DAEMON_EXIT"
    [ "$(cat "$WORK/twin.out")" = "$RESPONSE" ] || fail "the answer is not the one that was sent"
    [ "$1" = in-process ] || [ $softhsm_inside = no ] ||
        fail "SoftHSM is loaded in the process that must not hold the token"
    [ $had_core = yes ] || return 1
    MEMORY=clean
    search_twin "$CORE" || MEMORY=found
    rm -f "$CORE"
}

# SoftHSM in a process of its own, reached through p11-kit: as far away as a chip is.
start_token_process() {
    local socket=$RUN/p11-kit
    show_command p11-kit server --foreground --provider "$SOFTHSM" --name "$socket" \
        "pkcs11:token=$TOKEN"
    start_daemon "$WORK/p11-kit.out" "$WORK/p11-kit.err" p11-kit server --foreground \
        --provider "$SOFTHSM" --name "$socket" "pkcs11:token=$TOKEN"
    TOKEN_PROCESS=$DAEMON_PID
    wait_for 15 test -S "$socket" || fail "p11-kit server does not start: $(cat "$WORK/p11-kit.err")"
    set_variable P11_KIT_SERVER_ADDRESS "unix:path=$socket"
}

step_proof_of_memory() {
    step "Proof: the key is not in the memory of the program, nor in its files"
    certificate_of twin
    write_device_conf twin "$CLIENT-twin"
    if ! memory_control; then
        unproven "$CORE_FAILURE. So nothing is said about memory; run this as root, in a machine \
or container that allows ptrace."
        return
    fi
    say
    say "SoftHSM inside the publishing process, connected with the twin's key:"
    examine_requester in-process "$SOFTHSM" || fail "$CORE_FAILURE"
    local in_process=$MEMORY
    say
    say "The token in a process of its own (as a chip or an HSM is), reached through p11-kit:"
    start_token_process
    examine_requester remote "$P11_CLIENT" || fail "$CORE_FAILURE"
    stop_daemon "$TOKEN_PROCESS"
    unset P11_KIT_SERVER_ADDRESS
    say
    say "All files of the work directory, but for SoftHSM's own, which holds the key encrypted:"
    search_twin "$WORK" --except "$WORK/dev/tokens" || fail "the twin's private values are in a file"
    [ "$MEMORY" = clean ] || fail "the twin's private values are in a process that has no token"
    good "PROVEN: the twin's private values are in no file and not in the publishing process."
    if [ "$in_process" = clean ]; then
        say "With SoftHSM inside the process: not there either while it was connected. SoftHSM is"
        say "software, so while it signs they are; a chip or an HSM never shows them."
    else
        printf '%sNOT PROVEN%s %s\n' "$RED" "$PLAIN" \
            "with SoftHSM inside the process: SoftHSM is software and signs there, so its"
        say "memory shows the twin. A token in another process, a chip or an HSM does not."
    fi
}
