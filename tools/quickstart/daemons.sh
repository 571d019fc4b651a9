# shellcheck shell=bash
# Programs that run beside us. Sourced by quickstart.sh. Each ends by its pid, whatever happens.

DAEMONS=()
DAEMON_PID='' DAEMON_EXIT=0

start_daemon() { # OUT ERR COMMAND...: sets DAEMON_PID
    local out=$1 err=$2
    shift 2
    : > "$err"
    # Appending, so that a log may be emptied while it is written.
    "$@" > "$out" 2>> "$err" < /dev/null &
    DAEMON_PID=$!
    DAEMONS+=("$DAEMON_PID")
}

is_gone() { ! kill -0 "$1" 2> /dev/null; } # PID

wait_for() { # SECONDS COMMAND...: until it succeeds; false at the deadline
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        if [ "$SECONDS" -ge "$end" ]; then return 1; fi
        sleep 0.05
    done
}

text_or_gone() { # FILE TEXT PID
    grep -qF -- "$2" "$1" || is_gone "$3"
}

reap() { # PID: waits until it ends; sets DAEMON_EXIT
    DAEMON_EXIT=0
    # shellcheck disable=SC2034  # for the caller
    wait "$1" || DAEMON_EXIT=$?
    forget "$1"
}

forget() { # PID
    local left=() other
    for other in "${DAEMONS[@]}"; do
        if [ "$other" != "$1" ]; then left+=("$other"); fi
    done
    DAEMONS=("${left[@]}")
}

stop_daemon() { # PID
    kill "$1" 2> /dev/null || true
    if ! wait_for 5 is_gone "$1"; then kill -KILL "$1" 2> /dev/null || true; fi
    wait "$1" 2> /dev/null || true
    forget "$1"
}

stop_all() {
    local pid
    for pid in "${DAEMONS[@]}"; do stop_daemon "$pid"; done
    if [ -x "${WORK:-}/tpm/stop" ]; then "$WORK/tpm/stop"; fi
}

port_answers() { # PORT
    (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null
}

start_broker() { # sets PORT; tries another port where somebody else was faster
    local try
    for try in 1 2 3 4 5; do
        PORT=$((20000 + SRANDOM % 12000)) # below what the kernel gives to clients
        if port_answers "$PORT"; then continue; fi
        write_mosquitto_conf
        start_daemon "$WORK/broker.out" "$WORK/broker.log" \
            mosquitto -c "$WORK/mosquitto.conf"
        wait_for 15 broker_answers_or_gone "$DAEMON_PID" || true
        if ! is_gone "$DAEMON_PID" && port_answers "$PORT"; then
            must run cat "$WORK/mosquitto.conf"
            show_command mosquitto -c "$WORK/mosquitto.conf"
            say "    answers on port $PORT, pid $DAEMON_PID"
            write_device_conf device "$CLIENT"
            write_device_conf peer "$CLIENT-peer"
            return
        fi
        stop_daemon "$DAEMON_PID"
        say "    try $try on port $PORT: $(tail -n 2 "$WORK/broker.log" | xargs)"
    done
    fail "mosquitto does not start; what it said is above"
}
broker_answers_or_gone() { port_answers "$PORT" || is_gone "$1"; }
