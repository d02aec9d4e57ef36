//! Certificates of listeners change while the node runs.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Authority, Own, Pair, Watch, connect, der, eventually, run_cli, shown};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A pair of a new authority is shown whichever way it comes; connections that stand are not touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_pair_is_shown_however_it_comes() -> Result<()> {
    let own = Own::start().await?;
    let before = shown(&own.client, own.authority.pem(), "h2").await?;
    let mut watch = Watch::start(&own.client, own.authority.pem(), "aumbry.ready").await?;
    watch.until(false).await?;
    let log_before = own.log().matches("a new certificate is in use").count();
    ensure!(log_before == 0, "the positive control: nothing has changed yet");

    // By renaming.
    let authority = Authority::make()?;
    let renamed = authority.issue_until(2_090)?;
    own.write_pair(&renamed)?;
    comes(&own, &authority, &renamed).await?;
    ensure!(shown(&own.client, authority.pem(), "h2").await? != before);
    ensure!(
        shown(&own.client, own.authority.pem(), "h2").await.is_err(),
        "the old authority is trusted still"
    );
    ensure!(own.metric(EXPIRY).await? == 3_786_912_000.0, "2090-01-01");

    // In place.
    let written = authority.issue()?;
    std::fs::write(own.path("client.pem"), &written.certificate)?;
    std::fs::write(own.path("client.key"), &written.key)?;
    comes(&own, &authority, &written).await?;

    // By a link to a directory, as Kubernetes does: both names stay links, and the directory behind them is swapped.
    let old = own.path("..old");
    std::fs::create_dir(&old)?;
    for name in ["client.pem", "client.key"] {
        std::fs::rename(own.path(name), old.join(name))?;
        symlink(format!("..data/{name}"), own.path(name))?;
    }
    symlink("..old", own.path("..data"))?;
    let linked = authority.issue()?;
    let new = own.path("..new");
    std::fs::create_dir(&new)?;
    std::fs::write(new.join("client.pem"), &linked.certificate)?;
    std::fs::write(new.join("client.key"), &linked.key)?;
    std::fs::set_permissions(new.join("client.key"), std::fs::Permissions::from_mode(0o400))?;
    symlink("..new", own.path("..data.new"))?;
    std::fs::rename(own.path("..data.new"), own.path("..data"))?;
    comes(&own, &authority, &linked).await?;

    // Who was connected all the time still hears of each change.
    let client = own.client_as(Default::default(), authority.pem())?;
    let request = aumbry_client::v1::InitRequest {
        shares: 1,
        threshold: 1,
        ..Default::default()
    };
    let made = client.init(request).await?;
    client
        .unseal(None, aumbry_types::SecretBytes::new(made.shares[0].to_vec()))
        .await?;
    watch.until(true).await?;
    ensure!(own.metric(RELOADS).await? >= 3.0);
    Ok(())
}

/// Waits until the pair is shown, by a client that trusts its authority.
async fn comes(own: &Own, authority: &Authority, pair: &Pair) -> Result<()> {
    let expected = der(&pair.certificate)?;
    let is_shown = || async {
        shown(&own.client, authority.pem(), "h2")
            .await
            .is_ok_and(|der| der == expected)
    };
    eventually("the new certificate is shown", is_shown)
        .await
        .with_context(|| own.log())
}

