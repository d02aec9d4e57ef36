//! The line of text that a new node joins with: where the cluster is, what it is, and the secret.

use aumbry_types::{ClusterId, SecretBytes, hex};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A join token, unpacked.
pub(crate) struct Ticket {
    /// The cluster that it is for.
    pub(crate) cluster: ClusterId,
    /// SHA-256 of the certificate of the cluster's authority (PEM), in hexadecimal digits.
    pub(crate) authority: String,
    /// Where members serve clients.
    pub(crate) addresses: Vec<String>,
    /// The secret.
    pub(crate) secret: SecretBytes,
}

/// The text is no join token.
#[derive(Debug, thiserror::Error)]
#[error("this is not a join token; make one with `aumbry operator join-token` and pass the whole line on")]
pub(crate) struct NotATicket;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    cluster: String,
    authority: String,
    addresses: Vec<String>,
    secret: String,
}

impl Ticket {
    /// Packs it into one line.
    pub(crate) fn to_text(&self) -> SecretBytes {
        let form = Form {
            cluster: self.cluster.to_string(),
            authority: self.authority.clone(),
            addresses: self.addresses.clone(),
            secret: hex::encode(self.secret.expose()),
        };
        let json = Zeroizing::new(serde_json::to_vec(&form).unwrap_or_default());
        SecretBytes::from(format!("{PREFIX}{}", hex::encode(&json)))
    }

    /// Unpacks a line.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, NotATicket> {
        let text = core::str::from_utf8(text).map_err(|_| NotATicket)?.trim();
        if text.len() > TEXT_BYTES_MAX {
            return Err(NotATicket);
        }
        let json = Zeroizing::new(hex::decode_all(text.strip_prefix(PREFIX).ok_or(NotATicket)?).ok_or(NotATicket)?);
        let form: Form = serde_json::from_slice(&json).map_err(|_| NotATicket)?;
        let secret = hex::decode_all(&form.secret).ok_or(NotATicket)?;
        Ok(Self {
            cluster: form.cluster.parse().map_err(|_| NotATicket)?,
            authority: form.authority,
            addresses: form.addresses,
            secret: SecretBytes::new(secret),
        })
    }
}

const PREFIX: &str = "aumbry-join-";
/// A few dozen addresses.
const TEXT_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_unpacks() {
        let ticket = Ticket {
            cluster: ClusterId::from_bytes([3; 16]),
            authority: "ab".to_owned(),
            addresses: vec!["127.0.0.1:8200".to_owned()],
            secret: SecretBytes::new(vec![9; 32]),
        };
        let text = ticket.to_text();
        let read = Ticket::parse(text.expose()).expect("is a join token");
        assert_eq!(
            (read.cluster, read.addresses, read.secret.expose()),
            (ticket.cluster, ticket.addresses, &[9; 32][..])
        );
        for bad in [
            &b""[..],
            b"aumbry-join-",
            b"aumbry-join-zz",
            b"aumbry-join-7b7d",
            &text.expose()[..40],
        ] {
            assert!(Ticket::parse(bad).is_err());
        }
    }
}
