//! Aumbry as programs reach it: over the channel of the SDK, with messages that are encoded already.

use std::time::Duration;

use aumbry_api::v1::Failure;
use aumbry_client::{Client, Encoded};
use aumbry_types::SecretBytes;
use bytes::Bytes;

use crate::Error;
use crate::fault::Fault;

/// One connection.
pub(crate) struct SdkConnection(Client);

impl SdkConnection {
    /// Connects.
    pub(crate) async fn open(
        address: &str,
        ca_pem: &[u8],
        token: &SecretBytes,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let client = Client::builder()
            .endpoints([address.to_owned()])
            .ca_pem(ca_pem.to_vec())
            .token(token.duplicate())
            .timeout(timeout)
            .retries(false)
            .build()
            .map_err(|error| Error::Setting(error.to_string()))?;
        client.health(None).await.map_err(|error| Error::Connect {
            address: address.to_owned(),
            why: error.to_string(),
        })?;
        Ok(Self(client))
    }

    /// A method at this server.
    pub(crate) fn method(&self, method: &'static str) -> Result<Encoded, Error> {
        let encoded = self.0.encoded(method);
        encoded.map_err(|error| Error::Setting(error.to_string()))
    }
}

/// Sends a message and waits until the reply is read.
pub(crate) async fn call(method: &Encoded, message: Bytes) -> Result<(), Fault> {
    let answer = method.call(message).await;
    answer.map(drop).map_err(|failure| fault(&failure))
}

/// Aumbry gives a reason with each failure. One that has none and no better code is of the connection: it broke while the answer was on its way.
fn fault(failure: &Failure) -> Fault {
    match (failure.reason.as_str(), failure.code) {
        ("TRANSPORT", UNKNOWN) => Fault::BROKEN,
        _ => Fault::of_failure(failure),
    }
}

const UNKNOWN: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_without_a_reason_is_of_the_connection() {
        let check = |reason: &str, code, kind: &str| {
            let failure = Failure {
                reason: reason.to_owned(),
                code,
                ..Failure::default()
            };
            assert_eq!(fault(&failure).kind, kind, "{reason} {code}");
        };
        check("TRANSPORT", 2, "CONNECTION_BROKEN");
        check("TRANSPORT", 14, "CONNECTION_BROKEN");
        check("TRANSPORT", 4, "TIMEOUT");
        check("TRANSPORT", 8, "RESOURCE_EXHAUSTED");
        check("OUTCOME_UNKNOWN", 2, "OUTCOME_UNKNOWN");
    }
}
