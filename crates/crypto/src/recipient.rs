//! Encrypting to a custodian's public key, in the format of age v1 (<https://c2sp.org/age>, recipients of type X25519): any program of that format opens it.
//!
//! What it guarantees: only the holder of the identity reads the text; each has a key of its own, and one that was altered does not open. A recipient is
//! checked when it is read: typing errors, other kinds of keys, and points that would give everybody the same secret.
//!
//! What it does not do: say who encrypted it. Whoever knows the recipient can.

mod bech32;

use aumbry_types::{Entropy, SecretBytes};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use zeroize::Zeroizing;

use crate::primitives::{hkdf_sha256, hmac_sha256};

/// A public key that texts are encrypted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

/// Those whom the shares of a seal are encrypted to, one each.
#[derive(Clone, Debug)]
pub struct Recipients(Vec<Recipient>);

/// Why shares are not encrypted to these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecipientsError {
    /// One of them is none.
    #[error("recipient {number}: {error}")]
    One {
        /// Which, from 1 on.
        number: usize,
        /// Why.
        error: RecipientError,
    },
    /// One is named again.
    #[error("recipient {number} was named before: each share is for somebody else")]
    Repeated {
        /// Which, from 1 on.
        number: usize,
    },
    /// Too many, or too few.
    #[error("there are {found} recipients for {shares} shares: name as many as there are shares, or none")]
    Count {
        /// How many there are.
        found: usize,
        /// How many shares.
        shares: u8,
    },
}

/// Why a text is no recipient. It may be a secret that was pasted by mistake: it is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// It is no public key of age.
    #[error(
        "the text is not a recipient: one begins with `age1` and has 62 characters; `age-keygen -y FILE` prints it"
    )]
    Form,
    /// It is the secret beside it.
    #[error(
        "the text is an identity, which is secret: keep it to yourself, and give its recipient, which `age-keygen -y FILE` prints"
    )]
    Identity,
    /// A character is wrong.
    #[error("the recipient has a typing error, or was cut; copy all of it")]
    Checksum,
    /// Everybody could read what is encrypted to it.
    #[error("the recipient is no public key that anything can be encrypted to; make a new one with `age-keygen`")]
    Weak,
}

impl Recipient {
    /// Reads `age1...`.
    ///
    /// # Errors
    /// [`RecipientError`]
    pub fn parse(text: &str) -> Result<Self, RecipientError> {
        let text = text.trim();
        if text.len() > TEXT_BYTES_MAX {
            return Err(RecipientError::Form);
        }
        if text.to_ascii_lowercase().starts_with("age-secret-key-") {
            return Err(RecipientError::Identity);
        }
        let key = bech32::decode("age", text)?;
        let recipient = Self(key.try_into().map_err(|_| RecipientError::Form)?);
        // A point of small order gives everybody the same secret.
        recipient.agree(&[1; 32]).map(|_| recipient).ok_or(RecipientError::Weak)
    }

    /// The secret with an ephemeral key, and the public half of that.
    fn agree(&self, ephemeral: &[u8; 32]) -> Option<(Zeroizing<[u8; 32]>, [u8; 32])> {
        let ephemeral = PrivateKey::from_private_key(&X25519, ephemeral).ok()?;
        let share: [u8; 32] = ephemeral.compute_public_key().ok()?.as_ref().try_into().ok()?;
        let peer = UnparsedPublicKey::new(&X25519, self.0);
        let secret = agree(&ephemeral, peer, (), |secret| {
            <[u8; 32]>::try_from(secret).map(Zeroizing::new).map_err(|_| ())
        });
        secret.ok().map(|secret| (secret, share))
    }

