//! What is not a stream of flags: passed through unbuffered, refused clearly, or asked for with TLS.

use super::bytes::PUT;
use super::process::KEY;
use super::process::Plan;
use super::scripted::Reply;
use super::scripted::Scripted;
use super::wire::AGENT;
use super::wire::LONG;
use super::wire::Next;
use super::wire::Wire;

#[test]
fn anything_else_goes_through_as_it_comes() {
    let upstream = Scripted::start(|request| match request.path.as_str() {
        "/big-segments" => Reply::Stream(b"event: patch\ndata: [{\"environmentId\":\"e\"}]\n\n".to_vec()),
        "/odd?x=%20y" => {
            Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Own: 1\r\nETag: \"e\"\r\n\r\nhello".to_vec())
        }
        "/unchanged" => Reply::Status(304, "ETag: \"e\"\r\n"),
        _ => Reply::Status(404, ""),
    });
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    let mut segments = Wire::stream(guard.address, "/big-segments", KEY);
    assert!(segments.text().contains("environmentId"));
    // What was sent before this is not held back until there is more.
    upstream.send(b"event: patch\ndata: 2\n\n:half an ev");
    assert_eq!(segments.text(), "event: patch\ndata: 2\n\n");
    while segments.body().len() < 11 {
        assert_eq!(segments.more(LONG, 100), Some(true));
    }
    upstream.send(b"ent\n\n");
    assert_eq!(segments.next(LONG), Next::Event(b":half an event\n\n".to_vec()));
    let asked = &upstream.requests()[0];
    assert_eq!((asked.header("authorization"), asked.header("user-agent")), (KEY, AGENT));
    assert_eq!(asked.header("accept-encoding"), "gzip", "what is passed through comes as the relay wants it");

    let mut odd = Wire::ask(guard.address, "/odd?x=%20y", KEY);
    assert_eq!((odd.status, odd.rest().as_str()), (200, "hello"));
    assert!(odd.head.to_lowercase().contains("x-own: 1") && odd.head.to_lowercase().contains("etag: \"e\""));
    assert_eq!(Wire::ask(guard.address, "/unchanged", KEY).status, 304);
    assert_eq!(Wire::ask(guard.address, "/not/there", KEY).status, 503, "a 404 would be final for big segments");
    upstream.go_away();
    assert_eq!(Wire::ask(guard.address, "/big-segments", KEY).status, 503);
}

