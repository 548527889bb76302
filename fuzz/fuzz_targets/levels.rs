//! `/proc/PID/cgroup`, `mountinfo` and a given path, `--` between them: each chain leads up to its mount point, never
//! out of it.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::levels::{Chain, Target, Version, layout};

fuzz_target!(|text: &[u8]| {
    let (cgroup, rest) = cut(text);
    let (mountinfo, path) = cut(rest);
    let target = match path {
        b"" => Target::Own,
        path => Target::Path(String::from_utf8_lossy(path).into_owned().into()),
    };
    // Of a hybrid guest: some controllers are v2's, some v1's.
    let v2_has = |_: &Path, controller: &str| controller != "memory" || text.len().is_multiple_of(2);
    let layout = layout(cgroup, mountinfo, &target, v2_has, |_| Some("found/below".into()));
    for chain in [&layout.memory, &layout.cpu, &layout.pids] {
        check(chain);
        assert!(chain.dirs.is_empty() || layout.version != Version::None);
    }
});

/// What stands before and behind the first `--` line.
fn cut(text: &[u8]) -> (&[u8], &[u8]) {
    let mark = b"--\n";
    text.windows(mark.len())
        .position(|part| part == mark)
        .map_or((text, b""), |at| (&text[..at], &text[at + mark.len()..]))
}

fn check(chain: &Chain) {
    let Some(topmost) = chain.dirs.last() else { return };
    assert_eq!(*topmost, chain.mount_point);
    for dir in &chain.dirs {
        let below = dir.strip_prefix(&chain.mount_point).expect("a folder outside the mount point");
        assert!(below.components().all(|part| part != Component::ParentDir), "{} leads out", dir.display());
        assert!(chain.cgroup(dir).starts_with('/'));
    }
    assert!(chain.dirs.windows(2).all(|pair| pair[0].parent().is_some_and(|up| up == Path::new(&pair[1]))));
}
