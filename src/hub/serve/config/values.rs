//! Settings: what a value says, read from its text.

use std::time::Duration;

use crate::line::field::{RUNNER_ENV, Unit};

pub(super) fn parse_path(text: &str) -> Result<String, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte));
    if text.starts_with('/') && is_plain { Ok(text.to_owned()) } else { Err("a path begins with /".to_owned()) }
}

pub(super) fn parse_env(text: &str) -> Result<String, String> {
    match RUNNER_ENV.unit {
        // A longer one would be cut in the line.
        Unit::Text(cap) if text.len() > cap => Err(format!("longer than {cap} bytes")),
        _ => Ok(text.to_owned()),
    }
}

pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

pub(super) fn parse_queue_bytes(text: &str) -> Result<u32, String> {
    let bytes = u32::try_from(parse_bytes(text)?).map_err(|_| "less than 4 GiB".to_owned())?;
    if bytes < 8 * 1024 * 1024 {
        Err("8 MiB or more: a request of short lines holds up to 5 MiB".to_owned())
    } else {
        Ok(bytes)
    }
}

pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let factor: u64 = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err("a number of bytes, or of KiB, MiB, GiB or TiB".to_owned()),
    };
    number
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(factor))
        .ok_or_else(|| "not a number of bytes".to_owned())
}
