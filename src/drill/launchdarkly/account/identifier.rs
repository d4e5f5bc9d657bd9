//! Identifiers as LaunchDarkly forms them: UUIDs for variations, rules and clauses, 24 hexadecimal digits for objects.
//! Those that stand for something seeded are made from its name, so that two runs of a rehearsal show the same ids.

use sha2::Digest;
use sha2::Sha256;
use uuid::Builder;
use uuid::Uuid;

fn digest(parts: &[&str]) -> [u8; 32] {
    let mut sum = Sha256::new();
    for part in parts {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        sum.update((part.len() as u64).to_be_bytes());
        sum.update(part.as_bytes());
    }
    sum.finalize().into()
}

/// The UUID that belongs to these names: always the same one.
pub fn uuid_of(parts: &[&str]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest(parts)[..16]);
    Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// The object id (24 hexadecimal digits) that belongs to these names: always the same one.
pub fn object_of(parts: &[&str]) -> String {
    digest(parts)[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digits (32, hexadecimal) that belong to these names: salts and the like.
pub fn digits_of(parts: &[&str]) -> String {
    digest(parts)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A UUID that was never there before.
pub fn fresh_uuid() -> String {
    Uuid::now_v7().to_string()
}

/// An object id that was never there before.
pub fn fresh_object() -> String {
    object_of(&[&fresh_uuid()])
}
