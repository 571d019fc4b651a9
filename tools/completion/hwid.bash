# shellcheck shell=bash
# Bash's completion of hwid. What can follow is known to hwid itself: `hwid complete`.

_hwid() {
    local line=${COMP_LINE:0:COMP_POINT} words current breaks before
    read -ra words <<< "$line"
    case $line in *[[:space:]]) words+=('') ;; esac
    current=${words[-1]}
    words[-1]=${current#[\"\']}
    mapfile -t COMPREPLY < <("${words[0]}" complete -- "${words[@]:1}" 2> /dev/null)
    if [[ ${COMPREPLY[*]} = *:files ]]; then
        unset 'COMPREPLY[-1]'
        compopt -o default 2> /dev/null || :
    fi
    case ${COMPREPLY[0]:-} in *[:=]) compopt -o nospace 2> /dev/null || : ;; esac
    # Readline keeps what is before a colon (COMP_WORDBREAKS), but not in quotes.
    breaks=${COMP_WORDBREAKS//[^:=]/}
    if [ "$current" = "${words[-1]}" ] && [ -n "$breaks" ]; then
        before=${current%"${current##*["$breaks"]}"}
        COMPREPLY=("${COMPREPLY[@]#"$before"}")
    fi
}
complete -F _hwid hwid
