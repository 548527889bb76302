//! Who the hub is to Loki: from a file that is read anew for each push, so that a new one is taken at once.

use std::io;

use http::HeaderValue;

use super::named::NamedFile;

/// A file with a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A bearer token (RFC 6750).
    Bearer(NamedFile),
    /// `user:password` (RFC 7617).
    Basic(NamedFile),
}

/// Reads a tenant: what a header can have, and not nothing.
///
/// # Errors
/// When it is not that.
pub fn parse_tenant(text: &str) -> Result<String, String> {
    let is_good = !text.is_empty() && HeaderValue::from_str(text).is_ok();
    is_good.then(|| text.to_owned()).ok_or_else(|| "a tenant is a word that a header can have".to_owned())
}

impl Credentials {
    /// What stands in the file now, as the `Authorization` header has it. Spaces and newlines around it do not count.
    ///
    /// # Errors
    /// With the file's name: when it cannot be read, or nothing that a header can have stands there. The secret is not in the error.
    pub async fn header(&self) -> io::Result<HeaderValue> {
        let (Self::Bearer(file) | Self::Basic(file)) = self;
        let invalid = |why| file.named(&io::Error::new(io::ErrorKind::InvalidData, why));
        let text = tokio::fs::read_to_string(file.path()).await.map_err(|error| file.named(&error))?;
        let secret = text.trim();
        if secret.is_empty() {
            return Err(invalid("it is empty"));
        }
        let value = match self {
            Self::Bearer(_) => format!("Bearer {secret}"),
            Self::Basic(_) if !secret.contains(':') => return Err(invalid("it is not user:password")),
            Self::Basic(_) => format!("Basic {}", base64(secret.as_bytes())),
        };
        let mut header = HeaderValue::from_str(&value).map_err(|_| invalid("no header can have it"))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS.get(usize::try_from(bits & 63).unwrap_or(0)).copied().unwrap_or(b'A'));
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| chunk.get(at).copied().map_or(0, u32::from);
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            text.push(if at <= chunk.len() { digit(bits >> shift) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[tokio::test]
    async fn a_header_is_what_stands_in_the_file_now() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = || NamedFile::new("--token-file", file.path().to_owned());
        let read = async |credentials: Credentials, text: &str| {
            std::fs::write(file.path(), text).unwrap();
            credentials
                .header()
                .await
                .map(|header| header.to_str().unwrap().to_owned())
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(Credentials::Bearer(path()), " abc\n").await.unwrap(), "Bearer abc");
        assert_eq!(read(Credentials::Bearer(path()), "def").await.unwrap(), "Bearer def");
        assert_eq!(
            read(Credentials::Basic(path()), "Aladdin:open sesame\n").await.unwrap(),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        for text in ["", " \n", "secret\nsecret"] {
            let error = read(Credentials::Bearer(path()), text).await.unwrap_err();
            assert!(error.starts_with("--token-file /") && !error.contains("secret"), "{error}");
        }
        assert!(read(Credentials::Basic(path()), "secret").await.is_err());
        let missing = Credentials::Bearer(NamedFile::new("--token-file", "/no/such/file".into()));
        assert!(missing.header().await.unwrap_err().to_string().starts_with("--token-file /no/such/file: No such"));
    }
}
