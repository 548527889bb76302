//! Any bytes as a body of the vitals endpoint, plain and as gzip: memory is bounded, each line is taken or named, and what
//! is taken says whose it is by the hub's word only.
#![no_main]

use std::sync::Arc;
use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use runner_vitals::hub::serve::auth::Sender;
use runner_vitals::hub::serve::budget::Budget;
use runner_vitals::hub::serve::ingest::body::{Encoding, MAX_BODY_BYTES, unpacked};
use runner_vitals::hub::serve::ingest::rewrite::Identity;
use runner_vitals::hub::serve::ingest::sort::{Origin, Sorted};
use runner_vitals::line::field::{RUNNER_ENV, RUNNER_FLEET, RUNNER_NAME};
use runner_vitals::line::{Line, MAX_LINE_BYTES, TAG};

fuzz_target!(|bytes: &[u8]| {
    let (packed, mut held) = (bytes.to_vec(), Budget::new(2 << 20).hold());
    // As whoever read it holds it.
    held.more(packed.capacity()).expect("room");
    if let Ok(text) = unpacked(packed, Encoding::Gzip, &mut held) {
        assert!(text.len() <= MAX_BODY_BYTES && text.capacity() <= held.bytes());
        lines(&text);
    }
    lines(bytes);
});

fn lines(body: &[u8]) {
    let sender = Sender { name: "runner-1".to_owned(), fleet: Some("a b".to_owned()) };
    let identity = Identity::new(&sender, Some("prod"));
    let origin = Origin { sender: Arc::new(sender), identity, received_at: SystemTime::UNIX_EPOCH };
    let sorted = Sorted::of(body, &origin);
    let count = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    assert_eq!(sorted.good.len() + sorted.bad_count(), count, "each line is taken or told");
    for (key, placed) in &sorted.good {
        let mut written = Vec::new();
        placed.write_to(&mut written);
        assert!(written.len() <= MAX_LINE_BYTES && written.ends_with(b"\n"));
        assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 1, "one line stays one");
        let written = String::from_utf8(written).expect("UTF-8");
        let vitals = format!("{TAG}{}", written.trim_start_matches(key.tag.as_str()));
        if vitals.len() > MAX_LINE_BYTES {
            // A log line has a shorter tag.
            continue;
        }
        let line = Line::decode(&vitals).expect("what is written decodes");
        assert_eq!((line.run, line.seq), (key.run, key.seq));
        let said = [RUNNER_NAME, RUNNER_FLEET, RUNNER_ENV].map(|field| line.text(field));
        assert_eq!(said, [Some("runner-1"), Some("a b"), Some("prod")]);
        let own = |key: &str| matches!(&*key.replace('.', "_"), "runner_name" | "runner_fleet" | "runner_env" | "recv");
        assert_eq!(line.pairs().filter(|(key, _)| own(key)).count(), 4, "nothing else says it too");
        let again = Sorted::of(written.as_bytes(), &origin);
        assert!(again.good.iter().all(|(_, again)| again.line == placed.line), "what is written is written the same again");
    }
}