    /// Encrypts the text, which has at most 64 KiB, and gives it in ASCII armor.
    #[must_use]
    pub fn encrypt(&self, text: &SecretBytes, entropy: &dyn Entropy) -> String {
        assert!(text.len() <= CHUNK_BYTES, "shares and tokens are short");
        let mut ephemeral = Zeroizing::new([0; 32]);
        let mut file_key = Zeroizing::new([0; 16]);
        let mut nonce = [0; 16];
        entropy.fill(&mut *ephemeral);
        entropy.fill(&mut *file_key);
        entropy.fill(&mut nonce);
        let (secret, share) = self.agree(&ephemeral).expect("it was tried when it was parsed");

        let mut wrap_key = Zeroizing::new([0; 32]);
        let salt = [share, self.0].concat();
        hkdf_sha256(&salt, &*secret, &[b"age-encryption.org/v1/X25519"], &mut *wrap_key);
        let wrapped = seal(&wrap_key, [0; NONCE_LEN], &*file_key);

        let mut file = format!(
            "age-encryption.org/v1\n-> X25519 {}\n{}\n---",
            STANDARD_NO_PAD.encode(share),
            STANDARD_NO_PAD.encode(wrapped)
        )
        .into_bytes();
        let mut mac_key = Zeroizing::new([0; 32]);
        hkdf_sha256(&[], &*file_key, &[b"header"], &mut *mac_key);
        let mac = hmac_sha256(&*mac_key, [&file[..]].into_iter());
        file.extend_from_slice(format!(" {}\n", STANDARD_NO_PAD.encode(mac)).as_bytes());

        let mut payload_key = Zeroizing::new([0; 32]);
        hkdf_sha256(&nonce, &*file_key, &[b"payload"], &mut *payload_key);
        file.extend_from_slice(&nonce);
        // The one chunk is the first and the last one.
        let mut counter = [0; NONCE_LEN];
        counter[NONCE_LEN - 1] = 1;
        file.extend_from_slice(&seal(&payload_key, counter, text.expose()));
        armor(&file)
    }
}

impl Recipients {
    /// Reads as many as there are shares; `None` if there are none at all.
    ///
    /// # Errors
    /// [`RecipientsError`]
    pub fn parse<T: AsRef<str>>(texts: &[T], shares: u8) -> Result<Option<Self>, RecipientsError> {
        if texts.is_empty() {
            return Ok(None);
        }
        // Counted first: what is parsed is bounded.
        if texts.len() != usize::from(shares) {
            let found = texts.len();
            return Err(RecipientsError::Count { found, shares });
        }
        let mut recipients = Vec::with_capacity(texts.len());
        for (number, text) in (1..).zip(texts) {
            let recipient = Recipient::parse(text.as_ref()).map_err(|error| RecipientsError::One { number, error })?;
            if recipients.contains(&recipient) {
                return Err(RecipientsError::Repeated { number });
            }
            recipients.push(recipient);
        }
        Ok(Some(Self(recipients)))
    }

    /// The shares, each in ASCII armor for its recipient.
    #[must_use]
    pub fn encrypt(&self, shares: &[SecretBytes], entropy: &dyn Entropy) -> Vec<SecretBytes> {
        let sealed = self.0.iter().zip(shares);
        sealed
            .map(|(recipient, share)| SecretBytes::from(recipient.encrypt(share, entropy)))
            .collect()
    }
}

fn seal(key: &[u8; 32], nonce: [u8; NONCE_LEN], plain: &[u8]) -> Vec<u8> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new);
    let mut sealed = Vec::with_capacity(plain.len() + CHACHA20_POLY1305.tag_len());
    sealed.extend_from_slice(plain);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let done = key.and_then(|key| key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed));
    done.expect("the cipher takes any key of its length and any short message");
    sealed
}

fn armor(file: &[u8]) -> String {
    let mut text = "-----BEGIN AGE ENCRYPTED FILE-----\n".to_owned();
    for line in STANDARD.encode(file).as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str("-----END AGE ENCRYPTED FILE-----\n");
    text
}

/// One has 62; more is not looked at.
const TEXT_BYTES_MAX: usize = 128;
const CHUNK_BYTES: usize = 65_536;

#[cfg(test)]
mod tests;
