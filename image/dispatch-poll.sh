#!/bin/bash -p
# Asks a dispatcher for a job, and has run-job.sh run it. For runners that are handed their job, in place of run-job.sh as the
# ENTRYPOINT; with run-job.sh beside it.
#
#     dispatch-poll.sh RUNNER [ARGS...]          e.g.  dispatch-poll.sh ./run.sh
#
# A poll is a POST of {} with the bearer token. 200: there is a job, and the body is what the runner needs. 204: none yet. 410: end,
# as when the image is an old one. 401: the token is read anew, as it is before each poll. Anything else, and no answer: try again.
# After 204 and after a failure it waits, longer each time, and never as long as another runner. There is one poll at a time.
#
# SIGTERM between jobs ends it with 0. A poll that is under way is waited for: it may have taken a job. From then on signals go to
# the job. When that has ended its exit code is ours.
#
#     RUNNER_DISPATCH_URL            or TUIST_RUNNER_DISPATCH_URL: where to ask
#     RUNNER_DISPATCH_TOKEN_FILE     or TUIST_RUNNER_SA_TOKEN_PATH: file with the token [the service account's; macOS /etc/tuist-sa-token]
#     RUNNER_DISPATCH_JOB_ENV        NAME=key ...: variables that the runner gets strings of the body's JSON in; with NAME=key! there is no
#                                    job without it [ACTIONS_RUNNER_INPUT_JITCONFIG=encoded_jit_config]
#     RUNNER_DISPATCH_JOBS           end after so many jobs; 0: not before a drain [1]
#     RUNNER_DISPATCH_HEARTBEAT      seconds: tell `ready` again that often while it waits [never]
#     RUNNER_DISPATCH_WAIT           seconds: the first wait, doubled from then on [1]
#     RUNNER_DISPATCH_WAIT_MAX       seconds: the longest wait after 204 [10]
#     RUNNER_DISPATCH_ERROR_MAX      seconds: the longest wait after a failure [30]
#     RUNNER_DISPATCH_TIMEOUT        seconds: a poll takes no longer [30]
#     RUNNER_DISPATCH_OUTCOME_HEADER header of a 204 that says why: empty, lost_race, pod_in_use [X-Dispatch-Outcome]
#     RUNNER_DISPATCH_QUEUED_HEADER  header of a 200 that says when the job was queued; else queued_at of the body [X-Job-Queued-At]
#     RUNNER_DISPATCH_LAUNCHER       what starts the job [run-job.sh beside this script]
#     RUNNER_VITALS, RUNNER_VITALS_BIN, RUNNER_VITALS_...   as for run-job.sh; the phases go where the probe's lines go
#
# The runner gets all it would get without this script, and RUNNER_DISPATCH_JOB: a file with the body, there until the job ends.
#
# It needs bash (3.2 will do), curl, and mktemp, rm and sleep of any make. `-p` as in run-job.sh. All names begin with dispatch_: an
# assignment to a name that the environment has would change what the runner gets.

dispatch_outcomes='served no_work empty lost_race pod_in_use drain error'
# shellcheck disable=SC2034 # counted and read by their names
dispatch_served=0 dispatch_no_work=0 dispatch_empty=0 dispatch_lost_race=0 dispatch_pod_in_use=0 dispatch_drain=0 dispatch_error=0
dispatch_poll_sum=0 dispatch_poll_max=0
dispatch_probe='' dispatch_teller='' dispatch_dir='' dispatch_token='' dispatch_said='' dispatch_failed=''
dispatch_wait='' dispatch_wait_for=''
dispatch_job=0 dispatch_code=0 dispatch_ready='' dispatch_beat=''
# A signal for us, and one for the job, which ends us with it.
dispatch_heard='' dispatch_ending='' dispatch_signalled=''
# What $! was before the job; `polling` while there is none.
dispatch_before=polling

