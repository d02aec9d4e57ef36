//! Shares that only their custodians read: `age` makes their keys and opens what the node and the program wrote.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Cluster, Server, Unusual, run_cli};
use aumbry_types::SecretBytes;

/// Runs a program, and gives what it wrote.
fn run(command: &mut Command) -> Result<String> {
    let ran = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        ran.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    Ok(String::from_utf8(ran.stdout)?)
}

/// The recipient of a new identity in this file.
fn make_custodian(file: &Path) -> Result<String> {
    run(Command::new("age-keygen").arg("--output").arg(file))?;
    Ok(run(Command::new("age-keygen").arg("-y").arg(file))?.trim().to_owned())
}

fn decrypt(identity: &Path, file: &Path) -> Result<String> {
    run(Command::new("age")
        .arg("--decrypt")
        .arg("--identity")
        .arg(identity)
        .arg(file))
}

/// From the first shares, through one that is lost, to new ones; and whoever stands between sees none of them.
///
/// Abuse cases: 63.
#[tokio::test(flavor = "multi_thread")]
async fn shares_are_for_their_custodians_alone() -> Result<()> {
    let lender = Cluster::start(1)?;
    let directory = tempfile::tempdir()?;
    let place = |name: &str| directory.path().join(name);
    let recipients = (1..=4)
        .map(|n| make_custodian(&place(&format!("key-{n}"))))
        .collect::<Result<Vec<_>>>()?;
    let server = Server::start(&place("node"), &lender, &Unusual::default()).await?;
    let cli = |arguments: &[&str], token: &str, input: &str| {
        let environment = [
            ("AUMBRY_ADDR", server.client_address()),
            ("AUMBRY_CACERT", lender.ca_file()),
            ("AUMBRY_TOKEN", token),
        ];
        run_cli(arguments, &environment, input)
    };

    // What is wrong with the recipients is said before a share exists: the node is as new.
    let shares = ["operator", "init", "--shares", "3", "--threshold", "2"];
    let identity = std::fs::read_to_string(place("key-1"))?;
    let identity = identity.lines().last().context("has a key")?;
    for (wrong, why) in [
        (recipients[..2].join(","), "2 recipients for 3 shares"),
        (
            [&recipients[0], &recipients[1], &recipients[0]]
                .map(String::as_str)
                .join(","),
            "named before",
        ),
        (
            [&recipients[0], "age1zzz", &recipients[1]]
                .map(|text: &str| text.to_owned())
                .join(","),
            "recipient 2",
        ),
        (
            [&recipients[0], identity, &recipients[1]]
                .map(|text: &str| text.to_owned())
                .join(","),
            "is secret",
        ),
    ] {
        let refused = cli(&[&shares[..], &["--recipient", &wrong]].concat(), "", "")?;
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && told.contains(why), "{why}: {told}");
        ensure!(!told.contains(identity), "an identity is told");
    }
    let anybody = server.client_as(SecretBytes::default())?;
    ensure!(!anybody.seal_status(None).await?.initialized, "shares were made");

    let first = place("first");
    let out = first.to_str().context("is text")?;
    let named = recipients[..3].join(",");
    let made = [
        &shares[..],
        &[
            "--recipient",
            &named,
            "--root-token-recipient",
            &recipients[3],
            "--out-dir",
            out,
        ],
    ]
    .concat();
    let made = cli(&made, "", "")?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let share = |n: usize| decrypt(&place(&format!("key-{n}")), &first.join(format!("share-{n}.age")));
    ensure!(
        decrypt(&place("key-1"), &first.join("share-2.age")).is_err(),
        "it is another's"
    );
    for n in [1, 3] {
        let shown = cli(&["operator", "unseal", "-"], "", &share(n)?)?;
        ensure!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    }
    let root = decrypt(&place("key-4"), &first.join("root-token.age"))?;

    // The second custodian is gone: the others make new shares, and the fourth has one of them.
    let second = place("second");
    let out = second.to_str().context("is text")?;
    let named = [&recipients[0], &recipients[2], &recipients[3]]
        .map(String::as_str)
        .join(",");
    let rekey = [
        "operator",
        "rekey",
        "--shares",
        "3",
        "--threshold",
        "2",
        "--recipient",
        &named,
        "--out-dir",
        out,
    ];
    let made = cli(&rekey, &root, &[share(1)?, share(3)?].join("\n"))?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let new = |key: usize, n: usize| decrypt(&place(&format!("key-{key}")), &second.join(format!("share-{n}.age")));
    let tried = cli(
        &["operator", "rekey", "--verify"],
        &root,
        &[new(4, 3)?, new(1, 1)?].join("\n"),
    )?;
    ensure!(tried.status.success(), "{}", String::from_utf8_lossy(&tried.stderr));
    ensure!(anybody.seal_status(None).await?.epoch == 2, "the new shares count");

    let sealed = cli(&["operator", "seal"], &root, "")?;
    ensure!(sealed.status.success(), "{}", String::from_utf8_lossy(&sealed.stderr));
    let stale = cli(&["operator", "unseal", "-"], "", &share(1)?)?;
    ensure!(!stale.status.success(), "an old share counts");
    for share in [new(3, 2)?, new(4, 3)?] {
        cli(&["operator", "unseal", "-"], "", &share)?;
    }
    ensure!(!anybody.seal_status(None).await?.sealed, "the new ones open it");
    Ok(())
}
