//! Writing under a condition, reading one's own writes elsewhere, and what an error says of the outcome.
//!
//! ```sh
//! export AUMBRY_ADDR=127.0.0.1:8200 AUMBRY_CACERT=ca.pem AUMBRY_TOKEN=...
//! cargo run --example kv
//! ```

use std::error::Error;

use aumbry_client::{Client, v1};
use aumbry_types::SecretBytes;

/// Counts a number in a secret up by one, whoever else does the same; gives the number.
pub(crate) async fn run(client: &Client, path: &str) -> Result<u64, Box<dyn Error>> {
    loop {
        let request = v1::KvGetRequest {
            path: path.to_owned(),
            ..Default::default()
        };
        let (version, number) = match client.call(request).await {
            Ok(reply) => {
                let item = reply.item.unwrap_or_default();
                let data: serde_json::Value = serde_json::from_slice(&item.data)?;
                (
                    item.version.unwrap_or_default().version,
                    data["number"].as_u64().unwrap_or(0),
                )
            }
            Err(error) if error.reason() == "NOT_FOUND" => (0, 0),
            Err(error) => return Err(error.into()),
        };
        let request = v1::KvPutRequest {
            path: path.to_owned(),
            data: serde_json::json!({ "number": number + 1 })
                .to_string()
                .into_bytes()
                .into(),
            cas: Some(version),
            ..Default::default()
        };
        match client.call(request).await {
            Ok(_) => break,
            // Somebody was faster.
            Err(error) if error.reason() == "CAS_MISMATCH" => {}
            // Tries with one idempotency key are one write; what is unknown after all of them has to be looked at.
            Err(error) => return Err(error.into()),
        }
    }
    // Whoever is handed the position sees the write on any node, without that node asking the others.
    let reader = client.reading_at(client.position());
    let request = v1::KvGetRequest {
        path: path.to_owned(),
        ..Default::default()
    };
    let item = reader.call(request).await?.item.unwrap_or_default();
    let data: serde_json::Value = serde_json::from_slice(&item.data)?;
    Ok(data["number"].as_u64().unwrap_or(0))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let client = Client::builder()
        .endpoints(variable("AUMBRY_ADDR")?.split(',').map(str::to_owned))
        .ca_pem(std::fs::read(variable("AUMBRY_CACERT")?)?)
        .token(SecretBytes::from(variable("AUMBRY_TOKEN")?))
        .build()?;
    tell(run(&client, "secret/counter").await?);
    Ok(())
}

#[expect(clippy::print_stderr, reason = "an example tells what it did")]
fn tell(number: u64) {
    eprintln!("secret/counter is {number}");
}
