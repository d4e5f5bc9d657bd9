//! A notice as each place takes it. PURE. What others wrote (a reason, a flag's name, an error of a server) is in these
//! texts, so each is escaped for where it goes, or sent as text that nobody interprets.

use ring::hmac;
use serde_json::Value;
use serde_json::json;

use crate::notification::Notice;
use crate::notification::Place;
use crate::notification::PlaceKind;
use crate::notification::Severity;

/// The header with the signature of a webhook's body: `sha256=` and the hex digits of the HMAC over time, a dot, and body.
pub const SIGNATURE: &str = "x-relay-commander-signature";

/// The header with the time at which it was signed, in seconds since 1970: who checks it can refuse what is old.
pub const TIMESTAMP: &str = "x-relay-commander-timestamp";

/// The longest text, in characters; PagerDuty's own limit for a summary is 1,024.
const TEXT_LENGTH_MAX: usize = 1_000;

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// JSON.
    pub body: String,
    /// Beside the content type.
    pub headers: Vec<(&'static str, String)>,
}

/// The notice as `place` takes it; `None` where it is not for that place: nobody is paged for what is good to know.
/// `sent_at`: seconds since 1970.
pub fn message(place: &Place, notice: &Notice, sent_at: i64) -> Option<Message> {
    let plain = |body: Value| Message { body: body.to_string(), headers: Vec::new() };
    Some(match &place.kind {
        PlaceKind::Webhook { key } => {
            let body = own(notice).to_string();
            let signed = key.as_ref().map(|key| signature(key.expose(), sent_at, &body));
            let headers = signed.map(|signed| vec![(TIMESTAMP, sent_at.to_string()), (SIGNATURE, signed)]);
            Message { body, headers: headers.unwrap_or_default() }
        }
        // Slack reads &, < and > as the beginning of links and of calls for everybody; nothing else is interpreted then.
        PlaceKind::Slack => plain(json!({ "text": slack_escaped(&cut(&notice.line())), "mrkdwn": false })),
        PlaceKind::Teams => plain(teams(&cut(&notice.line()))),
        PlaceKind::PagerDuty { .. } if notice.severity == Severity::Info => return None,
        PlaceKind::PagerDuty { routing_key } => plain(pagerduty(routing_key.expose(), notice)),
    })
}

fn own(notice: &Notice) -> Value {
    json!({
        "id": notice.id.to_string(),
        "time": format!("{:.3}", notice.at),
        "source": notice.source,
        "kind": notice.kind,
        "severity": notice.severity.name(),
        "over": notice.over,
        "environment": notice.environment,
        "flag": notice.flag,
        "text": notice.told,
    })
}

/// `sha256=` and hex digits.
fn signature(key: &str, sent_at: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let tag = hmac::sign(&key, format!("{sent_at}.{body}").as_bytes());
    format!("sha256={}", hexadecimal(tag.as_ref()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn slack_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// An adaptive card, as Teams' workflows take it. A text run is shown as it is: only text blocks know Markdown.
fn teams(text: &str) -> Value {
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [{ "type": "RichTextBlock", "inlines": [{ "type": "TextRun", "text": text }] }],
            },
        }],
    })
}

fn pagerduty(routing_key: &str, notice: &Notice) -> Value {
    json!({
        "routing_key": routing_key,
        "event_action": if notice.over { "resolve" } else { "trigger" },
        "dedup_key": dedup_key(&notice.subject()),
        "payload": {
            "summary": cut(&notice.line()),
            "source": notice.source,
            "severity": notice.severity.name(),
            "timestamp": format!("{:.3}", notice.at),
            "component": notice.flag,
            "group": notice.environment,
            "class": notice.kind,
        },
    })
}

/// At most 255 characters, PagerDuty wants; what is longer becomes a digest.
fn dedup_key(subject: &str) -> String {
    if subject.len() <= 255 {
        return subject.to_owned();
    }
    hexadecimal(ring::digest::digest(&ring::digest::SHA256, subject.as_bytes()).as_ref())
}