#[test]
fn relays_of_version_9_are_told_that_they_are_not_served() {
    let upstream = Scripted::streaming(PUT);
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    for (path, agent) in [
        ("/sdk/stream?basis=x", AGENT),
        ("/sdk/poll", AGENT),
        ("/all", "GoClient/8.0.0 LDRelay/9.0.0"),
        ("/relay_auto_config", "LDRelay/9.1.2"),
    ] {
        let mut answer = Wire::ask_as(guard.address, path, KEY, agent);
        assert_eq!(answer.status, 501, "{path}");
        assert!(answer.rest().contains("version 9"));
    }
    assert!(upstream.requests().is_empty());
    guard.wait_for_told("relay-unsupported");
    // It asks again and again, and so do others of its kind.
    assert_eq!(guard.told().matches("relay-unsupported").count(), 1, "{}", guard.told());
    assert_eq!(guard.status()["alarms"][0]["kind"], "relay-unsupported");
    let post = format!("POST /all HTTP/1.1\r\nHost: g\r\nAuthorization: {KEY}\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(Wire::send(guard.address, &post).status, 405);
}

#[test]
fn an_environment_of_which_no_store_is_known_is_told_at_once() {
    let upstream = Scripted::streaming(PUT);
    let sections =
        format!("[Environment \"a\"]\nsdkKey = {KEY}\nprefix = ld:a\n[Environment \"b\"]\nsdkKey = sdk-b-0001\n");
    let plan = Plan::new(&upstream);
    std::fs::write(plan.home().join("ld-relay.conf"), &sections).unwrap();
    let mut rc = crate::support::rc::Rc::new().line("guard --listen 127.0.0.1:0 --relay-config ld-relay.conf");
    rc = rc.env("LD_STREAM_URL", &upstream.url);
    let mut child = rc.command(plan.home()).spawn().unwrap();
    let told = std::io::BufReader::new(child.stderr.take().unwrap());
    let lines: Vec<String> = std::io::BufRead::lines(told).map_while(Result::ok).take(3).collect();
    let _ = child.kill();
    let _ = child.wait();
    assert!(lines[1].ends_with("guards a"), "{lines:?}");
    assert!(lines[2].contains("in which store b is kept") && lines[2].contains("NO OVERRIDE"), "{lines:?}");
}

#[test]
fn requests_that_are_none_end_and_harm_nobody() {
    use std::io::Read as _;
    use std::io::Write as _;
    let upstream = Scripted::streaming(PUT);
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    for bytes in [b"\x16\x03\x01\x02\x00\x01".as_slice(), b"GET / HTTP/9.9\r\n\r\n", long.as_bytes(), b"\r\n\r\n\r\n"] {
        let mut stream = std::net::TcpStream::connect(guard.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        // It may have been refused before all of it was sent.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    // One that asks nothing is let go.
    let mut silent = std::net::TcpStream::connect(guard.address).unwrap();
    silent.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(silent.read(&mut [0]).unwrap_or_default(), 0);
    assert_eq!(Wire::stream(guard.address, "/all", KEY).text(), PUT);
}

#[test]
fn relays_may_speak_tls_to_it() {
    let upstream = Scripted::streaming(PUT);
    let plan = Plan::new(&upstream);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(plan.home().join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(plan.home().join("key.pem"), key.serialize_pem()).unwrap();
    let plan = plan.line("--tls-cert cert.pem --tls-key key.pem");
    let guard = plan.start();
    let text = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = reqwest::Certificate::from_pem(certificate.pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([authority])
            .resolve("localhost", guard.address)
            .build()
            .unwrap();
        let url = format!("https://localhost:{}/all", guard.address.port());
        let mut answer = client.get(url).header("authorization", KEY).timeout(LONG).send().await.unwrap();
        let mut text = Vec::new();
        while text.len() < PUT.len() {
            text.extend_from_slice(&answer.chunk().await.unwrap().unwrap());
        }
        String::from_utf8(text).unwrap()
    });
    assert_eq!(text, PUT);
    let ran = crate::support::rc::Rc::new().home(plan.home()).line("guard --listen 127.0.0.1:0 --tls-cert cert.pem");
    assert!(ran.run().code(2).stderr.contains("--tls-key"));
}

#[test]
fn status_and_metrics_and_nothing_else() {
    let upstream = Scripted::streaming(PUT);
    let plan = Plan::new(&upstream).line("--guard-name eu-1");
    let guard = plan.start();
    assert_eq!(Wire::stream(guard.address, "/all", KEY).text(), PUT);
    let status = guard.wait_for_status(|status| {
        let stream = &status["streams"][0];
        stream["items"] == 1 && stream["relays"].as_array().is_some_and(Vec::is_empty)
    });
    assert_eq!((&status["name"], &status["shadow"]), (&serde_json::json!("eu-1"), &serde_json::json!(false)));
    let metrics = guard.metrics();
    for line in metrics.lines() {
        let is_comment = line.starts_with("# HELP rc_guard_") || line.starts_with("# TYPE rc_guard_");
        let is_value = line.starts_with("rc_guard_") && line.rsplit(' ').next().unwrap().parse::<u64>().is_ok();
        assert!(is_comment || is_value, "{line}");
    }
    assert!(metrics.contains("rc_guard_launchdarkly_events_total{environment=\"shop production\",path=\"/all\"} 1"));
    assert!(!metrics.contains(KEY) && !status.to_string().contains(KEY));
    assert_eq!(Wire::ask(guard.admin, "/", "none").status, 404);
    assert_eq!(Wire::send(guard.admin, "POST /status HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n\r\n").status, 405);
}
