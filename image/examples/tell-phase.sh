#!/bin/sh
# Tells a phase from an agent's hook, whose exit code must be 0 and whose stdout is the job's log.
#
#     tell-phase.sh PHASE [FLAGS of runner-vitals phase...]
#
# Settings are those of the hook's environment, and of /etc/runner-vitals.env, which agents that keep their environment from hooks cannot
# take away. Where the lines go to stdout, that is the log of PID 1: the container's. On a machine without containers set a sink.

# Read, not run: for systemd it is a file of settings (EnvironmentFile=), where a blank, a `$` or a quote is nothing of the shell's, and a
# mistake in it is not to fail the job.
env_file=${RUNNER_VITALS_ENV_FILE:-/etc/runner-vitals.env}
if [ -f "$env_file" ] && [ -r "$env_file" ]; then
    while IFS= read -r line || [ -n "$line" ]; do
        name=${line%%=*}
        value=${line#*=}
        case $name in
        "$line" | *[!A-Za-z0-9_]*) continue ;;
        RUNNER_* | TUIST_* | SSL_CERT_* | *_PROXY | *_proxy) ;;
        *) continue ;;
        esac
        value=${value%"${value##*[![:space:]]}"}
        case $value in
        \"*\") value=${value#\"} value=${value%\"} ;;
        \'*\') value=${value#\'} value=${value%\'} ;;
        esac
        export "$name=$value"
    done <"$env_file"
fi
stdout=${RUNNER_VITALS_STDOUT:-/proc/1/fd/1}
[ -w "$stdout" ] || stdout=/dev/null
"${RUNNER_VITALS_BIN:-/usr/local/bin/runner-vitals}" phase "$@" </dev/null >>"$stdout" 2>/dev/null
exit 0
