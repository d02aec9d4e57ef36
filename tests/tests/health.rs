//! What load balancers are told in each state, by real HTTP and gRPC.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Answered, Cluster, Own, Watch, ask, call_grpc, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// From fresh over sealed to leading: each state has its code, on both listeners, and the options change it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_tells_each_state() -> Result<()> {
    let own = Own::start().await?;
    let waits = "the node belongs to no cluster and waits: `aumbry operator init --address";
    eventually("the log says what a fresh node waits for", || async {
        own.log().contains(waits)
    })
    .await?;
    let mut ready = Watch::start(&own.client, own.authority.pem(), "aumbry.ready").await?;
    let mut leads = Watch::start(&own.client, own.authority.pem(), "aumbry.leader").await?;
    ready.until(false).await?;
    leads.until(false).await?;
    let mut process = Watch::start(&own.client, own.authority.pem(), "").await?;
    ensure!(process.next().await?, "the process lives");
    expect(
        &own,
        &[
            ("/health", 501),
            ("/v1/sys/health", 501),
            ("/health?uninitcode=200", 200),
            ("/health?uninitcode=99", 400),
            ("/ready", 503),
            ("/live", 200),
            ("/", 404),
            ("/health/", 404),
        ],
    )
    .await?;
    let body = ask(&own.health, "GET", "/health").await?.json();
    ensure!(
        body["initialized"] == false && body["sealed"] == true && body["cluster_id"].is_null(),
        "{body}"
    );

    let (share, root) = own.init().await?;
    expect(
        &own,
        &[
            ("/health", 503),
            ("/health?standbyok=true", 503),
            ("/ready", 503),
            ("/live", 200),
        ],
    )
    .await?;
    ensure!(ask(&own.health, "GET", "/health?sealedcode=204").await?.code == 204);
    let body = ask(&own.health, "GET", "/health").await?.json();
    ensure!(body["initialized"] == true && body["sealed"] == true, "{body}");

    own.anonymous()?.unseal(None, share.duplicate()).await?;
    ready.until(true).await?;
    leads.until(true).await?;
    expect(
        &own,
        &[
            ("/health", 200),
            ("/health?activecode=202", 202),
            ("/ready", 200),
            ("/live", 200),
        ],
    )
    .await?;
    // It stays so while nobody asks anything of it: a leader that is alone is answered by nobody.
    let until = Instant::now() + SILENCE;
    while Instant::now() < until {
        let codes = [
            ask(&own.health, "GET", "/ready").await?.code,
            ask(&own.health, "GET", "/health").await?.code,
        ];
        ensure!(codes == [200, 200], "{codes:?}: it forgot that it leads");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answer = ask(&own.health, "GET", "/health").await?;
    let body = answer.json();
    let cluster = own.anonymous()?.seal_status(None).await?.cluster_id;
    ensure!(
        body["sealed"] == false && body["standby"] == false && body["leader_known"] == true,
        "{body}"
    );
    ensure!(body["cluster_id"] == cluster && body["version"].is_string(), "{body}");
    ensure!(
        body["disk_full"] == false && body.as_object().is_some_and(|body| body.len() == 7),
        "it tells more: {body}"
    );
    ensure!(answer.head.contains("cache-control: no-store") && answer.head.contains("application/json"));

    own.client_as(root, own.authority.pem())?
        .call(aumbry_client::v1::SealRequest::default())
        .await
        .ok();
    ready.until(false).await?;
    expect(&own, &[("/health", 503), ("/ready", 503), ("/live", 200)]).await?;
    // All the while nothing has changed for who watches the process; now it has.
    own.signal("TERM")?;
    ensure!(!process.next().await?, "a status was told twice");
    ensure!(process.next().await.is_err(), "the node waits for those who watch");
    Ok(())
}

/// Asks both listeners, by GET and HEAD.
async fn expect(own: &Own, expected: &[(&str, u16)]) -> Result<()> {
    for (target, code) in expected {
        for address in [&own.health, &own.metrics] {
            let got = ask(address, "GET", target).await?;
            ensure!(got.code == *code, "{target} gave {got:?}, not {code}");
            let head = ask(address, "HEAD", target).await?;
            ensure!(
                head.code == *code && head.body.is_empty(),
                "HEAD {target} gave {head:?}"
            );
        }
    }
    let posted = ask(&own.health, "POST", "/health").await?;
    ensure!(
        posted.code == 405 && posted.head.contains("allow: get, head"),
        "{posted:?}"
    );
    let metrics = [
        ask(&own.health, "GET", "/metrics").await?,
        ask(&own.metrics, "GET", "/metrics").await?,
    ];
    ensure!(
        metrics.map(|answer| answer.code) == [404, 200],
        "metrics are for this machine alone"
    );
    Ok(())
}

