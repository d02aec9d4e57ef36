//! A signed statement of the whole tree: origin, size and root, as a C2SP `tlog-checkpoint` in a C2SP `signed-note`,
//! the text form that witnesses and cosigners of transparency logs read.
//!
//! What it guarantees: a checkpoint that [`verify`](Checkpoint::verify) returns was signed by the key given. What it
//! does not do: tell a fork, for which two checkpoints must meet (see [`crate::proof::Consistency`]).

use aumbry_crypto as crypto;
use aumbry_crypto::signature::{SigningKey, VerifyingKey};
use aumbry_types::StorageId;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Frontier, hex, text};

/// Why a checkpoint could not be signed or verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The origin also names the key, so it may hold no space, `+` or control character, and must not be empty.
    #[error("the origin of a checkpoint must be a name without spaces, `+` and control characters")]
    Origin,
    /// The text is not a signed note that holds a checkpoint.
    #[error("this is not a signed checkpoint")]
    Malformed,
    /// There is no signature by the key that was expected.
    #[error("the checkpoint is not signed by the expected key")]
    Unsigned,
    /// A signature claims to be by the key expected, and is not.
    #[error("the signature of the checkpoint is wrong")]
    Signature,
}

/// What the tree was at a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log, which is also the name of its key.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root of the tree over them.
    pub root: [u8; 32],
}

impl Checkpoint {
    /// The checkpoint of a tree, with the [origin](Self::origin_of) that belongs to the store.
    #[must_use]
    pub fn new(storage_id: &StorageId, tree: &Frontier) -> Self {
        Self {
            origin: Self::origin_of(storage_id),
            size: tree.size(),
            root: tree.root(),
        }
    }

    /// The name of a store's log: it goes with the data, so a restored store continues the log it was made from.
    #[must_use]
    pub fn origin_of(storage_id: &StorageId) -> String {
        format!("aumbry/audit/{storage_id}")
    }

    /// The store that the log is of, if the origin names one.
    #[must_use]
    pub fn storage_id(&self) -> Option<StorageId> {
        let id = self.origin.strip_prefix("aumbry/audit/")?.parse().ok()?;
        (Self::origin_of(&id) == self.origin).then_some(id)
    }

    /// The signed note: the checkpoint's three lines, an empty line, and the signature.
    ///
    /// # Errors
    /// [`CheckpointError::Origin`] if the origin cannot name a key.
    pub fn sign(&self, key: &SigningKey) -> Result<String, CheckpointError> {
        if !is_key_name(&self.origin) {
            return Err(CheckpointError::Origin);
        }
        let body = format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root));
        Ok(sign_note(&body, &self.origin, key))
    }

    /// Reads a signed note and checks its signature. Signatures by other keys, such as a witness's, are passed over,
    /// and so are lines after the third, which the format reserves for extensions.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn verify(note: &str, key: &VerifyingKey) -> Result<Self, CheckpointError> {
        let (body, _) = parts(note).ok_or(CheckpointError::Malformed)?;
        let checkpoint = Self::parse(body).ok_or(CheckpointError::Malformed)?;
        check_note(note, key).map(|_| checkpoint)
    }

    fn parse(body: &str) -> Option<Self> {
        let mut lines = body.split_terminator('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        if !is_key_name(origin) || lines.any(str::is_empty) {
            return None;
        }
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        Some(Self {
            origin: origin.to_owned(),
            size: number(size)?,
            root,
        })
    }
}

/// Reads a public key as people hand it on: 64 hex digits, or a verifier key of C2SP `signed-note`, which is
/// `<name>+<id>+<base64 of the algorithm and the key>`. White space around it counts for nothing.
#[must_use]
pub fn public_key(text: &str) -> Option<VerifyingKey> {
    let text = text.trim();
    if let Some(bytes) = hex::decode(text) {
        return Some(VerifyingKey::from_bytes(bytes));
    }
    let (name, rest) = text.split_once('+')?;
    let (id, bytes) = rest.split_once('+')?;
    let bytes: [u8; 33] = STANDARD.decode(bytes).ok()?.try_into().ok()?;
    let (algorithm, key) = bytes.split_first_chunk::<1>()?;
    let key = VerifyingKey::from_bytes(key.try_into().ok()?);
    (is_key_name(name) && algorithm == &[ALGORITHM_ED25519] && hex::decode(id) == Some(key_id(name, &key)))
        .then_some(key)
}