main() {
    if (($# == 0)); then
        echo "usage: dispatch-poll.sh RUNNER [ARGS...]" >&2
        return 64
    fi
    for dispatch_name in TERM INT HUP QUIT USR1 USR2; do
        # shellcheck disable=SC2064 # the name is meant as it is now
        trap "hear $dispatch_name" "$dispatch_name"
    done
    settle_settings && find_programs "$1" || return
    trap 'rm -rf -- "$dispatch_dir"' EXIT
    dispatch_dir=$(mktemp -d "${TMPDIR:-/tmp}/dispatch.XXXXXX") || return 73
    tell warming
    if take_jobs "$@"; then
        tell ended # without a job
        dispatch_code=0
    fi
    trap '' TERM INT HUP QUIT USR1 USR2
    await_tellers
    return "$dispatch_code"
}

# Polls, and has jobs run. Fails when the end of a job is the end of all.
take_jobs() {
    while [[ ! $dispatch_heard ]]; do
        poll
        case $dispatch_outcome in
        served)
            be_ready
            run_job "$@"
            [[ ! $dispatch_ending ]] && ((dispatch_job != dispatch_jobs)) || return 1
            ;;
        drain)
            say "the dispatcher wants this runner to end"
            return
            ;;
        error)
            # Who was ready still is, and says so.
            [[ ! $dispatch_ready ]] || be_ready
            back_off error "$dispatch_error_max_ms"
            ;;
        *)
            be_ready
            back_off idle "$dispatch_wait_max_ms"
            ;;
        esac
    done
    return 0
}

say() {
    echo "dispatch-poll.sh: $1" >&2
}

# Settings.

