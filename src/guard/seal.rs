//! What is kept on disk so that only whoever presents the secret itself gets it back: sealed under a key that is derived
//! from the secret (HKDF with SHA-256) by AES-256-GCM. PURE but for randomness. The salt is new each time, so no key is
//! used twice.

use ring::aead;
use ring::hkdf;
use ring::rand::SecureRandom;
use ring::rand::SystemRandom;

/// What a sealed file begins with.
const MAGIC: &[u8] = b"rc-guard-sealed-1\n";

const SALT_LENGTH: usize = 32;

/// Why something cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// Another secret, or the text is damaged.
    #[error("it is damaged, or sealed by another key")]
    NotOpened,
}

/// Seals `text` under `secret`. What it is `about` is not in it, and must be the same when it is opened.
///
/// # Errors
/// [`SealError::Random`].
pub fn seal(secret: &[u8], about: &[u8], text: &[u8]) -> Result<Vec<u8>, SealError> {
    let random = SystemRandom::new();
    let mut salt = [0; SALT_LENGTH];
    let mut nonce = [0; aead::NONCE_LEN];
    random.fill(&mut salt).map_err(|_| SealError::Random)?;
    random.fill(&mut nonce).map_err(|_| SealError::Random)?;
    let key = derived(secret, &salt).ok_or(SealError::NotOpened)?;
    let mut sealed = text.to_vec();
    key.seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(about), &mut sealed)
        .map_err(|_| SealError::NotOpened)?;
    Ok([MAGIC, &salt, &nonce, &sealed].concat())
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`SealError::NotOpened`].
pub fn open(secret: &[u8], about: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let rest = sealed.strip_prefix(MAGIC).ok_or(SealError::NotOpened)?;
    let (salt, rest) = rest.split_at_checked(SALT_LENGTH).ok_or(SealError::NotOpened)?;
    let (nonce, rest) = rest.split_at_checked(aead::NONCE_LEN).ok_or(SealError::NotOpened)?;
    let key = derived(secret, salt).ok_or(SealError::NotOpened)?;
    let nonce = aead::Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::NotOpened)?;
    let mut text = rest.to_vec();
    let length = key.open_in_place(nonce, aead::Aad::from(about), &mut text).map_err(|_| SealError::NotOpened)?.len();
    text.truncate(length);
    Ok(text)
}

fn derived(secret: &[u8], salt: &[u8]) -> Option<aead::LessSafeKey> {
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let key = secret.expand(&[b"relaycommander guard"], &aead::AES_256_GCM).ok()?;
    Some(aead::LessSafeKey::new(aead::UnboundKey::from(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_opens_it() {
        let sealed = seal(b"rel-1", b"configuration", b"sdk-1234").unwrap();
        assert!(!sealed.windows(4).any(|part| part == b"sdk-" || part == b"rel-"));
        assert_eq!(open(b"rel-1", b"configuration", &sealed).unwrap(), b"sdk-1234");
        assert_eq!(open(b"rel-2", b"configuration", &sealed), Err(SealError::NotOpened));
        assert_eq!(open(b"rel-1", b"something else", &sealed), Err(SealError::NotOpened));
        assert_ne!(seal(b"rel-1", b"configuration", b"sdk-1234").unwrap(), sealed);
    }

    #[test]
    fn what_is_damaged_anywhere_does_not_open() {
        let sealed = seal(b"rel-1", b"", b"text").unwrap();
        for place in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[place] ^= 1;
            assert_eq!(open(b"rel-1", b"", &damaged), Err(SealError::NotOpened), "byte {place}");
            assert_eq!(open(b"rel-1", b"", &sealed[..place]), Err(SealError::NotOpened), "cut at {place}");
        }
    }
}
