//! Who is let in for what: runners send lines, readers look at pages. Where no reader is named, who may send may look.

use std::net::IpAddr;
use std::time::SystemTime;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};

use super::Hub;
use super::auth::{Refusal, Sender};

/// What somebody comes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// To send lines.
    Send,
    /// To look at a page.
    Look,
}

/// Who comes, told in metrics and, where he is not let in, in the log.
pub(super) async fn let_in(hub: &Hub, from: IpAddr, headers: &HeaderMap, wants: Wants) -> Result<Sender, Refusal> {
    let told = who(hub, from, headers.get(AUTHORIZATION).and_then(bearer), wants).await;
    hub.metrics.auth(match &told {
        Ok(_) => "accepted",
        Err(refusal) => refusal.why(),
    });
    told.inspect_err(|refusal| hub.refusals.sender(from, refusal, hub.clock()))
}

async fn who(hub: &Hub, from: IpAddr, token: Option<&str>, wants: Wants) -> Result<Sender, Refusal> {
    if let Some(readers) = &hub.readers {
        match (wants, token.map(|token| readers.sender(token))) {
            (Wants::Send, Some(Ok(reader))) => return Err(Refusal::forbidden("reader", reader.name)),
            (Wants::Look, Some(Ok(reader))) => return Ok(reader),
            // Nor where nobody has to say who sends.
            (Wants::Look, None) => return Err(Refusal::Unauthenticated("no_token")),
            _ => {}
        }
    }
    let sender = hub.auth.sender(token, from, SystemTime::now()).await?;
    match wants {
        Wants::Look if hub.readers.is_some() => Err(Refusal::forbidden("no_reader", sender.name)),
        _ => Ok(sender),
    }
}

/// RFC 6750, section 2.1; the scheme in any case.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_from_its_header() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  a.b-c ", Some("a.b-c")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic abc", None),
            ("abc", None),
        ] {
            assert_eq!(bearer(&HeaderValue::from_static(value)), token, "{value}");
        }
    }
}
