//! `rc notify --test`: every place is tried as it will be when it matters, and what is wrong with one is said without its
//! address, which is a secret.

use crate::support::rc::Rc;
use crate::support::receiver::Manner;
use crate::support::receiver::Receiver;

fn notify() -> Rc {
    Rc::new().line("notify --test")
}

#[test]
fn every_place_is_sent_one_notice_as_it_takes_them() {
    let receiver = Receiver::start(Manner::Takes);
    let ran = notify()
        .env("RC_NOTIFY_WEBHOOK", receiver.url("/own"))
        .env("RC_NOTIFY_SLACK", receiver.url("/slack"))
        .env("RC_NOTIFY_TEAMS", receiver.url("/teams"))
        .env("RC_NOTIFY_PAGERDUTY", "r0uting")
        .env("RC_NOTIFY_PAGERDUTY_URL", receiver.url("/pagerduty"))
        .run()
        .code(0);
    let out = &ran.stdout;
    assert!(out.contains("Slack at 127.0.0.1:") && out.matches("taken").count() == 4, "{out}");
    let all = receiver.received();
    let of = |path: &str| all.iter().filter(|received| received.path == path).map(|one| one.json()).collect::<Vec<_>>();
    let own = &of("/own")[0];
    assert!(own["kind"] == "test" && own["text"].as_str().unwrap().contains("anna"), "{own}");
    assert!(of("/slack")[0]["text"].as_str().unwrap().contains("nothing has happened"));
    assert_eq!(of("/teams")[0]["attachments"][0]["contentType"], "application/vnd.microsoft.card.adaptive");
    let pages = of("/pagerduty");
    let told: Vec<_> = pages.iter().map(|page| page["event_action"].as_str().unwrap()).collect();
    assert_eq!(told, ["trigger", "resolve"], "nobody stays paged");
    assert!(pages[0]["routing_key"] == "r0uting" && pages[0]["dedup_key"] == pages[1]["dedup_key"]);
    assert_eq!(all.len(), 5);
}

#[test]
fn what_is_not_taken_is_said_without_the_address() {
    let (bad, good) = (Receiver::start(Manner::Says(302)), Receiver::start(Manner::Takes));
    let partly = notify()
        .env("RC_NOTIFY_SLACK", bad.url("/services/s3cret"))
        .env("RC_NOTIFY_TEAMS", good.url("/s3cret"))
        .run()
        .code(5);
    let out = &partly.stdout;
    assert!(
        out.contains("NOT TAKEN: it answers 302 Found, which is not followed") && out.contains("1 of 2 places"),
        "{out}"
    );
    assert!(!out.contains("s3cret"), "{out}");
    assert!(bad.received().iter().all(|received| received.path != "/elsewhere"), "a redirect was followed");
    bad.now(Manner::Says(400));
    let failed = notify().env("RC_NOTIFY_SLACK", bad.url("/services/s3cret")).args(["--json"]).run().code(7);
    assert!(failed.stdout.contains("it answers 400 Bad Request, told"), "{}", failed.stdout);
    assert_eq!(bad.received().len(), 2, "what is refused for good is not tried again");
}

#[test]
fn what_cannot_be_meant_is_said_before_anything_is_sent() {
    let nowhere = notify().run().code(2);
    assert!(nowhere.stderr.contains("RC_NOTIFY_SLACK="), "{}", nowhere.stderr);
    let plain = notify().env("RC_NOTIFY_SLACK", "http://hooks.example.com/s3cret").run().code(2);
    let told = &plain.stderr;
    assert!(
        told.contains("RC_NOTIFY_SLACK goes to hooks.example.com by plain http") && !told.contains("s3cret"),
        "{told}"
    );
    let alone = notify().env("RC_NOTIFY_WEBHOOK_KEY", "0123456789abcdef").run().code(2);
    assert!(alone.stderr.contains("RC_NOTIFY_WEBHOOK is not"), "{}", alone.stderr);
    let short = notify()
        .env("RC_NOTIFY_WEBHOOK", "https://hooks.example.com/x")
        .env("RC_NOTIFY_WEBHOOK_KEY", "short")
        .run()
        .code(2);
    assert!(short.stderr.contains("can be guessed"), "{}", short.stderr);
}