/// A number in its one form: leading zeros and a sign would be others of the same.
pub(crate) fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The note of a text that ends in a newline, signed by a key of this name.
pub(crate) fn sign_note(body: &str, name: &str, key: &SigningKey) -> String {
    let id = key_id(name, key.verifying_key());
    let signature = STANDARD.encode([id.as_slice(), &key.sign(body.as_bytes())].concat());
    format!("{body}\n{SIGNATURE_MARK}{name} {signature}\n")
}

/// The text of a note that this key signed, under the name that is the text's first line. Signatures by other keys are passed over.
pub(crate) fn check_note<'a>(note: &'a str, key: &VerifyingKey) -> Result<&'a str, CheckpointError> {
    let (body, signatures) = parts(note).ok_or(CheckpointError::Malformed)?;
    let origin = body.split('\n').next().unwrap_or_default();
    let id = key_id(origin, key);
    let mut is_signed = false;
    for line in signatures.split_terminator('\n') {
        let (name, bytes) = signature(line).ok_or(CheckpointError::Malformed)?;
        let Some(signature) = bytes.strip_prefix(id.as_slice()).filter(|_| name == origin) else {
            continue;
        };
        let signature = signature.try_into().map_err(|_| CheckpointError::Signature)?;
        if !key.verify(body.as_bytes(), signature) {
            return Err(CheckpointError::Signature);
        }
        is_signed = true;
    }
    if is_signed {
        Ok(body)
    } else {
        Err(CheckpointError::Unsigned)
    }
}

/// Splits a note into its text, which ends in a newline, and the lines of signatures.
fn parts(note: &str) -> Option<(&str, &str)> {
    if note.len() > NOTE_BYTES_MAX || note.contains(|c: char| c < ' ' && c != '\n') || !note.ends_with('\n') {
        return None;
    }
    let end = note.rfind("\n\n")? + 1;
    let signatures = &note[end + 1..];
    (signatures.lines().count() <= SIGNATURES_MAX).then_some((&note[..end], signatures))
}

/// Splits a line of a signature into the name of the key and the bytes of id and signature.
fn signature(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, bytes) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
    Some((name, STANDARD.decode(bytes).ok()?))
}

/// `SHA-256(name | newline | algorithm u8 | public key)`, its first four bytes: the id that C2SP recommends.
fn key_id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let hash = crypto::sha256(&[name.as_bytes(), b"\n", &[ALGORITHM_ED25519], key.as_bytes()]);
    [hash[0], hash[1], hash[2], hash[3]]
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+' || text::is_dangerous(c))
}

const SIGNATURE_MARK: &str = "— ";

/// The type of signature that `signed-note` assigns to Ed25519. Another algorithm gets another number, not a new format.
const ALGORITHM_ED25519: u8 = 0x01;

/// What the note format asks verifiers to accept at least.
const SIGNATURES_MAX: usize = 16;

