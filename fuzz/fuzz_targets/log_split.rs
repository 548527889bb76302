//! A log that comes in pieces: the same lines as in one, each told once, and never more kept than the bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::follow::split::{KEPT_BYTES, Splitter};

fuzz_target!(|bytes: &[u8]| {
    let Some((len, text)) = bytes.split_first() else { return };
    // Longer than what is kept, for a few bytes of input.
    let text = text.repeat(usize::from(len % 4) * 300 + 1);
    let whole = lines(&text, text.len().max(1));
    assert_eq!(lines(&text, usize::from(*len) + 1), whole);
    assert_eq!(whole.len(), text.iter().filter(|byte| **byte == b'\n').count() + 1);
    let told: u64 = whole.iter().map(|(_, _, len)| len + 1).sum();
    assert_eq!(told, text.len() as u64 + 1);
});

fn lines(text: &[u8], piece: usize) -> Vec<(Vec<u8>, u64, u64)> {
    let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
    for piece in text.chunks(piece) {
        splitter.take(piece, |raw| {
            assert!(raw.head.len() <= KEPT_BYTES && raw.end.len() <= KEPT_BYTES);
            assert_eq!(raw.head.len() as u64 + raw.cut_bytes, raw.len);
            lines.push((raw.head.to_vec(), raw.cut_bytes, raw.len));
        });
    }
    let rest = splitter.begun();
    lines.push((rest.head.to_vec(), rest.cut_bytes, rest.len));
    lines
}
