#!/bin/sh
# Tells a phase from an agent's hook, whose exit code must be 0 and whose stdout is the job's log.
#
#     tell-phase.sh PHASE [FLAGS of runner-vitals phase...]
#
# Settings are those of the hook's environment, and of /etc/runner-vitals.env, which agents that keep their environment from hooks cannot
# take away. Where the lines go to stdout, that is the log of PID 1: the container's. On a machine without containers set a sink.
if [ -r "${RUNNER_VITALS_ENV_FILE:-/etc/runner-vitals.env}" ]; then
    set -a
    # shellcheck disable=SC1090,SC1091 # it is the machine's
    . "${RUNNER_VITALS_ENV_FILE:-/etc/runner-vitals.env}"
    set +a
fi
stdout=${RUNNER_VITALS_STDOUT:-/proc/1/fd/1}
[ -w "$stdout" ] || stdout=/dev/null
"${RUNNER_VITALS_BIN:-/usr/local/bin/runner-vitals}" phase "$@" </dev/null >>"$stdout" 2>/dev/null
exit 0
