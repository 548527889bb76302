#!/usr/bin/env bash
# A probe as an operator writes it in an afternoon: the contract's fields, one line an interval, from bash and the
# tools that every image has. It is here only to be measured: `benches/cost.rs` holds the real probe against it.
#
# Usage: shell-probe.sh [INTERVAL [SAMPLES]]     seconds, as for sleep; without SAMPLES it runs until it is ended
set -u
export LC_ALL=C

interval=${1:-1} samples=${2:-0}
run=$(tr -dc 'a-z0-9' < /dev/urandom | head -c 4)

# Where this cgroup's memory files are. Inside a container with its own cgroup namespace that is the mount point itself.
v2=$(awk -F: '$1 == 0 { print $3 }' /proc/self/cgroup)
v1=$(awk -F: '$2 ~ /(^|,)memory(,|$)/ { print $3 }' /proc/self/cgroup)
v2_dir=/sys/fs/cgroup${v2%/} v1_dir=/sys/fs/cgroup/memory${v1%/}
[ -r "$v2_dir/memory.current" ] || v2_dir=/sys/fs/cgroup
[ -r "$v1_dir/memory.usage_in_bytes" ] || v1_dir=/sys/fs/cgroup/memory

# A file's only value; nothing when it is not there.
value() {
    [ -r "$1" ] && tr -d '\n' < "$1"
}

# The value of a key, of a file with a key and a value a line.
of_key() {
    [ -r "$2" ] && awk -v key="$1" '$1 == key { print $2 }' "$2"
}

# avg10 of "some" or "full".
pressure() {
    [ -r "/proc/pressure/$1" ] && awk -v kind="$2" '$1 == kind { sub("avg10=", "", $2); print $2 }' "/proc/pressure/$1"
}

# All the CPU time there was, and of it what was busy: since boot, in ticks.
cpu_times() {
    awk '$1 == "cpu" { print $2+$3+$4+$5+$6+$7+$8+$9, $2+$3+$4+$7+$8; exit }' /proc/stat
}

read -r total_before busy_before < <(cpu_times)
for ((seq = 1; samples == 0 || seq <= samples; seq++)); do
    sleep "$interval"
    ts=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
    read -r mem_total mem_avail \
        < <(awk '/^MemTotal:/ { total = $2 } /^MemAvailable:/ { print total, $2 }' /proc/meminfo)
    if [ -r "$v2_dir/memory.current" ]; then
        current=$(value "$v2_dir/memory.current")
        peak=$(value "$v2_dir/memory.peak")
        max=$(value "$v2_dir/memory.max")
        swap=$(value "$v2_dir/memory.swap.current")
        oom=$(of_key oom "$v2_dir/memory.events")
        oom_kill=$(of_key oom_kill "$v2_dir/memory.events")
    else
        current=$(value "$v1_dir/memory.usage_in_bytes")
        peak=$(value "$v1_dir/memory.max_usage_in_bytes")
        max=$(value "$v1_dir/memory.limit_in_bytes")
        swap=$(value "$v1_dir/memory.memsw.usage_in_bytes")
        [ -z "$swap" ] || swap=$((swap - current))
        oom=
        oom_kill=$(of_key oom_kill "$v1_dir/memory.oom_control")
    fi
    [ "$max" != max ] || max=
    read -r total busy < <(cpu_times)
    permille=$((total > total_before ? 1000 * (busy - busy_before) / (total - total_before) : 0))
    total_before=$total busy_before=$busy
    load=$(cut -d ' ' -f 1-3 /proc/loadavg)
    # shellcheck disable=SC2086 # three words
    set -- $load
    printf 'RUNNER_VITALS ts=%s run=%s seq=%d vm.mem.total.kb=%s vm.mem.avail.kb=%s mem.current=%s mem.peak=%s mem.max=%s mem.swap=%s oom=%s oom_kill=%s cpu.busy.pct=%d.%d cpu.psi.some.avg10=%s mem.psi.some.avg10=%s mem.psi.full.avg10=%s io.psi.some.avg10=%s load1=%s load5=%s load15=%s\n' \
        "$ts" "$run" "$seq" "$mem_total" "$mem_avail" "$current" "$peak" "$max" "$swap" "$oom" "$oom_kill" \
        $((permille / 10)) $((permille % 10)) "$(pressure cpu some)" "$(pressure memory some)" \
        "$(pressure memory full)" "$(pressure io some)" "$1" "$2" "$3"
done