settle_settings() {
    dispatch_url=${RUNNER_DISPATCH_URL:-${TUIST_RUNNER_DISPATCH_URL-}}
    if [[ ! $dispatch_url =~ ^[Hh][Tt][Tt][Pp][Ss]?://[^[:space:][:cntrl:]]+$ ]]; then
        say "RUNNER_DISPATCH_URL is no http or https URL"
        return 64
    fi
    local dispatch_usual=/var/run/secrets/kubernetes.io/serviceaccount/token
    [[ $OSTYPE == darwin* ]] && dispatch_usual=/etc/tuist-sa-token
    dispatch_token_file=${RUNNER_DISPATCH_TOKEN_FILE:-${TUIST_RUNNER_SA_TOKEN_PATH:-$dispatch_usual}}
    dispatch_outcome_header=${RUNNER_DISPATCH_OUTCOME_HEADER:-X-Dispatch-Outcome}
    dispatch_queued_header=${RUNNER_DISPATCH_QUEUED_HEADER:-X-Job-Queued-At}
    dispatch_job_env=${RUNNER_DISPATCH_JOB_ENV-ACTIONS_RUNNER_INPUT_JITCONFIG=encoded_jit_config}
    dispatch_jobs=${RUNNER_DISPATCH_JOBS:-1}
    if [[ ! $dispatch_jobs =~ ^[0-9]{1,9}$ ]]; then
        say "RUNNER_DISPATCH_JOBS is no number: 1 is used"
        dispatch_jobs=1
    fi
    dispatch_jobs=$((10#$dispatch_jobs))
    dispatch_wait_ms=$(setting WAIT 1)
    dispatch_wait_max_ms=$(setting WAIT_MAX 10)
    dispatch_error_max_ms=$(setting ERROR_MAX 30)
    dispatch_timeout_ms=$(setting TIMEOUT 30)
    dispatch_heartbeat_ms=$(setting HEARTBEAT 0)
    # A curl without a deadline could wait for ever, and a wait of nothing would be a storm.
    ((dispatch_timeout_ms > 0)) || dispatch_timeout_ms=30000
    ((dispatch_wait_ms > 0)) || dispatch_wait_ms=1
}

# What takes jobs and cannot start them would be worse than no runner.
find_programs() {
    local dispatch_beside=.
    [[ ${BASH_SOURCE[0]} != */* ]] || dispatch_beside=${BASH_SOURCE[0]%/*}
    dispatch_launcher=${RUNNER_DISPATCH_LAUNCHER:-$dispatch_beside/run-job.sh}
    for dispatch_name in curl "$dispatch_launcher" "$1"; do
        if ! type -P -- "$dispatch_name" >/dev/null; then
            say "there is no program $dispatch_name"
            return 69
        fi
    done
    case ${RUNNER_VITALS-} in
    [Oo][Ff][Ff] | 0 | [Ff][Aa][Ll][Ss][Ee] | [Nn][Oo]) return 0 ;;
    esac
    dispatch_probe=${RUNNER_VITALS_BIN:-/usr/local/bin/runner-vitals}
    if [[ ! -f $dispatch_probe || ! -x $dispatch_probe ]]; then
        say "no phases are told: $dispatch_probe is missing or not executable"
        dispatch_probe=''
    fi
}

# RUNNER_DISPATCH_$1 in milliseconds; $2 where it is not set, or no number of seconds.
setting() {
    local dispatch_name=RUNNER_DISPATCH_$1
    local dispatch_value=${!dispatch_name:-$2}
    if [[ ! $dispatch_value =~ ^[0-9]{1,6}(\.[0-9]{1,9})?$ ]]; then
        say "$dispatch_name is no number of seconds: $2 is used"
        dispatch_value=$2
    fi
    milliseconds "$dispatch_value"
    echo "$dispatch_ms"
}

# Seconds as a decimal number, into dispatch_ms.
milliseconds() {
    local dispatch_seconds=${1/,/.}
    local dispatch_part=000
    [[ $dispatch_seconds != *.* ]] || dispatch_part=${dispatch_seconds#*.}000
    dispatch_ms=$((10#${dispatch_seconds%%.*} * 1000 + 10#${dispatch_part:0:3}))
}

# Time since boot where that is told, else since this script began, into dispatch_now; no clock that can be set.
clock() {
    local dispatch_uptime=''
    { read -r dispatch_uptime _ </proc/uptime; } 2>/dev/null
    if [[ $dispatch_uptime =~ ^[0-9]+\.[0-9]+$ ]]; then
        milliseconds "$dispatch_uptime"
        dispatch_now=$dispatch_ms
    else
        dispatch_now=$((SECONDS * 1000))
    fi
}

# Signals: to the job where there is one, which then is $! and no longer what $! was before; else they are remembered.
hear() {
    if [[ $dispatch_before != polling && ${!-} != "$dispatch_before" ]]; then
        dispatch_signalled=yes
        [[ $1 == USR? ]] || dispatch_ending=$1
        kill -s "$1" "$!"
    elif [[ $1 != USR? ]]; then
        dispatch_heard=$1
    fi
} 2>/dev/null

# The poll.

# Asks once. What came of it is in dispatch_outcome, and counted.
poll() {
    local dispatch_status dispatch_took
    dispatch_outcome=error
    # The last answer's headers are not this one's.
    : >"$dispatch_dir/head"
    if read_token; then
        ask
        if [[ $dispatch_status == 401 ]]; then
            local dispatch_refused=$dispatch_token
            # Once, and only where there is a new one: whoever refuses that too is waited for.
            if read_token && [[ $dispatch_token != "$dispatch_refused" ]]; then
                count error
                ask
            fi
        fi
        case $dispatch_status in
        200) if take_job; then dispatch_outcome=served; fi ;;
        204) why_not ;;
        410) dispatch_outcome=drain ;;
        000) say_once "the dispatcher gives no answer: $(why_none)" ;;
        *) say_once "the dispatcher answers $dispatch_status" ;;
        esac
    elif [[ ! -e $dispatch_token_file ]]; then
        say_once "no token in $dispatch_token_file: it is not there"
    elif [[ ! -f $dispatch_token_file || ! -r $dispatch_token_file ]]; then
        say_once "no token in $dispatch_token_file: it is not to be read"
    else
        say_once "no token in $dispatch_token_file: a token is one word of visible ASCII"
    fi
    [[ $dispatch_outcome == error ]] || dispatch_said=''
    count "$dispatch_outcome"
}

# One request. The status is 000 when there is no whole answer. URL and token go to curl by a pipe, so that no list of processes has them.
ask() {
    local dispatch_answer
    : >"$dispatch_dir/head"
    : >"$dispatch_dir/body"
    printf -v dispatch_took '%d.%03d' $((dispatch_timeout_ms / 1000)) $((dispatch_timeout_ms % 1000))
    dispatch_answer=$(
        printf 'url = "%s"\nheader = "Authorization: Bearer %s"\n' "$(quoted "$dispatch_url")" "$(quoted "$dispatch_token")" |
            curl --disable --silent --globoff --max-time "$dispatch_took" --max-filesize 1048576 \
                --header 'Content-Type: application/json' --data '{}' --output "$dispatch_dir/body" \
                --dump-header "$dispatch_dir/head" --write-out '%{http_code} %{time_total}' --config - 2>/dev/null ||
            echo " failed $?"
    )
    dispatch_status=${dispatch_answer%% *}
    dispatch_failed=''
    [[ $dispatch_answer != *failed* ]] || dispatch_failed=${dispatch_answer##* }
    [[ ! $dispatch_failed && $dispatch_status =~ ^[0-9]{3}$ ]] || dispatch_status=000
    dispatch_took=${dispatch_answer#* }
    dispatch_took=${dispatch_took%% *}
    dispatch_ms=0
    [[ ! $dispatch_took =~ ^[0-9]+[.,][0-9]+$ ]] || milliseconds "$dispatch_took"
    ((dispatch_poll_sum += dispatch_ms, dispatch_poll_max = dispatch_ms > dispatch_poll_max ? dispatch_ms : dispatch_poll_max))
}

# By curl's exit code: what it says itself could have the URL in it.
why_none() {
    local dispatch_why='curl fails'
    case $dispatch_failed in
    5 | 6) dispatch_why='its name is not found' ;;
    7) dispatch_why='nobody takes the connection' ;;
    23) dispatch_why="$dispatch_dir takes no more" ;;
    28) dispatch_why='not in time' ;;
    35 | 60 | 77) dispatch_why='TLS fails, as where nobody here knows who signed its certificate' ;;
    63) dispatch_why='over 1 MiB' ;;
    esac
    echo "$dispatch_why (curl: ${dispatch_failed:-?})"
}

# As curl wants a value in quotes.
quoted() {
    local dispatch_text=${1//\\/\\\\}
    printf %s "${dispatch_text//\"/\\\"}"
}

# A token is visible ASCII and nothing else, or it could be more than a header.
read_token() {
    dispatch_token=''
    [[ ! -f $dispatch_token_file ]] || { dispatch_token=$(<"$dispatch_token_file"); } 2>/dev/null
    dispatch_token=${dispatch_token#"${dispatch_token%%[![:space:]]*}"}
    dispatch_token=${dispatch_token%"${dispatch_token##*[![:space:]]}"}
    local LC_ALL=C
    [[ $dispatch_token && $dispatch_token != *[!\!-~]* ]]
}

count() {
    local dispatch_counter=dispatch_$1
    printf -v "$dispatch_counter" %d $((${!dispatch_counter} + 1))
}

# Not with every poll of an idle night.
say_once() {
    [[ $dispatch_said == "$1" ]] || say "$1"
    dispatch_said=$1
}

# The value of the last header of this name, into dispatch_value.
header() {
    local dispatch_line
    dispatch_value=''
    shopt -s nocasematch
    while IFS= read -r dispatch_line; do
        [[ ${dispatch_line%%:*} != "$1" ]] || dispatch_value=${dispatch_line#*:}
    done <"$dispatch_dir/head"
    shopt -u nocasematch
    dispatch_value=${dispatch_value%$'\r'}
    dispatch_value=${dispatch_value#"${dispatch_value%%[![:space:]]*}"}
}

# The first string of this name in the body's JSON, into dispatch_value. One with escapes in it, but for \/, is not understood.
json() {
    local dispatch_form="\"$1\"[[:space:]]*:[[:space:]]*\"(([^\"\\\\]|\\\\/)*)\""
    dispatch_value=''
    [[ $dispatch_body =~ $dispatch_form ]] || return
    dispatch_value=${BASH_REMATCH[1]//\\\//\/}
}

why_not() {
    header "$dispatch_outcome_header"
    case ${dispatch_value//-/_} in
    empty | lost_race | pod_in_use) dispatch_outcome=${dispatch_value//-/_} ;;
    *) dispatch_outcome=no_work ;;
    esac
}

# What the body gives the runner, into dispatch_variables. Fails where there is no job without one that it does not give.
take_job() {
    local dispatch_pair dispatch_key
    dispatch_body=$(<"$dispatch_dir/body")
    dispatch_variables=()
    for dispatch_pair in $dispatch_job_env; do
        dispatch_key=${dispatch_pair#*=}
        if [[ ! $dispatch_pair =~ ^[A-Za-z_][A-Za-z0-9_]*=[A-Za-z0-9_.-]+!?$ ]]; then
            say_once "RUNNER_DISPATCH_JOB_ENV has a word that is no NAME=key"
        elif json "${dispatch_key%!}"; then
            dispatch_variables+=("${dispatch_pair%%=*}=$dispatch_value")
        elif [[ $dispatch_key == *! ]]; then
            say_once "a job without ${dispatch_key%!}"
            return 1
        fi
    done
    header Date
    dispatch_date=$dispatch_value
    header "$dispatch_queued_header"
    [[ $dispatch_value ]] || json queued_at
    dispatch_queued=$dispatch_value
    dispatch_body=''
}

# The wait.

# Waits for something from half of the time to all of it, where the time is doubled while the reason stays the same. A server that
# asks for more gets it, within the limit.
back_off() {
    [[ ! $dispatch_heard ]] || return
    [[ $dispatch_wait_for == "$1" ]] && ((dispatch_wait *= 2)) || dispatch_wait=$dispatch_wait_ms
    dispatch_wait_for=$1
    ((dispatch_wait <= $2)) || dispatch_wait=$2
    local dispatch_half=$((dispatch_wait / 2)) dispatch_asked=''
    dispatch_ms=$((dispatch_wait - dispatch_half + (RANDOM << 15 | RANDOM) % (dispatch_half + 1)))
    header Retry-After
    [[ ! $dispatch_value =~ ^[0-9]{1,6}$ ]] || dispatch_asked=$((10#$dispatch_value * 1000))
    ((dispatch_asked <= dispatch_ms)) || dispatch_ms=$((dispatch_asked < $2 ? dispatch_asked : $2))
    nap "$dispatch_ms"
}

# A signal ends it, within half a second: it is heard between two commands. `wait` would hear it at once; but interrupted by several it can
# lose one for good, or wait for what has ended.
nap() {
    local dispatch_left=$1 dispatch_part dispatch_time
    while [[ ! $dispatch_heard ]] && ((dispatch_left > 0)); do
        ((dispatch_part = dispatch_left < 500 ? dispatch_left : 500, dispatch_left -= dispatch_part))
        printf -v dispatch_time '0.%03d' "$dispatch_part"
        sleep "$dispatch_time"
    done
}

# The phases. The probe's command writes each by itself; nothing waits for it, least of all the job.

tell() {
    [[ $dispatch_probe ]] || return 0
    local dispatch_name dispatch_counter dispatch_arguments=("$@")
    for dispatch_name in $dispatch_outcomes; do
        dispatch_counter=dispatch_$dispatch_name
        ((!${!dispatch_counter})) || dispatch_arguments+=(--poll "$dispatch_name=${!dispatch_counter}")
    done
    dispatch_arguments+=(--poll-sum "$dispatch_poll_sum" --poll-max "$dispatch_poll_max")
    (
        trap - TERM INT HUP QUIT USR1 USR2
        # One after the other, or a later phase could have the earlier time.
        for ((dispatch_nap = 0; dispatch_nap < 50; dispatch_nap++)); do
            kill -s 0 "$dispatch_teller" 2>/dev/null || break
            sleep 0.05
        done
        "$dispatch_probe" phase "${dispatch_arguments[@]}" </dev/null 2>/dev/null ||
            say "the phase $1 could not be told: exit code $?"
    ) &
    dispatch_teller=$!
}

# The first time, and with a heartbeat again and again.
be_ready() {
    clock
    if [[ ! $dispatch_ready ]]; then
        dispatch_ready=$dispatch_now dispatch_beat=$dispatch_now
        tell ready
    elif ((dispatch_heartbeat_ms && dispatch_now - dispatch_beat >= dispatch_heartbeat_ms)); then
        dispatch_beat=$dispatch_now
        tell ready --waited $((dispatch_now - dispatch_ready))
    fi
}

# Each is over in two seconds by itself. When PID 1 ends the kernel kills what is left, and one that hangs is not to hold us.
await_tellers() {
    local dispatch_nap dispatch_pid dispatch_left=()
    for ((dispatch_nap = 0; dispatch_nap < 100; dispatch_nap++)); do
        dispatch_left=()
        # Not the job, where bash has missed its end: see `forgotten`.
        for dispatch_pid in $(jobs -pr); do
            if kill -s 0 "$dispatch_pid"; then dispatch_left+=("$dispatch_pid"); fi
        done
        ((${#dispatch_left[@]})) || return
        sleep 0.05
    done
    kill -s KILL "${dispatch_left[@]}"
} 2>/dev/null

# The job.

run_job() {
    local dispatch_claim=(--job-nr $((dispatch_job += 1)) --waited $((dispatch_now - dispatch_ready)))
    # In one word with its flag: it is the dispatcher's text, and no flag whatever it looks like.
    [[ ! $dispatch_queued ]] || dispatch_claim+=("--queued-at=$dispatch_queued")
    [[ ! $dispatch_queued || ! $dispatch_date ]] || dispatch_claim+=("--answered-at=$dispatch_date")
    tell claimed "${dispatch_claim[@]}"
    dispatch_before=${!-}
    start_job "$@"
    if [[ $dispatch_heard ]]; then
        # It came since the poll began, so it is for this job.
        dispatch_ending=$dispatch_heard dispatch_heard=''
        kill -s "$dispatch_ending" "$!"
    fi
    # A signal ends `wait` early. Asked again, it waits on, or tells the status it told before.
    while
        dispatch_signalled='' dispatch_code=0
        wait "$!" || dispatch_code=$?
        [[ $dispatch_signalled ]] && ! forgotten
    do :; done 2>/dev/null
    dispatch_before=polling
    dispatch_ready='' dispatch_wait_for='' dispatch_variables=()
    rm -f -- "$dispatch_dir/body"
    tell ended --job-nr "$dispatch_job" --job-exit "$dispatch_code"
}

# As run-job.sh starts its runner, and for the same reasons.
start_job() {
    [[ $BASH_VERSION != [123].* && $BASH_VERSION != 4.[012].* ]] || set -m
    (
        trap - TERM INT HUP QUIT USR1 USR2
        ((BASH_VERSINFO[0] < 5 || --SHLVL)) || unset SHLVL
        for dispatch_variable in "RUNNER_DISPATCH_JOB=$dispatch_dir/body" ${dispatch_variables[@]+"${dispatch_variables[@]}"}; do
            # shellcheck disable=SC2163 # the name is in it
            export "$dispatch_variable"
        done
        exec -- "$dispatch_launcher" "$@"
    ) <&0 &
    set +m
}

# As in run-job.sh: it has ended, and bash has missed that.
forgotten() {
    [[ ! -d /proc/$! ]] && ! kill -s 0 "$!" && [[ $'\n'$(jobs -pr)$'\n' == *$'\n'"$!"$'\n'* ]]
}

main "$@"
