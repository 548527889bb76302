#!/bin/bash -p
# Runs a CI runner with the probe beside it. Often the ENTRYPOINT of a runner image, and then PID 1.
#
#     run-job.sh RUNNER [ARGS...]          e.g.  run-job.sh ./run.sh --jitconfig "$JIT_CONFIG"
#
# The runner gets what it would get without this script: arguments, environment (and PWD, which bash adds), stdin, stdout, stderr, signals;
# and its exit code is ours. Whatever is wrong with the probe, the job runs.
#
#     RUNNER_VITALS=off     no probe (also: 0, false, no)
#     RUNNER_VITALS_BIN     the probe's path, when it is not /usr/local/bin/runner-vitals
#     RUNNER_VITALS_...     the probe's own settings; it reads them itself
#
# `-p` keeps the runner's BASH_ENV, SHELLOPTS and exported functions out of this shell and still hands them on.

# A name that no environment has: an assignment to one that it has would change what the runner gets.
vitals_probe=''

main() {
    if (($# == 0)); then
        echo "usage: run-job.sh RUNNER [ARGS...]" >&2
        return 64
    fi

    # Until the runner is started a signal means that it need not be; the probe ends with this process.
    trap 'exit 143' TERM
    trap 'exit 130' INT
    trap 'exit 129' HUP
    trap 'exit 131' QUIT
    trap 'exit 138' USR1
    trap 'exit 140' USR2
    wanted && start_probe
    trap 'forward TERM' TERM
    trap 'forward INT' INT
    trap 'forward HUP' HUP
    trap 'forward QUIT' QUIT
    trap 'forward USR1' USR1
    trap 'forward USR2' USR2
    # Where there is no process to be had for the runner bash gives up, and the probe is what has taken the last one.
    trap 'take_place "$@"' EXIT
    start_runner "$@"
    trap - EXIT
    exec 2>/dev/null # bash itself has nothing to say from here on, such as "Killed"

    # A signal ends `wait` early. Asked again, it waits on, or tells the status it told before.
    while
        signalled='' status=0
        wait "$!" || status=$?
        [[ $signalled ]] && ! forgotten
    do :; done

    # Nothing is left to forward to, and a second SIGTERM must not cost the exit code.
    trap '' TERM INT HUP QUIT USR1 USR2
    [[ -z $vitals_probe ]] || stop_probe
    return "$status"
}

wanted() {
    case ${RUNNER_VITALS-} in
    [Oo][Ff][Ff] | 0 | [Ff][Aa][Ll][Ss][Ee] | [Nn][Oo]) return 1 ;;
    esac
}

# The probe becomes job %1. Its settings come from the environment alone: there a wrong one costs a warning, on the
# command line it would cost the probe. Its stderr goes nowhere, for bash writes "Exec format error" to it.
start_probe() {
    local path=${RUNNER_VITALS_BIN:-/usr/local/bin/runner-vitals}
    if [[ ! -f $path || ! -x $path ]]; then
        echo "run-job.sh: no probe for this job: $path is missing or not executable" >&2
        return
    fi
    (
        unset RUNNER_TRACKING_ID # after the job, actions/runner kills what carries it
        export RUNNER_VITALS_EXIT_WITH="${RUNNER_VITALS_EXIT_WITH:-$$}"
        exec -- "$path" </dev/null 2>/dev/null
    ) &
    vitals_probe=$!
}

# To a command with `&` bash gives /dev/null for stdin and ignores SIGINT and SIGQUIT. A runner needs all three.
start_runner() {
    # bash 4.2 cannot take an ignored SIGINT back; with job control, which costs a process group, it never ignores it.
    [[ $BASH_VERSION != 4.2.* ]] || set -m
    (
        trap - INT QUIT
        ((BASH_VERSINFO[0] < 5 || --SHLVL)) || unset SHLVL # bash 4 does that by itself in `exec`
        exec -- "$@"
    ) <&0 &
    set +m
}

# The runner in the place of this shell.
take_place() {
    [[ -z $vitals_probe ]] || kill -s KILL %1
    trap - TERM INT HUP QUIT USR1 USR2
    exec -- "$@"
}

# The runner is $! and not a variable of ours, since that changes in the same moment as the runner starts.
forward() {
    if [[ ${!-} == "$vitals_probe" ]]; then
        trap - EXIT
        exit $((128 + $(kill -l "$1"))) # not started yet, and now it need not be
    fi
    signalled=yes
    kill -s "$1" "$!"
}

# A runner that ends in the moment in which a signal ends `wait` is reaped, but for bash it runs for ever, and so would
# the next `wait`. Its exit code is gone; what `wait` made of the signal, 143 for SIGTERM, has to do.
forgotten() {
    [[ ! -d /proc/$! ]] && ! kill -s 0 "$!" && [[ $'\n'$(jobs -pr)$'\n' == *$'\n'"$!"$'\n'* ]]
}

# Whether SIGTERM does not just end the probe: bit 14 of the signals that it blocks or catches, once it is itself and
# not the copy of this shell that it begins as.
listens() {
    local key mask name=''
    read -r name <"/proc/$$/comm"
    while read -r key mask; do
        [[ $key != Name: || $mask != "$name" ]] || return 1
        [[ $key != Sig[BC]?[kt]: || $mask != *[4-7c-f]??? ]] || return 0
    done <"/proc/$vitals_probe/status"
    return 1
}

# When PID 1 ends the kernel kills all that is left. So the probe is told first, and has half a second for its last
# lines, where they go by network two seconds more. Signals go to %1: bash knows whether that is still the probe, while its pid may be another's by now. The
# check may go by pid: at worst it makes us wait.
stop_probe() {
    local nap naps=25 told='' silence=''
    [[ -z ${RUNNER_VITALS_SINK-}${RUNNER_VITALS_URL-} ]] || naps=125
    # A pipe to nap on without a process for each nap. It ends by itself, because `read -t` of bash before 5.2 can miss
    # its alarm and then sleeps for good. Through eval: in posix mode bash before 5.1 cannot parse it, and runs no job.
    shopt -qo posix || eval 'exec {silence}< <(exec sleep $((naps / 50)).5)'
    for ((nap = 0; nap < naps; nap++)); do
        kill -s 0 "$vitals_probe" || return
        # Before it listens it would die of the signal without a word, as when the runner ended at once.
        if [[ ! $told ]] && { listens || ((nap > 12)); }; then
            told=yes
            kill -s TERM %1
        fi
        read -r -t 0.02 -u "$silence"
        (($? > 128)) || sleep 0.02 # no pipe, or the end of it
    done
    kill -s KILL %1
}

main "$@"
