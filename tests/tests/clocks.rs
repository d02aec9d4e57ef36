//! Nodes whose wall clocks are wrong. The clocks are set by libfaketime (Debian: faketime) within each process; time since boot goes on as it does.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Fleet, Unusual, equal_states, eventually, free_address};
use aumbry_types::SecretBytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Three clocks that no two agree on, and each of their nodes leads: nobody's clock is believed, time goes on from where it was, and a token lives
/// as long as it was given.
#[tokio::test(flavor = "multi_thread")]
async fn no_clock_of_three_that_disagree_is_believed() -> Result<()> {
    let watches = Watches::make(3)?;
    let mut fleet = watches.fleet().await?;
    fleet.lead(1).await?;
    let (long, _) = token(&fleet.client()?, 7_200).await?;
    for (node, offset) in [(1, "+1h"), (2, "+10y"), (3, "-1h")] {
        watches.set(node, offset)?;
    }
    // The processes do see these clocks: the median is the first node's.
    for (node, hours) in [(1, 0..1), (2, 80_000..90_000), (3, -3..0)] {
        eventually("the node knows how far off it is", || async {
            let offset = watches.metric(node, "clock_offset_ms").await.unwrap_or(0);
            hours.contains(&(offset / 3_600_000))
        })
        .await?;
    }
    let created = Instant::now();
    let (short, expires_ms) = token(&fleet.client()?, SHORT_S).await?;
    let lookup = fleet.client_as(short)?;
    let ending = tokio::spawn(async move {
        // A refusal because nobody leads is none of the token.
        while !is_refused(&lookup).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Instant::now()
    });
    let start = Moment::of(&fleet).await?;
    for leader in [2, 3, 1, 2] {
        fleet.lead(leader).await?;
        start.check(&Moment::of(&fleet).await?)?;
    }
    for leader in [2, 3] {
        // Not handed over, but taken.
        fleet.lead(leader).await?;
        fleet.kill(leader)?;
        start.check(&Moment::of(&fleet).await?)?;
        fleet.run(leader).await?;
    }
    let ended = ending.await?;
    let lived = ended - created;
    ensure!(
        lived >= Duration::from_secs(SHORT_S) * 9 / 10,
        "the token lived for {lived:?}"
    );
    let end = Moment::of(&fleet).await?;
    start.check(&end)?;
    ensure!(end.log_ms >= expires_ms, "the token went before its time in the log");
    ensure!(
        !is_refused(&fleet.client_as(long)?).await,
        "a token expired that had two hours"
    );
    equal_states(&all(&fleet)?).await
}

/// A clock that is ten years ahead of those of the majority. Its node leaves elections to the others, unless it alone has all that was
/// acknowledged; log time does not follow it even then; and it admits no nodes.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_far_off_leads_only_if_nobody_else_can() -> Result<()> {
    let watches = Watches::make(3)?;
    let mut fleet = watches.fleet().await?;
    let (long, _) = token(&fleet.client()?, 7_200).await?;
    ensure!(watches.metric(3, "campaigns").await? == 1);
    watches.set(3, "+10y")?;
    eventually("the node leaves elections to others", || async {
        watches
            .metric(3, "campaigns")
            .await
            .is_ok_and(|campaigns| campaigns == 0)
    })
    .await?;
    ensure!(watches.metric(1, "campaigns").await? == 1);
    let start = Moment::of(&fleet).await?;

    fleet.lead(3).await?;
    start.check(&Moment::of(&fleet).await?)?;
    let client = fleet.client()?;
    let join_token = client.call(v1::JoinTokenCreateRequest::default()).await?.join_token;
    let fresh = fleet.fresh("n4").await?;
    let refused = fleet.join(&fresh, &join_token).await.err();
    let refused = refused.context("a leader with a wrong clock admitted a node")?;
    ensure!(refused.to_string().contains("clock is more than 30 s off"), "{refused}");

    // Only the node with the wrong clock has the newest entry.
    fleet.lead(1).await?;
    fleet.kill(2)?;
    put(&client, "newest").await?;
    fleet.kill(1)?;
    fleet.run(2).await?;
    let (leader, _) = fleet.leader().await?;
    ensure!(leader == 3, "node {leader} leads without the newest entry");
    ensure!(get(&client).await? == "newest");
    start.check(&Moment::of(&fleet).await?)?;
    ensure!(!is_refused(&fleet.client_as(long.duplicate())?).await);
    fleet.run(1).await?;

    watches.set(3, "+0")?;
    eventually("the node calls elections again", || async {
        watches
            .metric(3, "campaigns")
            .await
            .is_ok_and(|campaigns| campaigns == 1)
    })
    .await?;
    fleet.lead(3).await?;
    fleet.join(&fresh, &join_token).await?;
    let unsealed = fleet.unseal(&fresh).await;
    unsealed.with_context(|| (1..=3).map(|node| fleet.server(node).log()).collect::<String>())?;
    ensure!(!is_refused(&fleet.client_as(long)?).await);
    let mut clients = all(&fleet)?;
    clients.push(fresh.client_as(fleet.root_token())?);
    equal_states(&clients).await
}

