//! `aumbry bench`: what it tells is what happened.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Asked, Authority, Cluster, EtcdStub, NodeEnv, Stall, VaultStub, run_cli, scrape};
use serde_json::Value;

/// What is left of a run that made a report.
fn report(output: &Output) -> Result<Value> {
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{told} {}", String::from_utf8_lossy(&output.stdout)))
}

fn bench(cluster: &Cluster, line: &str) -> Result<Output> {
    let line = format!("bench --output json --timeout 60s {line}");
    cluster.cli(&line.split_ascii_whitespace().collect::<Vec<_>>(), "")
}

fn number(report: &Value, key: &str) -> Result<f64> {
    report[key]
        .as_f64()
        .with_context(|| format!("{key} is no number: {report}"))
}

fn list(nodes: &[NodeEnv], of: fn(&NodeEnv) -> String) -> String {
    nodes.iter().map(of).collect::<Vec<_>>().join(",")
}

/// Requests that all nodes say they served, by operation and outcome.
async fn served(nodes: &[NodeEnv], operation: &str, outcome: &str) -> Result<u64> {
    let begin = format!("aumbry_requests_total{{operation=\"{operation}\",outcome=\"{outcome}\"}} ");
    let mut sum = 0;
    for node in nodes {
        let text = scrape(&node.metrics).await?;
        let counts = text.lines().filter_map(|line| line.strip_prefix(begin.as_str()));
        sum += counts.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    }
    Ok(sum)
}

/// The servers count as many requests as the generator, costs are of the servers, and the figures fit each other.
#[tokio::test(flavor = "multi_thread")]
async fn figures_are_what_the_servers_did() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let nodes = cluster.nodes();
    let costs = format!(
        "--pids {} --metrics {}",
        list(&nodes, |node| node.pid.to_string()),
        list(&nodes, |node| node.metrics.clone())
    );
    for channel in ["sdk", "http2"] {
        let before = (
            served(&nodes, "kv.get", "ok").await?,
            served(&nodes, "kv.put", "ok").await?,
        );
        let line = format!("--prepare --keys 50 --mix read --concurrency 8 --duration 2s --channel {channel} {costs}");
        let found = report(&bench(&cluster, &line)?)?;
        let gets = served(&nodes, "kv.get", "ok").await? - before.0;
        let puts = served(&nodes, "kv.put", "ok").await? - before.1;
        ensure!(found["answered_total"] == gets, "the nodes served {gets}: {found}");
        ensure!(puts == 50, "the nodes wrote {puts}");
        ensure!(
            found["errors"] == serde_json::json!({}) && found["error_count"] == 0,
            "{found}"
        );

        let (requests, seconds) = (number(&found, "requests")?, number(&found, "duration_s")?);
        ensure!(requests > 0.0 && requests <= gets as f64 && seconds >= 2.0, "{found}");
        ensure!((number(&found, "rate")? - requests / seconds).abs() < 0.01, "{found}");
        // What began in the window and what ended in it differ by what was in flight at its ends.
        ensure!((number(&found, "samples")? - requests).abs() <= 8.0, "{found}");
        let quantiles = ["p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"];
        let quantiles = quantiles
            .map(|key| number(&found, key))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        ensure!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{found}");
        // Eight in flight, each for so long, are so many in a second (Little's law).
        let in_flight = number(&found, "rate")? * number(&found, "mean_ms")? / 1e3;
        ensure!((6.0..=8.5).contains(&in_flight), "{in_flight}: {found}");

        // A node that works has no more than its processors.
        let busy = number(&found, "cpu_us_per_request")? * number(&found, "rate")? / 1e6;
        let processors = std::thread::available_parallelism()?.get() as f64;
        ensure!(busy > 0.0 && busy <= processors * 1.1, "{busy} processors: {found}");
        ensure!(number(&found, "generator_cpu_us_per_request")? > 0.0, "{found}");
        // Each request is on record: two nodes sync at least once for all in flight, and three at most once for each.
        let syncs = number(&found, "fdatasync_per_request")?;
        ensure!((0.2..=3.5).contains(&syncs), "{found}");
        ensure!(number(&found, "rss_bytes")? > 3e6, "{found}");
    }
    Ok(())
}

/// Failures of the whole run, of its warm-up and of what came after its window too, by kind.
fn failures(found: &Value) -> Result<Vec<(&str, u64)>> {
    let mut failures = Vec::new();
    for key in ["errors", "errors_outside"] {
        let kinds = found[key]
            .as_object()
            .with_context(|| format!("{key} is an object: {found}"))?;
        for (kind, count) in kinds {
            failures.push((kind.as_str(), count.as_u64().context("a count")?));
        }
    }
    Ok(failures)
}