/// What is not a whole, good pair is not taken: the old one stays, one line says why, and a metric counts it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_pair_leaves_the_old_one() -> Result<()> {
    let mut own = Own::start().await?;
    let before = shown(&own.client, own.authority.pem(), "h2").await?;
    let good = own.authority.issue()?;
    let other = own.authority.issue()?;
    let expired = own.authority.issue_until(2_020)?;
    ensure!(own.metric(FAILURES).await? == 0.0);
    let (certificate, key) = (own.path("client.pem"), own.path("client.key"));
    let mixed = Pair {
        certificate: good.certificate.clone(),
        key: other.key,
    };
    let cut = Pair {
        certificate: good.certificate[..good.certificate.len() / 2].to_owned(),
        key: good.key.clone(),
    };
    let mismatch = format!(
        "the key in {} is not that of the certificate in {}",
        key.display(),
        certificate.display()
    );
    let unreadable = format!("cannot use {}: ", certificate.display());
    let modes = format!(
        "its mode is 0644, so that others may read the key; run `chmod 600 {}`",
        key.display()
    );
    let mut failures = 0.0;
    for (pair, mode, why) in [
        (&mixed, 0o600, mismatch.as_str()),
        (&cut, 0o600, unreadable.as_str()),
        (&expired, 0o600, "expired at 2020-01-01T00:00:00Z; renew it"),
        (&good, 0o644, modes.as_str()),
    ] {
        own.write_pair(pair)?;
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode))?;
        let is_told = || async { own.log().contains(why) };
        eventually(why, is_told).await.with_context(|| own.log())?;
        // A signal looks again and tells again; the old pair stays all the same.
        let told = own.log().matches(why).count();
        own.signal("HUP")?;
        eventually("it is told again", || async { own.log().matches(why).count() > told }).await?;
        ensure!(shown(&own.client, own.authority.pem(), "h2").await? == before);
        let now = own.metric(FAILURES).await?;
        ensure!(now >= failures + 2.0, "{now} failures are counted");
        failures = now;
        for line in own.log().lines().filter(|line| line.contains("is not taken")) {
            ensure!(
                line.contains("[client]") && line.contains("the old one stays") && !line.contains("PRIVATE"),
                "{line}"
            );
        }
    }
    // Nothing was wrong with the last one but the mode.
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    comes(&own, &own.authority, &good).await?;
    own.signal("HUP")?;
    let unchanged = || async { own.log().contains("the certificate has not changed") };
    eventually("a signal without a change is told", unchanged).await?;
    ensure!(own.is_running()?, "a SIGHUP ended the node");
    Ok(())
}

/// At the start a bad pair keeps the node down, with one line that names the files.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_pair_is_refused_at_the_start() -> Result<()> {
    let own = Own::make()?;
    let (certificate, key) = (own.path("client.pem"), own.path("client.key"));
    let config = own.config();
    let start = || run_cli(&["server", "--config", &config.to_string_lossy()], &[], "");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640))?;
    let refused = start()?;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && text.lines().count() == 1, "{text}");
    ensure!(
        text.contains("its mode is 0640") && text.contains(&format!("chmod 600 {}", key.display())),
        "{text}"
    );

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
    std::fs::write(&key, own.authority.issue()?.key)?;
    let refused = start()?;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && text.lines().count() == 1, "{text}");
    let names = [key, certificate].map(|path| path.display().to_string());
    ensure!(names.iter().all(|name| text.contains(name)), "{text}");
    ensure!(!own.path("data").exists(), "it made a data directory");
    Ok(())
}

/// The listener for load balancers has its own certificate, if it is given one, and renews it alike.
#[tokio::test(flavor = "multi_thread")]
async fn the_health_listener_speaks_https() -> Result<()> {
    let mut own = Own::make()?;
    let config = std::fs::read_to_string(own.config())?;
    let files = ["client.pem", "client.key"].map(|name| own.path(name).display().to_string());
    let section = format!("[health]\ncert_file = {:?}\nkey_file = {:?}\n", files[0], files[1]);
    std::fs::write(own.config(), config.replace("[health]\n", &section))?;
    own.run().await?;
    // One connection, before and after.
    let mut stream = connect(&own.health, own.authority.pem(), "http/1.1").await?;
    alive(&mut stream).await?;
    let new = own.authority.issue()?;
    own.write_pair(&new)?;
    let expected = der(&new.certificate)?;
    let is_shown = || async {
        let shown = shown(&own.health, own.authority.pem(), "http/1.1").await;
        shown.is_ok_and(|der| der == expected)
    };
    eventually("the new certificate is shown to load balancers", is_shown).await?;
    alive(&mut stream).await
}

async fn alive(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) -> Result<()> {
    stream.write_all(b"GET /live HTTP/1.1\r\nHost: node\r\n\r\n").await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"alive\n") {
        ensure!(stream.read_buf(&mut answer).await? > 0, "it was closed");
    }
    Ok(())
}

const EXPIRY: &str = "aumbry_listener_certificate_expiry_timestamp_seconds{listener=\"client\"}";
const RELOADS: &str = "aumbry_listener_certificate_reloads_total{listener=\"client\"}";
const FAILURES: &str = "aumbry_listener_certificate_reload_failures_total{listener=\"client\"}";