/// Cut where it is too long, and without control characters: a line stays a line.
fn cut(text: &str) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut cut: String = line.clone().take(TEXT_LENGTH_MAX).collect();
    if line.count() > TEXT_LENGTH_MAX {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::ui::secret::Secret;

    fn notice(told: &str) -> Notice {
        Notice {
            id: uuid::Uuid::nil(),
            at: Timestamp::UNIX_EPOCH,
            source: "eu-1".to_owned(),
            kind: "conflict",
            severity: Severity::Warning,
            over: false,
            environment: Some("shop/production".to_owned()),
            flag: Some("checkout".to_owned()),
            told: told.to_owned(),
        }
    }

    fn at(kind: PlaceKind) -> Place {
        Place::new(kind, "https://host.example/x").unwrap()
    }

    fn body(kind: PlaceKind, notice: &Notice) -> Value {
        serde_json::from_str(&message(&at(kind), notice, 7).unwrap().body).unwrap()
    }

    /// The digits are of `printf '7.{"id"…}' | openssl dgst -sha256 -hmac …`, over this very body.
    #[test]
    fn a_webhook_is_signed_over_time_and_body() {
        let key = Secret::new("0123456789abcdef");
        let message = message(&at(PlaceKind::Webhook { key: Some(key) }), &notice("say \"what\""), 7).unwrap();
        assert_eq!(
            message.body,
            "{\"id\":\"00000000-0000-0000-0000-000000000000\",\"time\":\"1970-01-01T00:00:00.000Z\",\"source\":\"eu-1\",\
             \"kind\":\"conflict\",\"severity\":\"warning\",\"over\":false,\"environment\":\"shop/production\",\
             \"flag\":\"checkout\",\"text\":\"say \\\"what\\\"\"}"
        );
        assert_eq!(message.headers[0], (TIMESTAMP, "7".to_owned()));
        assert_eq!(message.headers[1].0, SIGNATURE);
        assert_eq!(message.headers[1].1, "sha256=d1d5b758b5c418f5096cc4deefac941cae1e557e33c400ecbe55560e53f4fb22");
    }

    #[test]
    fn without_a_key_nothing_is_signed() {
        let message = message(&at(PlaceKind::Webhook { key: None }), &notice("a"), 7).unwrap();
        assert!(message.headers.is_empty());
    }

    #[test]
    fn nobody_is_called_by_what_somebody_wrote() {
        let told = "<!channel> **now** [here](https://evil.example) & <https://evil.example|x>";
        let slack = body(PlaceKind::Slack, &notice(told));
        let text = slack["text"].as_str().unwrap();
        assert!(!text.contains(['<', '>']) && text.contains("&lt;!channel&gt;") && slack["mrkdwn"] == false, "{text}");
        let teams = body(PlaceKind::Teams, &notice(told));
        let run = &teams["attachments"][0]["content"]["body"][0]["inlines"][0];
        assert!(run["type"] == "TextRun" && run["text"].as_str().unwrap().contains(told));
    }

    #[test]
    fn pagerduty_opens_and_closes_one_incident_for_one_thing() {
        let kind = || PlaceKind::PagerDuty { routing_key: Secret::new("r0uting") };
        let begun = body(kind(), &notice("a"));
        let over = body(kind(), &Notice { over: true, told: "b".to_owned(), ..notice("a") });
        assert_eq!((&begun["event_action"], &over["event_action"]), (&json!("trigger"), &json!("resolve")));
        assert_eq!(begun["dedup_key"], over["dedup_key"]);
        assert_eq!(begun["payload"]["severity"], "warning");
        let good_to_know = Notice { severity: Severity::Info, ..notice("a") };
        assert!(message(&at(kind()), &good_to_know, 7).is_none(), "nobody is paged for that");
        let long = Notice { flag: Some("x".repeat(300)), ..notice("a") };
        assert_eq!(body(kind(), &long)["dedup_key"].as_str().unwrap().len(), 64);
    }

    proptest! {
        #[test]
        fn whatever_is_told_it_is_one_line_of_bounded_length(told in "\\PC{0,1200}|(\\s|.){0,40}") {
            for kind in [PlaceKind::Slack, PlaceKind::Teams, PlaceKind::PagerDuty { routing_key: Secret::new("r") }] {
                let sent = message(&at(kind), &notice(&told), 7).unwrap().body;
                prop_assert!(serde_json::from_str::<Value>(&sent).is_ok());
            }
            let cut = cut(&told);
            prop_assert!(cut.chars().count() <= TEXT_LENGTH_MAX + 1 && !cut.chars().any(char::is_control));
        }
    }
}