/// The nodes have served what was answered well, and of what failed at the client they may have served some: its answer was lost. Where nothing failed,
/// both count the same.
fn as_many_as_were_served(found: &Value, served: u64) -> Result<()> {
    let answered = found["answered_total"].as_u64().context("a count")?;
    let failed: u64 = failures(found)?.iter().map(|(_, count)| count).sum();
    ensure!(
        answered >= failed && (answered - failed..=answered).contains(&served),
        "{served} were served: {found}"
    );
    Ok(())
}

/// Nothing failed. But a machine that stands still for longer than a connection lives, or a request may take, breaks what is in flight, once.
fn only_what_a_standstill_breaks(found: &Value, in_flight: u64) -> Result<()> {
    let failures = failures(found)?;
    let is_broken = |kind| ["CONNECTION_BROKEN", "TIMEOUT", "NOT_ANSWERED", "OUTCOME_UNKNOWN"].contains(&kind);
    ensure!(
        failures.iter().all(|(kind, _)| is_broken(*kind))
            && failures.iter().map(|(_, count)| count).sum::<u64>() <= in_flight,
        "{found}"
    );
    Ok(())
}

/// A file with a role that logs in, and its secret id.
fn approle(cluster: &Cluster) -> Result<PathBuf> {
    let asked = |line: &str| -> Result<String> {
        let output = cluster.cli(&line.split_ascii_whitespace().collect::<Vec<_>>(), "")?;
        ensure!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    asked("auth enable approle")?;
    asked("write auth/approle/role/bench token_ttl=10m")?;
    let role = serde_json::json!({
        "role_id": asked("read --field role_id auth/approle/role/bench/role-id")?,
        "secret_id": asked("write -f --field secret_id auth/approle/role/bench/secret-id")?,
    });
    let file = cluster.everything().join("role.json");
    std::fs::write(&file, role.to_string())?;
    Ok(file)
}

/// Every mix is answered without a failure.
#[tokio::test(flavor = "multi_thread")]
async fn every_mix_is_answered() -> Result<()> {
    let cluster = Cluster::start(1)?;
    ensure!(
        bench(&cluster, "--prepare --keys 100 --value-size 65536 --duration 0")?
            .status
            .success(),
        "writing the keys"
    );
    let role = format!("--approle-file {}", approle(&cluster)?.display());
    for (mix, operation) in [
        ("read", "kv.get"),
        ("write", "kv.put"),
        ("list", "kv.list"),
        ("token", "token.create"),
        ("login", "approle.login"),
        ("mixed", "kv.put"),
    ] {
        for more in ["--channel sdk", "--channel http2 --no-idempotency-keys"] {
            let before = served(&cluster.nodes(), operation, "ok").await?;
            let line = format!("--mix {mix} --keys 100 --value-size 65536 --concurrency 4 --duration 1s {more} {role}");
            let found = report(&bench(&cluster, &line)?)?;
            ensure!(number(&found, "requests")? > 0.0, "{found}");
            only_what_a_standstill_breaks(&found, 4)?;
            let after = served(&cluster.nodes(), operation, "ok").await?;
            match mix {
                "mixed" => ensure!(
                    found["operations"]["read"]["samples"].as_u64() > found["operations"]["write"]["samples"].as_u64()
                ),
                _ => as_many_as_were_served(&found, after - before)?,
            }
        }
    }
    Ok(())
}

/// Failures are counted by kind; only if nothing succeeded the run failed.
#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_by_kind() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let file = cluster.everything().join("wrong-token");
    std::fs::write(&file, "av.wrong\n")?;
    for channel in ["sdk", "http2"] {
        let line = format!(
            "--duration 1s --concurrency 2 --channel {channel} --token-file {}",
            file.display()
        );
        let output = bench(&cluster, &line)?;
        let found: Value = serde_json::from_slice(&output.stdout)?;
        let kinds = found["errors"].as_object().context("errors is an object")?;
        ensure!(kinds.keys().collect::<Vec<_>>() == ["TOKEN_INVALID"], "{found}");
        // The warm-up's are told apart, and together they are all.
        ensure!(found["errors_outside"]["TOKEN_INVALID"].as_u64() > Some(0), "{found}");
        let all: u64 = failures(&found)?.iter().map(|(_, count)| count).sum();
        ensure!(found["answered_total"] == all, "{found}");
        ensure!(
            found["requests"] == 0 && found["p50_ms"].is_null() && found["cpu_us_per_request"].is_null(),
            "{found}"
        );
        ensure!(
            output.status.code() == Some(1) && said(&output).contains("--token-file"),
            "{}",
            said(&output)
        );

        // Ten of twenty keys are there.
        let dir = format!("--path secret/{channel} --channel {channel}");
        ensure!(
            bench(&cluster, &format!("--prepare --keys 10 --duration 0 {dir}"))?
                .status
                .success(),
            "writing the keys"
        );
        let output = bench(&cluster, &format!("--keys 20 --duration 1s --concurrency 2 {dir}"))?;
        let found = report(&output)?;
        let missing = found["errors"]["NOT_FOUND"]
            .as_f64()
            .context("there is a kind NOT_FOUND")?;
        ensure!((missing / number(&found, "samples")? - 1.0).abs() < 0.5, "{found}");
        ensure!(said(&output).contains("--prepare"), "{}", said(&output));
    }
    let refused = bench(
        &cluster,
        &format!("--prepare --duration 0 --token-file {}", file.display()),
    )?;
    ensure!(
        refused.status.code() == Some(1) && said(&refused).contains("TOKEN_INVALID"),
        "{}",
        said(&refused)
    );
    for wrong in [
        "--rate 0",
        "--concurrency 0",
        "--duration 0",
        "--path secret",
        "--connections 65",
        "--target etcd --mix token",
        "--mix login",
        "--target vault --connections 2",
        "--target vault --address http://192.0.2.1:8200",
    ] {
        let output = bench(&cluster, wrong)?;
        ensure!(output.status.code() == Some(2), "{wrong}: {}", said(&output));
    }
    for (wrong, word) in [
        ("--address 127.0.0.1:1", "cannot connect to 127.0.0.1:1"),
        ("--metrics 127.0.0.1:1", "--metrics"),
        ("--pids 4000000000", "--pids"),
    ] {
        let output = bench(&cluster, wrong)?;
        ensure!(
            output.status.code() == Some(1) && said(&output).contains(word),
            "{wrong}: {}",
            said(&output)
        );
    }
    Ok(())
}

