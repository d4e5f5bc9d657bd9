use proptest::prelude::*;

use super::*;
use crate::change::override_::OverrideState;
use crate::change::sample;
use crate::change::sample::change;
use crate::change::sample::flag;
use crate::change::sample::override_of;

const OFF: Instruction = Instruction::TurnFlagOff;

fn keys(seed: &str) -> Keys {
    Keys::parse(&seed.repeat(KEY_LENGTH_MIN)).unwrap()
}

fn verified(keys: &Keys, override_: &Override) -> Signed {
    keys.verify(override_, &"shop/production".parse().unwrap(), &"checkout".parse().unwrap())
}

fn of(base: &Record) -> Override {
    override_of(base, &[OFF], change(1))
}

/// The digits are of `printf … | openssl dgst -sha256 -hmac …`, over this very text.
#[test]
fn what_is_signed_is_this_text() {
    let own = of(&Record::parse(br#"{"key":"checkout", "version":42}"#).unwrap());
    let text = concat!(
        r#"{"of":"relaycommander override","format":1,"revision":1,"environment":"shop/production","flag":"checkout","#,
        r#""instructions":[{"kind":"turnFlagOff"}],"changes":["01900000-0000-7000-8000-000000000001"],"#,
        r#""motive":{"actor":{"user":"anna","host":"bastion"},"at":"2026-10-20T02:14:07Z"},"#,
        r#""base":"{\"key\":\"checkout\", \"version\":42}","insisted":[]}"#
    );
    assert_eq!(String::from_utf8(signed_bytes(&own).unwrap()).unwrap(), text);
    let signed = keys("k").sign(own);
    assert_eq!(signed.signature.unwrap().0, "24773f5236774cba239f53e2baf9f738b265f0fc5f66cf708ead29047be04799");
}

#[test]
fn how_the_text_is_written_makes_no_difference() {
    let signed = keys("k").sign(of(&flag(42, true, 1, 0)));
    let text = serde_json::to_string(&signed).unwrap();
    let mut members: Vec<(String, serde_json::Value)> =
        serde_json::from_str::<serde_json::Map<_, _>>(&text).unwrap().into_iter().collect();
    members.reverse();
    let reversed: serde_json::Map<_, _> = members.into_iter().collect();
    let other = serde_json::to_string_pretty(&reversed).unwrap().replace("checkout\"", "check\\u006fut\"");
    assert_ne!(other, text);
    let read: Override = serde_json::from_str(&other).unwrap();
    assert_eq!((verified(&keys("k"), &read), &read), (Signed::Yes, &signed));
}

#[test]
fn every_key_verifies_and_the_first_one_signs() {
    let of_old = keys("o").sign(of(&flag(42, true, 1, 0)));
    let both = Keys::parse(&format!("{}\n{}\n", "n".repeat(32), "o".repeat(32))).unwrap();
    assert_eq!((both.count(), verified(&both, &of_old)), (2, Signed::Yes));
    let anew = both.sign(of_old.clone());
    assert_eq!(verified(&keys("n"), &anew), Signed::Yes);
    assert_eq!(verified(&keys("o"), &anew), Signed::Otherwise);
    assert_eq!(verified(&keys("n"), &of_old), Signed::Otherwise);
    assert!(!format!("{both:?}").contains('n'));
}

#[test]
fn no_signature_and_what_is_none() {
    let own = of(&flag(42, true, 1, 0));
    assert_eq!(verified(&keys("k"), &own), Signed::No);
    let signed = keys("k").sign(own);
    let digits = signed.signature.clone().unwrap().0;
    for wrong in
        ["", "0", &digits[1..], &digits.to_uppercase(), &format!("{digits}0"), &format!("+{}", &digits[1..]), "ü"]
    {
        let own = Override { signature: Some(Signature(wrong.to_owned())), ..signed.clone() };
        assert_eq!(verified(&keys("k"), &own), Signed::Otherwise, "{wrong}");
    }
}

/// Copied to another flag or environment, whatever it says of itself.
#[test]
fn it_is_of_one_flag_of_one_environment() {
    let signed = keys("k").sign(of(&flag(42, true, 1, 0)));
    let (environment, other) = (signed.environment.clone(), "refunds".parse().unwrap());
    assert_eq!(keys("k").verify(&signed, &environment, &other), Signed::Otherwise);
    let moved = Override { flag: other.clone(), ..signed.clone() };
    assert_eq!(keys("k").verify(&moved, &environment, &other), Signed::Otherwise);
    let staging = "shop/staging".parse().unwrap();
    assert_eq!(keys("k").verify(&signed, &staging, &signed.flag), Signed::Otherwise);
}

/// Every way to make it another one.
fn changed(own: &Override, way: usize) -> Override {
    let mut other = own.clone();
    match way {
        0 => other.revision += 1,
        1 => other.format += 1,
        2 => other.environment = "shop/staging".parse().unwrap(),
        3 => other.flag = "refunds".parse().unwrap(),
        4 => other.instructions.push(Instruction::UpdateOffVariation { variation: 9 }),
        5 => drop(other.instructions.pop()),
        6 => other.changes.push(change(99)),
        7 => other.changes[0] = change(98),
        8 => other.motive.actor.user.push('x'),
        9 => other.motive.actor.host.push('x'),
        10 => other.motive.at += jiff::SignedDuration::from_nanos(1),
        11 => other.motive.reason = Some("another".to_owned()),
        12 => other.motive.incident = Some("another".to_owned()),
        13 => other.motive.expires = Some(other.motive.at),
        14 => other.base = other.base.with(&[("version", "7".to_owned())]),
        // The same value in other bytes.
        15 => other.base = Record::parse(format!("{} ", other.base.text()).as_bytes()).unwrap(),
        16 => drop(other.insisted.insert(Aspect::Rules)),
        _ => unreachable!(),
    }
    other
}

fn any_override() -> impl Strategy<Value = Override> {
    let instructions = prop::collection::vec(sample::instruction(), 1..4);
    (sample::record(), instructions, 1..9_u64, any::<bool>(), "[a-z\"\\\\\n]{0,4}").prop_map(
        |(base, instructions, revision, insists, reason)| {
            let mut own = override_of(&base, &instructions, change(1));
            own.revision = revision;
            own.motive.reason = Some(reason);
            own.insisted.extend(insists.then_some(Aspect::On));
            own
        },
    )
}

proptest! {
    #[test]
    fn what_is_signed_verifies_also_after_it_was_written(own in any_override()) {
        let signed = keys("k").sign(own.clone());
        prop_assert_eq!(verified(&keys("k"), &signed), Signed::Yes);
        let read: Override = serde_json::from_str(&serde_json::to_string(&signed).unwrap()).unwrap();
        prop_assert_eq!(verified(&keys("k"), &read), Signed::Yes);
        prop_assert_eq!(verified(&keys("other"), &read), Signed::Otherwise);
        prop_assert_eq!(Override { signature: None, ..signed }, own);
    }

    #[test]
    fn whatever_is_changed_breaks_it(own in any_override(), way in 0..17_usize) {
        let other = changed(&keys("k").sign(own), way);
        prop_assert_eq!(keys("k").verify(&other, &other.environment, &other.flag), Signed::Otherwise);
    }

    /// What guards and replays do without a key.
    #[test]
    fn upkeep_does_not(own in any_override(), upstream in sample::record(), version in 0..9_u64) {
        let signed = keys("k").sign(own);
        let states = [
            OverrideState::InForce,
            OverrideState::Replayed { version },
            OverrideState::AwaitingApproval { request: version.to_string() },
        ];
        for state in states {
            let kept = Override { upstream: upstream.clone(), state, ..signed.clone() };
            prop_assert_eq!(verified(&keys("k"), &kept), Signed::Yes);
        }
    }
}
