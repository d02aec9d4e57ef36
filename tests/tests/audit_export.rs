//! The exported audit log of a real node.

use anyhow::{Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Cluster, Server, Unusual, run_cli};
use aumbry_types::SecretBytes;

/// An initialisation whose reply was lost is repeated. Nobody has the keys of the first one's records: an export says so, and
/// verifies; cut to begin with a record that is shown, or with one more withheld, it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_initialisation_can_be_exported_and_verified() -> Result<()> {
    let lender = Cluster::start(1)?;
    let directory = tempfile::tempdir()?;
    let server = Server::start(&directory.path().join("n1"), &lender, &Unusual::default()).await?;
    let init = v1::InitRequest {
        shares: 1,
        threshold: 1,
        key: "owner".into(),
        ..Default::default()
    };
    let client = server.client_as(SecretBytes::default())?;
    client.init(init.clone()).await?;
    let made = client.init(init).await?;
    let share = String::from_utf8(made.shares[0].to_vec())?;
    server.unseal(&[share]).await?;

    let file = directory.path().join("log.jsonl");
    let (root, file) = (String::from_utf8(made.root_token.to_vec())?, file.to_string_lossy());
    let environment = [
        ("AUMBRY_ADDR", server.client_address()),
        ("AUMBRY_CACERT", lender.ca_file()),
        ("AUMBRY_TOKEN", root.as_str()),
    ];
    let exported = run_cli(&["audit", "export", &file], &environment, "")?;
    ensure!(
        exported.status.success(),
        "{}",
        String::from_utf8_lossy(&exported.stderr)
    );
    let verify = |fingerprint: &str| {
        let arguments = [
            "audit",
            "verify",
            &file,
            "--output",
            "json",
            "--fingerprint",
            fingerprint,
        ];
        run_cli(&arguments, &[], "")
    };
    let verified = verify(&made.checkpoint_fingerprint)?;
    let told: serde_json::Value = serde_json::from_slice(&verified.stdout)?;
    ensure!(verified.status.success() && told["withheld"] == 1, "{told}");

    let lines = std::fs::read_to_string(&*file)?;
    let line = lines.lines().position(|line| line.contains("withheld"));
    let without = lines.lines().enumerate().filter(|(n, _)| Some(*n) != line);
    std::fs::write(&*file, without.map(|(_, line)| format!("{line}\n")).collect::<String>())?;
    let verified = verify(&made.checkpoint_fingerprint)?;
    ensure!(
        verified.status.code() == Some(8),
        "a log without its first record is refused"
    );
    Ok(())
}
