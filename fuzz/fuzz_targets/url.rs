//! A URL: what was read can be read again, what of it is told holds no secret, and nothing of it can end a header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::config::SinkTarget;
use runner_vitals::url::{Url, without_secrets};

fuzz_target!(|text: &str| {
    let told = without_secrets(text);
    assert!(!told.contains('@') && told.len() <= text.len() + "?…".len());
    let _ = SinkTarget::parse(text);
    let Ok(url) = Url::parse(text) else { return };
    assert!(!url.host.is_empty() && url.port > 0 && url.target.starts_with('/'));
    assert!(url.host_header().bytes().chain(url.target.bytes()).all(|byte| byte.is_ascii_graphic()));
    assert!(!url.to_string().contains('?'));
    let again = format!("{}://{}{}", url.scheme.name(), url.authority(), url.target);
    assert!(again.len() > 2048 || Url::parse(&again) == Ok(url));
});
