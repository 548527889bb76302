#!/bin/bash -p
# Runs a CI runner on macOS with the probe beside it.
#
#     run-job.sh RUNNER [ARGS...]          e.g.  run-job.sh ./run.sh --jitconfig "$JIT_CONFIG"
#
# The runner takes the place of this script: same pid, arguments, environment (and PWD and SHLVL, which bash adds),
# descriptors, signals and exit code. The probe is no child of it, and ends with it by itself. Whatever is wrong with the
# probe, the job runs.
#
#     RUNNER_VITALS=off     no probe (also: 0, false, no)
#     RUNNER_VITALS_BIN     the probe's path, when it is not /usr/local/bin/runner-vitals
#     RUNNER_VITALS_...     the probe's own settings; it reads them itself
#
# For the bash 3.2 of macOS. `-p` keeps the runner's BASH_ENV, SHELLOPTS and exported functions out of this shell and still
# hands them on.

main() {
    if (($# == 0)); then
        echo "usage: run-job.sh RUNNER [ARGS...]" >&2
        return 64
    fi
    wanted && start_probe "${RUNNER_VITALS_BIN:-/usr/local/bin/runner-vitals}"
    exec -- "$@"
}

wanted() {
    case ${RUNNER_VITALS-} in
    [Oo][Ff][Ff] | 0 | [Ff][Aa][Ll][Ss][Ee] | [Nn][Oo]) return 1 ;;
    esac
}

# In a process group of its own: when the runner is a launchd job, launchd ends what is left of its group with it, and the
# last lines are still to be sent. Two processes deep: the runner has no child that it did not start.
start_probe() {
    if [[ ! -f $1 || ! -x $1 ]]; then
        echo "run-job.sh: no probe for this job: $1 is missing or not executable" >&2
        return
    fi
    (
        set -m
        (
            unset RUNNER_TRACKING_ID # after the job, actions/runner kills what carries it
            export RUNNER_VITALS_EXIT_WITH="${RUNNER_VITALS_EXIT_WITH:-$$}"
            exec -- "$1" </dev/null 2>/dev/null
        ) &
    ) 2>/dev/null
}

main "$@"