/// Everything that is due is sent, and nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_loop_keeps_its_rate() -> Result<()> {
    let cluster = Cluster::start(1)?;
    for channel in ["sdk", "http2"] {
        let line = format!("--prepare --keys 100 --rate 200 --duration 3s --concurrency 256 --channel {channel}");
        let found = report(&bench(&cluster, &line)?)?;
        let due = 200.0 * number(&found, "duration_s")?;
        let sent = number(&found, "samples")? + number(&found, "error_count")? + number(&found, "unsent")?;
        ensure!(
            (sent - due).abs() <= 1.5 && found["error_count"] == 0,
            "{due} were due: {found}"
        );
        // A machine that stands still for a moment just at the end answers some behind it.
        ensure!((100.0..=300.0).contains(&number(&found, "rate")?), "{found}");
        ensure!(found["offered_rate"] == 200.0 && found["loop"] == "open", "{found}");
        number(&found, "start_delay_p99_ms")?;
    }
    Ok(())
}

struct Vault {
    stub: VaultStub,
    ca: PathBuf,
    directory: tempfile::TempDir,
}

impl Vault {
    async fn start(stall: Stall) -> Result<Self> {
        let (authority, directory) = (Authority::make()?, tempfile::tempdir()?);
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, authority.pem())?;
        Ok(Self {
            stub: VaultStub::start(&authority, stall).await?,
            ca,
            directory,
        })
    }

    /// Runs against it, on a thread that may wait.
    async fn bench(&self, token: &str, line: &str) -> Result<Output> {
        let line = format!(
            "bench --output json --timeout 60s --target vault --address {} {line}",
            self.stub.address
        );
        let (ca, token) = (self.ca.to_string_lossy().into_owned(), token.to_owned());
        let running = tokio::task::spawn_blocking(move || {
            let environment = [("AUMBRY_CACERT", ca.as_str()), ("AUMBRY_TOKEN", &token)];
            run_cli(&line.split_ascii_whitespace().collect::<Vec<_>>(), &environment, "")
        });
        running.await?
    }
}

fn count(asked: &Asked, begin: &str) -> u64 {
    let asked = asked.all();
    asked
        .iter()
        .filter(|(what, _)| what.starts_with(begin))
        .map(|(_, count)| count)
        .sum()
}

