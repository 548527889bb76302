//! A process or a cgroup can name itself anything: what the kernel prints around the name is found, and the name is
//! whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::source::kmsg::{OomRecord, Scope, parse, parse_oom, unescape};

/// `TASK_COMM_LEN` less its NUL.
const COMM_BYTES: usize = 15;

fuzz_target!(|names: &[u8]| {
    let (comm, path) = names.split_at_checked(COMM_BYTES).unwrap_or((names, b""));
    // Neither can hold a NUL, a path no newline.
    let comm: Vec<u8> = comm.iter().copied().filter(|byte| *byte != 0).collect();
    let path: Vec<u8> = path.iter().copied().filter(|byte| !matches!(byte, 0 | b'\n')).collect();
    check_killed(&comm);
    check_chosen(&comm, &path);
    check_escapes(&comm);
});

fn check_killed(comm: &[u8]) {
    let ends: [(&[u8], &[u8], Option<i64>); 3] = [
        (
            b"Memory cgroup out of memory: Killed process 77 (",
            b") total-vm:1kB, anon-rss:2kB, file-rss:3kB, shmem-rss:4kB, UID:0 pgtables:5kB oom_score_adj:-998",
            Some(-998),
        ),
        (
            b"Memory cgroup out of memory: Killed process 77 (",
            b"), UID 0, total-vm:1kB, anon-rss:2kB, file-rss:3kB, shmem-rss:4kB",
            None,
        ),
        (b"Killed process 77 (", b") total-vm:1kB, anon-rss:2kB, file-rss:3kB, shmem-rss:4kB", None),
    ];
    for (head, tail, adj) in ends {
        let text = [head, comm, tail].concat();
        let Some(OomRecord::Killed(victim)) = parse_oom(&text) else { panic!("{}", String::from_utf8_lossy(&text)) };
        assert_eq!((victim.pid, victim.comm, victim.rss_kb, victim.adj), (77, comm, Some(9), adj));
        assert_eq!(victim.scope, head.starts_with(b"Memory").then_some(Scope::Cgroup));
    }
}

fn check_chosen(comm: &[u8], path: &[u8]) {
    for (constraint, why, scope) in
        [("CONSTRAINT_MEMCG", ",oom_memcg=/limit", Scope::Cgroup), ("CONSTRAINT_NONE", ",global_oom", Scope::Guest)]
    {
        let head =
            format!("oom-kill:constraint={constraint},nodemask=(null),cpuset=/,mems_allowed=0{why},task_memcg=/");
        let text = [head.as_bytes(), path, b",task=", comm, b",pid=77,uid=0"].concat();
        let chosen = parse_oom(&text);
        let Some(OomRecord::Chosen { scope: read, pid, .. }) = chosen else {
            panic!("{}", String::from_utf8_lossy(&text))
        };
        assert_eq!((read, pid), (scope, 77));
        // A path that holds `,task=` cannot be told from a name that does.
        if !path.windows(6).any(|part| part == b",task=") {
            assert!(matches!(chosen, Some(OomRecord::Chosen { comm: read, .. }) if read == comm));
        }
    }
}

/// What the kernel escapes becomes the same bytes again.
fn check_escapes(name: &[u8]) {
    let mut record = b"6,1,2,-;".to_vec();
    for byte in name {
        match byte {
            b' '..=b'~' if *byte != b'\\' => record.push(*byte),
            _ => record.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    record.extend_from_slice(b"\n SUBSYSTEM=x\n");
    let mut text = Vec::new();
    unescape(parse(&record).expect("a record").text, &mut text);
    assert_eq!(text, name);
}