/// The longest note: sixteen signatures of five kilobytes, the largest of post-quantum ones, and the text.
pub const NOTE_BYTES_MAX: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&aumbry_types::SecretKey::take(&mut [7; 32]))
    }

    fn checkpoint() -> Checkpoint {
        let mut tree = Frontier::new();
        tree.push([9; 32]);
        Checkpoint::new(&StorageId::from_bytes([1; 16]), &tree)
    }

    #[test]
    fn frozen_note() {
        let note = checkpoint().sign(&key()).unwrap();
        let frozen = "aumbry/audit/01010101010101010101010101010101\n1\nCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\n\n— aumbry/audit/01010101010101010101010101010101 SRf7mbSL+nXRyCT8AJfS8zixPOvKNZbezeshKDYihLEuCrEUhWFYpPYX8cb8i9Ds1+kT8BHqwxdkjzY8jKXdkGJHawQ=\n";
        assert_eq!(note, frozen);
        assert_eq!(Checkpoint::verify(&note, key().verifying_key()), Ok(checkpoint()));
    }

    #[test]
    fn a_public_key_has_two_forms() {
        let key = *key().verifying_key();
        let hex = hex::encode(key.as_bytes());
        assert_eq!(public_key(&format!(" {hex}\n")), Some(key));
        let origin = checkpoint().origin;
        let id = hex::encode(&key_id(&origin, &key));
        let bytes = STANDARD.encode([&[ALGORITHM_ED25519][..], key.as_bytes()].concat());
        assert_eq!(public_key(&format!("{origin}+{id}+{bytes}\n")), Some(key));
        let cosigner = STANDARD.encode([&[4][..], key.as_bytes()].concat());
        for bad in [
            String::new(),
            hex[1..].to_owned(),
            format!("{origin}+00000000+{bytes}"),
            format!("another+{id}+{bytes}"),
            format!("{origin}+{id}+{cosigner}"),
            format!("{origin}+{id}"),
        ] {
            assert_eq!(public_key(&bad), None, "{bad}");
        }
        assert_eq!(checkpoint().storage_id(), Some(StorageId::from_bytes([1; 16])));
    }

    #[test]
    fn the_example_of_the_format_parses() {
        let body = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let checkpoint = Checkpoint::parse(body).unwrap();
        assert_eq!(
            (checkpoint.origin.as_str(), checkpoint.size),
            ("example.com/behind-the-sofa", 20_852_163)
        );
    }

    #[test]
    fn a_witness_may_add_its_signature_and_a_version_its_lines() {
        let note = checkpoint().sign(&key()).unwrap();
        let cosigned = format!("{note}— witness.example/w1 AAAAAAA=\n");
        assert_eq!(Checkpoint::verify(&cosigned, key().verifying_key()), Ok(checkpoint()));
        let extended = format!(
            "{}a line of a later version\n",
            note.split_once("\n\n").unwrap().0.to_owned() + "\n"
        );
        let signature = STANDARD.encode(
            [
                key_id(&checkpoint().origin, key().verifying_key()).as_slice(),
                &key().sign(extended.as_bytes()),
            ]
            .concat(),
        );
        let extended = format!("{extended}\n— {} {signature}\n", checkpoint().origin);
        assert_eq!(Checkpoint::verify(&extended, key().verifying_key()), Ok(checkpoint()));
    }

    #[test]
    fn what_is_not_signed_so_is_refused() {
        let note = checkpoint().sign(&key()).unwrap();
        let other = SigningKey::from_seed(&aumbry_types::SecretKey::take(&mut [8; 32]));
        let cases = [
            (note.replace("\n1\n", "\n2\n"), CheckpointError::Signature),
            (note.replace("\n1\n", "\n01\n"), CheckpointError::Malformed),
            (note.replace("\n1\n", "\n+1\n"), CheckpointError::Malformed),
            (note.replace("\n1\n", "\r\n1\n"), CheckpointError::Malformed),
            (note.replace("\n\n", "\n"), CheckpointError::Malformed),
            (note.trim_end().to_owned(), CheckpointError::Malformed),
            (note.replace("aumbry/audit", "aumbry/audi"), CheckpointError::Unsigned),
            (checkpoint().sign(&other).unwrap(), CheckpointError::Unsigned),
            (
                format!("{}{}", note.split_once("\n\n").unwrap().0, "\n\n"),
                CheckpointError::Unsigned,
            ),
            (
                format!("{note}{}", "— w AAAA\n".repeat(SIGNATURES_MAX)),
                CheckpointError::Malformed,
            ),
            (String::new(), CheckpointError::Malformed),
        ];
        for (note, error) in cases {
            assert_eq!(Checkpoint::verify(&note, key().verifying_key()), Err(error), "{note}");
        }
    }

    #[test]
    fn an_origin_that_cannot_name_a_key_is_refused() {
        for origin in ["", "a b", "a+b", "a\nb", "a\u{202e}b"] {
            let checkpoint = Checkpoint {
                origin: origin.into(),
                ..checkpoint()
            };
            assert_eq!(checkpoint.sign(&key()), Err(CheckpointError::Origin));
        }
    }
}