/// A cluster that was switched off for three years. Its log's time follows the clocks when they agree, nodes know each other still, and the shares
/// open it.
#[tokio::test(flavor = "multi_thread")]
async fn everything_unseals_three_years_later() -> Result<()> {
    let watches = Watches::make(3)?;
    let mut fleet = watches.fleet().await?;
    let client = fleet.client()?;
    put(&client, "kept").await?;
    let (month, _) = token(&client, 30 * 86_400).await?;
    ensure!(!is_refused(&fleet.client_as(month.duplicate())?).await);
    let (_, before) = fleet.leader().await?;
    for node in 1..=3 {
        fleet.kill(node)?;
        watches.set(node, "+3y")?;
    }
    for node in 1..=3 {
        fleet.server_mut(node).run().await?;
    }
    for node in 1..=3 {
        fleet.unseal(fleet.server(node)).await?;
    }
    let client = fleet.client()?;
    ensure!(get(&client).await? == "kept");
    put(&client, "later").await?;
    let (_, after) = fleet.leader().await?;
    let days = (after.log_time_ms - before.log_time_ms) / 86_400_000;
    ensure!((1_090..1_100).contains(&days), "the log's time went on by {days} days");
    ensure!(
        is_refused(&fleet.client_as(month)?).await,
        "a token of a month lives after three years"
    );
    equal_states(&all(&fleet)?).await
}

/// Expiry needs no request: what has expired is removed by the clock, with one record, and an idle cluster writes nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_cluster_expires_by_the_clock() -> Result<()> {
    let watches = Watches::make(1)?;
    let fleet = watches.fleet().await?;
    token(&fleet.client()?, 3).await?;
    let records = || watches.metric(1, "audit_records");
    let before = records().await?;
    eventually("the token is removed", || async {
        records().await.is_ok_and(|records| records > before)
    })
    .await?;
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        ensure!(records().await? == before + 1, "an idle cluster writes");
    }
    Ok(())
}

/// What a node's wall clock shows, changed while it runs.
struct Watches {
    library: PathBuf,
    directory: tempfile::TempDir,
    metrics: Vec<String>,
}

impl Watches {
    fn make(nodes: u64) -> Result<Self> {
        let watches = Self {
            library: library()?,
            directory: tempfile::tempdir()?,
            metrics: (0..nodes).map(|_| free_address()).collect::<Result<_>>()?,
        };
        for node in 1..=nodes {
            watches.set(node, "+0")?;
        }
        Ok(watches)
    }

