//! What `REDIS_HOSTS` may hold, and what is said of what it may not.

use proptest::prelude::any;
use proptest::prop_assert;
use proptest::proptest;

use super::AddressError;
use super::RedisAddress;

#[track_caller]
fn case(text: &str, label: &str, shown: &str) -> RedisAddress {
    let address = RedisAddress::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!((address.label(), address.to_string().as_str()), (label, shown), "{text}");
    address
}

#[test]
fn every_form_is_read() {
    case("redis-a", "redis-a", "redis-a:6379");
    case(" redis-a.example.com:7000 ", "redis-a", "redis-a.example.com:7000");
    case("10.0.0.7", "10.0.0.7", "10.0.0.7:6379");
    case("[::1]:7000", "::1", "[::1]:7000");
    case("[::1]", "::1", "[::1]:6379");
    case("::1", "::1", "[::1]:6379");
    case("eu-1=redis-a", "eu-1", "redis-a:6379");
    case("eu-1=redis://redis-a", "eu-1", "redis-a:6379");
    case("redis://redis-a:7000/3", "redis-a", "redis-a:7000/3");
    case("rediss://redis-a", "redis-a", "redis-a:6379");
    case("valkey://valkey-a", "valkey-a", "valkey-a:6379");
    case("redis://[::1]:7000", "::1", "[::1]:7000");
    case("unix:///run/redis/redis.sock", "redis", "/run/redis/redis.sock");
    let socket = case("s=redis+unix:///run/redis.sock?db=2&user=anna&pass=a%26b", "s", "/run/redis.sock/2");
    assert_eq!((socket.username(), socket.password()), (Some("anna"), Some("a&b")));
    let login = case("redis://anna:p%40ss@redis-a/1", "redis-a", "redis-a:6379/1");
    assert_eq!((login.username(), login.password(), login.database()), (Some("anna"), Some("p@ss"), Some(1)));
    let password_only = case("redis://:secret@redis-a", "redis-a", "redis-a:6379");
    assert_eq!((password_only.username(), password_only.password()), (None, Some("secret")));
}

#[test]
fn what_cannot_be_read_is_refused() {
    let refused = |text: &str| RedisAddress::parse(text).unwrap_err();
    assert_eq!(refused(""), AddressError::Empty);
    assert_eq!(refused("eu-1="), AddressError::Empty);
    assert_eq!(refused("redis-a:0"), AddressError::Port("0".to_owned()));
    assert_eq!(refused("redis-a:port"), AddressError::Port("port".to_owned()));
    assert!(matches!(refused("e u=redis-a"), AddressError::Label(_)));
    assert!(matches!(refused("redis a"), AddressError::Host(_)));
    assert!(matches!(refused("http://redis-a"), AddressError::Url { .. }));
    assert!(matches!(refused("rediss://redis-a#insecure"), AddressError::Url { .. }));
    assert!(matches!(refused("redis://redis-a/-1"), AddressError::Url { .. }));
    assert!(matches!(refused("redis://redis-a/one"), AddressError::Url { .. }));
}

#[test]
fn a_password_is_never_shown() {
    let texts = ["redis://anna:s3cr3t@redis-a/x", "redis://:s3cr3t#@redis-a", "anna:s3cr3t@redis-a", "s3cr3t@redis a"];
    for text in texts {
        let error = RedisAddress::parse(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
    }
    let address = RedisAddress::parse("redis://anna:s3cr3t@redis-a").unwrap();
    assert!(!format!("{address} {address:?} {}", address.label()).contains("s3cr3t"));
}

#[track_caller]
fn labels(texts: &[&str]) -> Vec<String> {
    let addresses = texts.iter().map(|text| RedisAddress::parse(text).unwrap()).collect();
    RedisAddress::labelled(addresses).unwrap().iter().map(|address| address.label().to_owned()).collect()
}

#[test]
fn labels_are_made_to_differ() {
    assert_eq!(labels(&["redis-a", "redis-b"]), ["redis-a", "redis-b"]);
    assert_eq!(labels(&["localhost:1", "localhost:2", "other"]), ["localhost:1", "localhost:2", "other"]);
    assert_eq!(labels(&["redis.a.com", "redis.b.com"]), ["redis.a.com:6379", "redis.b.com:6379"]);
    assert_eq!(labels(&["redis://r/1", "redis://r/2"]), ["r:6379/1", "r:6379/2"]);
    assert_eq!(labels(&["r=redis-a", "r.example.com"]), ["r", "r:6379"]);
    let twice = |texts: &[&str]| {
        RedisAddress::labelled(texts.iter().map(|text| RedisAddress::parse(text).unwrap()).collect()).unwrap_err()
    };
    assert_eq!(twice(&["a=r1", "a=r2"]), AddressError::LabelTwice("a".to_owned()));
    assert_eq!(twice(&["r1", "r1:6379"]), AddressError::Twice("r1:6379".to_owned()));
}

#[test]
fn a_dot_is_no_host() {
    assert_eq!(RedisAddress::parse("."), Err(AddressError::Host(".".to_owned())));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_its_login(text in any::<String>()) {
        if let Ok(address) = RedisAddress::parse(&text) {
            prop_assert!(!address.label().is_empty());
        }
    }
}
