//! A service that logs in by AppRole, and reads what it needs for as long as it runs.
//!
//! The session renews its token in the background, and logs in again when that ends or the token is no longer taken: nothing below has to know. The secret
//! id comes from a file, which may be replaced at any time.
//!
//! ```sh
//! export AUMBRY_ADDR=n1.example.com:8200,n2.example.com:8200 AUMBRY_CACERT=ca.pem
//! ROLE_ID=... SECRET_ID_FILE=secret-id cargo run --example approle
//! ```

use std::error::Error;
use std::path::PathBuf;

use aumbry_client::{Client, Evidence, Login, Session, v1};

/// Reads a secret as an application that has nothing but a role id and a file.
pub(crate) async fn run(client: &Client, role_id: &str, secret_id: PathBuf, path: &str) -> Result<u64, Box<dyn Error>> {
    let login = Login::approle("approle", role_id, Evidence::file(secret_id));
    let session = Session::start(client, login).await?;
    // A clone for each part of the program: all show the token of the moment.
    let client = session.client().clone();
    let request = v1::KvGetRequest {
        path: path.to_owned(),
        ..Default::default()
    };
    let item = client.call(request).await?.item.unwrap_or_default();
    session.end().await?;
    Ok(item.version.unwrap_or_default().version)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let client = Client::builder()
        .endpoints(variable("AUMBRY_ADDR")?.split(',').map(str::to_owned))
        .ca_pem(std::fs::read(variable("AUMBRY_CACERT")?)?)
        .build()?;
    let version = run(
        &client,
        &variable("ROLE_ID")?,
        variable("SECRET_ID_FILE")?.into(),
        "secret/app",
    )
    .await?;
    // The value is for the program, and never for its output.
    eprintln_version(version);
    Ok(())
}

#[expect(clippy::print_stderr, reason = "an example tells what it did")]
fn eprintln_version(version: u64) {
    eprintln!("read version {version} of secret/app");
}