    /// Nodes that go by these watches.
    async fn fleet(&self) -> Result<Fleet> {
        let nodes = (1..).zip(&self.metrics).map(|(node, metrics)| Unusual {
            prefix: vec![
                "env".to_owned(),
                format!("LD_PRELOAD={}", self.library.display()),
                format!("FAKETIME_TIMESTAMP_FILE={}", self.file(node).display()),
                "FAKETIME_NO_CACHE=1".to_owned(),
                // Monotonic clocks and the time since boot stay as they are.
                "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            ],
            config: format!("[metrics]\naddress = {metrics:?}\n"),
            ..Unusual::default()
        });
        Fleet::start(&nodes.collect::<Vec<_>>()).await
    }

    /// Sets a node's clock: how far it is from the machine's.
    fn set(&self, node: u64, offset: &str) -> Result<()> {
        let file = self.file(node);
        let new = file.with_extension("new");
        std::fs::write(&new, offset)?;
        Ok(std::fs::rename(new, file)?)
    }

    fn file(&self, node: u64) -> PathBuf {
        self.directory.path().join(node.to_string())
    }

    /// One of a node's metrics.
    async fn metric(&self, node: u64, name: &str) -> Result<i64> {
        let address = &self.metrics[usize::try_from(node)? - 1];
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let value = answer.lines().find_map(|line| {
            let rest = line.strip_prefix("aumbry_")?.strip_prefix(name)?;
            rest.strip_prefix(' ')
        });
        Ok(value
            .with_context(|| format!("no metric {name}: {answer}"))?
            .trim()
            .parse()?)
    }
}

/// The log's time, and when it was that.
struct Moment {
    log_ms: u64,
    before: Instant,
    after: Instant,
}

impl Moment {
    async fn of(fleet: &Fleet) -> Result<Self> {
        let (node, _) = fleet.leader().await?;
        let client = fleet.client_on(node)?;
        let before = Instant::now();
        // Read by the very request that moves it.
        let log_ms = client.call(v1::StatusRequest::default()).await?.log_time_ms;
        let after = Instant::now();
        Ok(Self { log_ms, before, after })
    }

    /// Log time goes on with time: at most a tenth faster or slower, but for what a change of leader costs.
    fn check(&self, later: &Self) -> Result<()> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let went = later
            .log_ms
            .checked_sub(self.log_ms)
            .context("log time ran backwards")?;
        let (least, most) = (ms(later.before - self.after), ms(later.after - self.before));
        ensure!(
            went <= most * 11 / 10 + 100,
            "log time went on by {went} ms in at most {most} ms"
        );
        ensure!(
            went + LOST_MS >= least * 9 / 10,
            "log time went on by {went} ms in at least {least} ms"
        );
        Ok(())
    }
}

fn library() -> Result<PathBuf> {
    let directories = Path::new("/usr/lib").read_dir()?.flatten().map(|entry| entry.path());
    let mut libraries = directories
        .chain([PathBuf::from("/usr/lib"), PathBuf::from("/usr/local/lib")])
        .map(|directory| directory.join("faketime/libfaketimeMT.so.1"));
    libraries
        .find(|library| library.is_file())
        .context("libfaketime is missing (Debian: faketime)")
}

fn all(fleet: &Fleet) -> Result<Vec<Client>> {
    (1..=3).map(|node| fleet.client_on(node)).collect()
}

/// Makes a token. Gives it, and when it expires by the log's time.
async fn token(client: &Client, ttl_s: u64) -> Result<(SecretBytes, u64)> {
    let create = v1::TokenCreateRequest {
        ttl_s,
        ..Default::default()
    };
    let created = client.call(create).await?;
    let expires_ms = created.info.unwrap_or_default().expires_at_ms;
    Ok((SecretBytes::new(created.token.to_vec()), expires_ms))
}

/// Whether the client's token is none any more.
async fn is_refused(client: &Client) -> bool {
    let lookup = client.call(v1::TokenLookupRequest::default()).await;
    lookup.is_err_and(|error| error.reason() == "TOKEN_INVALID")
}

async fn put(client: &Client, value: &str) -> Result<()> {
    let request = v1::KvPutRequest {
        path: PATH.to_owned(),
        data: serde_json::json!({ "value": value }).to_string().into(),
        ..Default::default()
    };
    client.call(request).await?;
    Ok(())
}

async fn get(client: &Client) -> Result<String> {
    let request = v1::KvGetRequest {
        path: PATH.to_owned(),
        ..Default::default()
    };
    let item = client.call(request).await?.item.unwrap_or_default();
    let data: serde_json::Value = serde_json::from_slice(&item.data)?;
    Ok(data["value"].as_str().context("text was written")?.to_owned())
}

const PATH: &str = "secret/clocks";
/// Longer than a few changes of leader on a busy machine take.
const SHORT_S: u64 = 20;
/// What a change of leader may cost of the log's time: until the new leader has seen the last entry, a few times over on a busy machine.
const LOST_MS: u64 = 10_000;