/// A server with Vault's API is asked in Vault's way, and counts what the generator counts.
#[tokio::test(flavor = "multi_thread")]
async fn vault_is_asked_in_its_own_way() -> Result<()> {
    let vault = Vault::start(Stall::Never).await?;
    let role = vault.directory.path().join("role.json");
    std::fs::write(&role, r#"{"role_id":"ci","secret_id":"good"}"#)?;
    let role = role.display();
    for (mix, begin) in [
        ("read", "GET /v1/secret/data/bench/k00000"),
        ("write", "POST /v1/secret/data/bench/k00000"),
        ("list", "GET /v1/secret/metadata/bench?list=true good"),
        ("token", "POST /v1/auth/token/create good"),
        ("login", "POST /v1/auth/approle/login good"),
    ] {
        let before = count(&vault.stub.asked, begin);
        let more = format!("--mix {mix} --keys 20 --concurrency 3 --duration 1s --approle-file {role}");
        let found = report(&vault.bench("good", &more).await?)?;
        let asked = count(&vault.stub.asked, begin) - before;
        ensure!(
            found["answered_total"] == asked && asked > 0 && found["error_count"] == 0,
            "{asked}: {found}"
        );
        ensure!(
            found["connections"] == 3 && found["fdatasync_per_request"].is_null(),
            "{found}"
        );
    }
    let before = count(&vault.stub.asked, "POST /v1/secret/data/");
    let written = vault.bench("good", "--prepare --keys 20 --duration 0").await?;
    ensure!(written.status.success() && count(&vault.stub.asked, "POST /v1/secret/data/") == before + 20);
    ensure!(
        vault.stub.asked.all().keys().all(|what| what.ends_with(" good")),
        "{:?}",
        vault.stub.asked.all()
    );

    let output = vault.bench("bad", "--duration 1s").await?;
    let found: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(
        output.status.code() == Some(1) && found["errors"]["HTTP_403"].as_u64() > Some(0),
        "{found}"
    );
    Ok(())
}

/// A server that stands still for a second delays all that was due in it. A closed loop does not see that: it is the control.
#[tokio::test(flavor = "multi_thread")]
async fn a_stall_shows_in_all_that_it_delays() -> Result<()> {
    let stall = || Stall::Once {
        after: 200,
        lasts: Duration::from_secs(1),
    };
    let vault = Vault::start(stall()).await?;
    let open = vault
        .bench("good", "--rate 100 --concurrency 200 --duration 4s --warmup 1s")
        .await?;
    let open = report(&open)?;
    // A quarter of all was due while nothing was answered, half of that for more than half a second.
    ensure!(
        number(&open, "p90_ms")? > 400.0 && number(&open, "max_ms")? > 900.0,
        "{open}"
    );
    ensure!(number(&open, "p50_ms")? < 400.0, "{open}");

    let vault = Vault::start(stall()).await?;
    let closed = report(&vault.bench("good", "--concurrency 1 --duration 4s --warmup 0").await?)?;
    ensure!(
        number(&closed, "max_ms")? > 900.0 && number(&closed, "p90_ms")? < 400.0,
        "{closed}"
    );
    Ok(())
}

/// A server with etcd's API is asked in etcd's way, and its codes are the kinds of failures.
#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_asked_in_its_own_way() -> Result<()> {
    let etcd = EtcdStub::start(10).await?;
    for (mix, begin) in [
        ("read", "/etcdserverpb.KV/Range secret/bench/k00000"),
        ("write", "/etcdserverpb.KV/Put secret/bench/k00000"),
        ("list", "/etcdserverpb.KV/Range secret/bench/"),
    ] {
        let before = count(&etcd.asked, begin);
        let line = format!(
            "bench --output json --target etcd --address {} --mix {mix} --keys 20 --concurrency 4 --connections 2 --duration 1s",
            etcd.address
        );
        let running = tokio::task::spawn_blocking(move || run_cli(&line.split(' ').collect::<Vec<_>>(), &[], ""));
        let found = report(&running.await??)?;
        let asked = count(&etcd.asked, begin) - before;
        ensure!(found["answered_total"] == asked && asked > 0, "{asked}: {found}");
        let failed = found["errors"]["RESOURCE_EXHAUSTED"]
            .as_f64()
            .context("one in ten failed")?;
        let share = failed / (failed + number(&found, "samples")?);
        ensure!(
            (0.05..=0.15).contains(&share) && found["error_count"] == failed,
            "{found}"
        );
    }
    Ok(())
}