/// One leads, the others stand by; all are ready. Without a quorum the last one says so, and is not ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_tells_leader_standby_and_no_quorum() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let nodes = cluster.nodes();
    let codes = |target: &'static str| {
        let asking = nodes.iter().map(move |node| ask(&node.metrics, "GET", target));
        async move {
            let answers: Vec<Answered> = futures::future::try_join_all(asking).await?;
            let mut codes: Vec<u16> = answers.iter().map(|answer| answer.code).collect();
            codes.sort_unstable();
            Ok::<_, anyhow::Error>(codes)
        }
    };
    let are = |target, expected: [u16; 3]| async move {
        eventually(&format!("{target} gives {expected:?}"), || async {
            codes(target).await.is_ok_and(|codes| codes == expected)
        })
        .await
    };
    are("/health", [200, 429, 429]).await?;
    are("/health?standbyok=true", [200, 200, 200]).await?;
    are("/ready", [200, 200, 200]).await?;

    // Once the leader survives, and once a standby does.
    for survives in [true, false] {
        let leader = cluster.leader().await?;
        let standby = nodes
            .iter()
            .map(|node| node.id)
            .find(|id| *id != leader)
            .context("there is one")?;
        let last = if survives { leader } else { standby };
        for node in nodes.iter().filter(|node| node.id != last) {
            cluster.kill(node.id)?;
        }
        let at = cluster.node(last)?.metrics;
        for (target, code) in [
            ("/health", 474),
            ("/health?standbyok=true", 474),
            ("/health?haunhealthycode=500", 500),
            ("/ready", 503),
            ("/live", 200),
        ] {
            eventually(&format!("{target} gives {code} without a quorum"), || async {
                ask(&at, "GET", target).await.is_ok_and(|answer| answer.code == code)
            })
            .await?;
        }
        let body = ask(&at, "GET", "/health").await?.json();
        ensure!(body["sealed"] == false && body["leader_known"] == false, "{body}");
        for node in nodes.iter().filter(|node| node.id != last) {
            cluster.restart(node.id)?;
        }
        for node in nodes.iter().filter(|node| node.id != last) {
            cluster.unseal(node.id).await?;
        }
        are("/ready", [200, 200, 200]).await?;
    }
    Ok(())
}

/// Who connects and says nothing, or too much, takes nobody's place.
///
/// Abuse cases: 94.
#[tokio::test(flavor = "multi_thread")]
async fn the_listener_is_bounded() -> Result<()> {
    let own = Own::start().await?;
    let mut idle = Vec::new();
    for _ in 0..PER_ADDRESS {
        idle.push(TcpStream::connect(&own.health).await?);
    }
    // The positive control: as many as may are served.
    idle[0].write_all(b"GET /live HTTP/1.1\r\nHost: node\r\n\r\n").await?;
    ensure!(idle[0].read(&mut [0; 64]).await? > 0);
    let beyond = async { ask(&own.health, "GET", "/live").await.is_err() };
    ensure!(beyond.await, "an address has more than its share");
    // Those that stay silent are closed after a while, by themselves.
    let mut silent = idle.pop().context("there are some")?;
    let closed = tokio::time::timeout(Duration::from_secs(60), silent.read(&mut [0; 64])).await?;
    ensure!(matches!(closed, Ok(0) | Err(_)), "a silent connection was answered");
    drop(idle);
    eventually("the places are free again", || async {
        ask(&own.health, "GET", "/live").await.is_ok()
    })
    .await?;

    let target = format!("/health?{}", "a".repeat(100_000));
    let long = ask(&own.health, "GET", &target).await;
    ensure!(
        long.is_err() || long.is_ok_and(|answer| answer.code >= 400),
        "a request of 100 kB was answered"
    );
    ensure!(ask(&own.health, "GET", "/live").await?.code == 200);
    Ok(())
}

/// Several of the times after which a leader that is not answered counts as none.
const SILENCE: Duration = Duration::from_secs(4);
/// As the server has it.
const PER_ADDRESS: usize = 16;

/// Which services and messages there are is told where the configuration says so, and nowhere else; what nodes speak among themselves, never. Abuse cases: 77.
#[tokio::test(flavor = "multi_thread")]
async fn services_are_told_if_that_is_wanted() -> Result<()> {
    const METHOD: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    // Field 7, the list of services; and field 4, the file that has a symbol.
    let list = b"\x3a\x01*";
    let own = Own::start().await?;
    let (status, _) = call_grpc(&own.client, own.authority.pem(), METHOD, list).await?;
    ensure!(status == "12", "it is not implemented by default: {status}");
    let mut wanting = Own::make()?;
    let text = std::fs::read_to_string(wanting.config())?;
    std::fs::write(
        wanting.config(),
        text.replace("[client]", "[client]\nreflection = true"),
    )?;
    wanting.run().await?;
    let (status, told) = call_grpc(&wanting.client, wanting.authority.pem(), METHOD, list).await?;
    let told = String::from_utf8_lossy(&told).into_owned();
    ensure!(status == "0", "{status}");
    for service in ["aumbry.v1.KvService", "aumbry.v1.AuthService", "grpc.health.v1.Health"] {
        ensure!(told.contains(service), "{service} is not in {told}");
    }
    ensure!(!told.contains("peer"), "{told}");
    let symbol = [b"\x22\x16".as_slice(), b"aumbry.v1.KvPutRequest"].concat();
    let (status, told) = call_grpc(&wanting.client, wanting.authority.pem(), METHOD, &symbol).await?;
    let told = String::from_utf8_lossy(&told).into_owned();
    ensure!(status == "0" && told.contains("aumbry/v1/kv.proto"), "{status} {told}");
    Ok(())
}
