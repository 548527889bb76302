//! The bearer token: a file, read anew for each request, since what a runner was given at boot expires in a long job.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use http::HeaderValue;
use rustix::fs::OFlags;

use crate::probe::config::TokenFile;
use crate::probe::sink::mailbox::{Class, Trouble};

/// Far more than any token has.
const MOST_BYTES: usize = 64 * 1024;

/// Reads the token as an `Authorization` header, marked as sensitive. None where the platform gives none.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn authorization(file: &TokenFile) -> Result<Option<HeaderValue>, Trouble> {
    match file {
        TokenFile::Set(path) | TokenFile::Platform(path) => read(path).map(Some),
        TokenFile::Usual(path) if !path.exists() => Ok(None),
        TokenFile::Usual(path) => read(path).map(Some),
    }
}

fn read(path: &Path) -> Result<HeaderValue, Trouble> {
    let trouble = |class, text| Trouble { class, text, status: None };
    let text = read_file(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => trouble(Class::Absent, "no such file"),
        std::io::ErrorKind::PermissionDenied => trouble(Class::Denied, ""),
        _ => trouble(Class::Broken, "read error"),
    })?;
    let token = text.trim_ascii();
    // Whatever else it is, it is no token, and no header either.
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) || text.len() > MOST_BYTES {
        return Err(trouble(Class::Broken, "not a token"));
    }
    let header = [b"Bearer ", token].concat();
    let mut header = HeaderValue::from_bytes(&header).map_err(|_| trouble(Class::Broken, "not a token"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// A regular file only: others can keep a reader waiting for ever.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let no_wait = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(no_wait).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut text = Vec::new();
    file.take(u64::try_from(MOST_BYTES + 1).unwrap_or(u64::MAX)).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_visible_ascii_and_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let long = "x".repeat(70_000);
        for (text, header) in [
            ("abc.DEF-1_2\n", Ok("Bearer abc.DEF-1_2")),
            (" \n", Err("not a token")),
            ("a b", Err("not a token")),
            ("a\r\nX-Evil: 1", Err("not a token")),
            ("é", Err("not a token")),
            (&long, Err("not a token")),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let read = authorization(&TokenFile::Set(file.path().to_owned()));
            let shown = read.as_ref().map(|header| header.as_ref().unwrap().to_str().unwrap());
            assert_eq!(shown.map_err(|trouble| trouble.text), header, "{text:?}");
            assert!(!format!("{read:?}").contains("abc"), "it is never shown");
        }
    }

    #[test]
    fn only_a_token_that_was_set_is_missed() {
        let none = || Path::new("/no/such/token").to_owned();
        assert_eq!(authorization(&TokenFile::Usual(none())), Ok(None));
        let missed = Err(Trouble { class: Class::Absent, text: "no such file", status: None });
        assert_eq!(authorization(&TokenFile::Set(none())), missed);
        assert_eq!(authorization(&TokenFile::Platform(none())), missed);
        assert_eq!(authorization(&TokenFile::Set("/tmp".into())).unwrap_err().text, "read error");
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert_eq!(authorization(&TokenFile::Set(fifo)).unwrap_err().text, "read error");
    }
}
