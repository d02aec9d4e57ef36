//! A sink's files hold every audit record once, in order and whole, whatever happens to the process, the files and the disk; and no request
//! waits for them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{
    Canaries, Cluster, Disk, Server, Unusual, eventually, free_address, in_mount_namespace, metric, run_cli, scrape,
};
use aumbry_types::SecretBytes;
use serde_json::Value;

/// Killed under load, with files that are renamed under load.
#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_written_once_through_kills_and_rotations() -> Result<()> {
    let bed = Bed::start().await?;
    let mut canaries = Canaries::default();
    canaries.add(&bed.shares[0]);
    canaries.add(bed.root.expose_str().unwrap_or_default());
    let mut bed = bed;
    let mut files = Vec::new();
    let log = bed.log.clone();
    for round in 0..8 {
        let load = Load::start(&bed, &mut canaries)?;
        load.goes_on(30).await?;
        // As logrotate does it, in the middle of whatever the sink is doing.
        let renamed = log.with_added_extension(round.to_string());
        eventually("there is a file", || async { std::fs::rename(&log, &renamed).is_ok() }).await?;
        files.push(renamed);
        load.goes_on(30).await?;
        if round % 2 == 0 {
            bed.server.kill()?;
        }
        load.end().await?;
        if round % 2 == 0 {
            // Renamed while nobody looks.
            if round % 4 == 0 && log.exists() {
                let renamed = log.with_added_extension(format!("{round}-down"));
                std::fs::rename(&log, &renamed)?;
                files.push(renamed);
            }
            bed.server.run().await?;
            bed.server.unseal(&bed.shares).await?;
        }
    }
    bed.catches_up().await?;
    files.push(log);
    let text = || -> Result<String> {
        let parts: Vec<String> = files.iter().map(std::fs::read_to_string).collect::<Result<_, _>>()?;
        Ok(parts.concat())
    };
    let whole = text()?;
    let records = bed.check(&whole)?;
    ensure!(records > 300, "only {records} records: the run shows nothing");
    ensure!(whole.contains("secret/load/"), "a record says which secret");
    ensure!(!canaries.are_in(whole.as_bytes())?, "a secret is in the sink's files");

    // The control: what is missing, doubled, changed or torn is seen.
    let lines: Vec<&str> = whole.lines().collect();
    let without = |lines: &[&str]| bed.check(&(lines.join("\n") + "\n"));
    let mut doubled = lines.clone();
    doubled.insert(7, lines[7]);
    let mut missing = lines.clone();
    missing.remove(7);
    let changed = whole.replacen("\"outcome\":\"ok\"", "\"outcome\":\"conflict\"", 1);
    ensure!(without(&lines).is_ok());
    ensure!(without(&doubled).is_err() && without(&missing).is_err() && bed.check(&changed).is_err());
    ensure!(bed.check(&whole[..whole.len() - 9]).is_err());

    // Its last words are written in good order, too.
    bed.put("secret/last", "x").await?;
    bed.terminate().await?;
    bed.server.kill()?;
    bed.server.run().await?;
    bed.server.unseal(&bed.shares).await?;
    bed.catches_up().await?;
    bed.check(&text()?).map(drop)
}

/// A disk that is full, and gets room again.
///
/// Abuse cases: 82.
#[test]
fn a_full_disk_delays_lines_and_nothing_else() -> Result<()> {
    in_mount_namespace("a_full_disk_delays_lines_and_nothing_else", || async {
        let directory = tempfile::tempdir()?;
        let disk = Disk::mount(directory.path(), 64 << 10)?;
        let bed = Bed::start_on(directory.path()).await?;
        let load = Load::start(&bed, &mut Canaries::default())?;
        eventually("the disk is full", || async { disk.refused() >= 3 }).await?;
        load.goes_on(200).await?;
        let (lag, age, errors) = bed.metrics().await?;
        ensure!(
            lag >= 100.0 && age > 0.0 && errors >= 3.0,
            "the metrics do not show it: {lag} records, {age} s, {errors} errors"
        );
        ensure!(
            disk.read(FILE).unwrap_or_default().len() <= 64 << 10,
            "the disk was not full"
        );
        disk.resize(64 << 20);
        let refused = disk.refused();
        load.goes_on(30).await?;
        load.end().await?;
        bed.catches_up().await?;
        ensure!(disk.refused() <= refused + 1, "it failed although there was room");
        let told = bed.server.log();
        ensure!(told.matches("an audit sink cannot write").count() == 1, "{told}");
        ensure!(told.matches("the audit sink writes again").count() == 1, "{told}");
        bed.check(&String::from_utf8(disk.read(FILE).unwrap_or_default())?)
            .map(drop)
    })
}

/// A disk from which no write comes back.
#[test]
fn a_hung_disk_hangs_nothing_but_the_sink() -> Result<()> {
    in_mount_namespace("a_hung_disk_hangs_nothing_but_the_sink", || async {
        let directory = tempfile::tempdir()?;
        let disk = Disk::mount(directory.path(), 64 << 20)?;
        let mut bed = Bed::start_on(directory.path()).await?;
        for ends in [false, true] {
            disk.hang();
            let load = Load::start(&bed, &mut Canaries::default())?;
            eventually("a write hangs", || async { disk.waiting() == 1 }).await?;
            load.goes_on(200).await?;
            let (lag, age, _) = bed.metrics().await?;
            ensure!(
                lag >= 100.0 && age > 0.0,
                "the metrics do not show it: {lag} records, {age} s"
            );
            ensure!(disk.waiting() == 1, "it does not hang any more");
            load.end().await?;
            if ends {
                // Told to end, it does not wait for the disk; the kernel alone keeps the call, which is done after all when the disk goes on.
                bed.terminate().await?;
                ensure!(disk.waiting() == 1, "it has waited for the disk");
                disk.go_on();
                bed.server.kill()?;
                bed.server.run().await?;
                bed.server.unseal(&bed.shares).await?;
            } else {
                disk.go_on();
            }
            bed.catches_up().await?;
            bed.check(&String::from_utf8(disk.read(FILE).unwrap_or_default())?)?;
        }
        Ok(())
    })
}

/// A node that joins late writes everything, too; a sink that begins "now" does not; and none writes while its node is sealed.
#[tokio::test(flavor = "multi_thread")]
async fn each_node_writes_the_whole_log_while_it_is_unsealed() -> Result<()> {
    let first = Bed::start().await?;
    for n in 0..50 {
        first.put(&format!("secret/{n}"), "x").await?;
    }
    let directory = tempfile::tempdir()?;
    let (all, new) = (directory.path().join(FILE), directory.path().join("new.log"));
    let second = format!("[[audit.file]]\nname = \"new\"\npath = {new:?}\nmode = \"0640\"\nfrom = \"now\"\n");
    let (config, metrics) = config(&all)?;
    let unusual = Unusual {
        config: config + &second,
        ..Unusual::default()
    };
    let server = Server::start(&directory.path().join("second"), &first.lender, &unusual).await?;
    let ticket = first
        .client()?
        .call(v1::JoinTokenCreateRequest::default())
        .await?
        .join_token;
    let request = v1::JoinClusterRequest {
        join_token: ticket,
        ca: std::fs::read(first.lender.ca_file())?.into(),
    };
    server
        .client_as(SecretBytes::default())?
        .join_cluster(None, request)
        .await?;
    let applied = || async { metric(&metrics, "aumbry_audit_records").await.unwrap_or_default() > 50.0 };
    eventually("the second node has the log", applied).await?;
    let sealed = metric(&metrics, &lag_of("file")).await?;
    ensure!(
        sealed > 50.0 && !all.exists(),
        "a sealed node cannot write, and shows it: {sealed}"
    );
    server.unseal(&first.shares).await?;
    // What comes before the sink has begun is not its own.
    let has_begun = || async { first.put("secret/after", "x").await.is_ok() && new.exists() };
    eventually("the new sink writes what is new", has_begun).await?;
    let is_written = || async {
        let lags = [
            metric(&metrics, &lag_of("file")).await,
            metric(&metrics, &lag_of("new")).await,
        ];
        lags.into_iter().all(|lag| lag.is_ok_and(|lag| lag == 0.0))
    };
    eventually("the second node's sinks have caught up", is_written).await?;
    first.catches_up().await?;
    let (text, new) = (std::fs::read_to_string(&all)?, std::fs::read_to_string(&new)?);
    ensure!(first.check(&text)? > 50);
    let begin = text.find(new.lines().next().unwrap_or_default()).unwrap_or_default();
    ensure!(
        text[..begin].lines().count() > 50,
        "it began before it was made:\n{new}"
    );
    // Either may be a record ahead of the other now.
    let same = text[begin..].lines().zip(new.lines()).all(|(one, other)| one == other);
    ensure!(same, "the two sinks differ");
    let by: Value = serde_json::from_str(text.lines().next().unwrap_or_default())?;
    ensure!(
        by["written_by"]["node"] == 2 && by["written_by"]["name"] == "second",
        "{by}"
    );
    Ok(())
}

/// A node with a sink, alone in its cluster.
struct Bed {
    lender: Cluster,
    server: Server,
    metrics: String,
    log: PathBuf,
    shares: Vec<String>,
    root: SecretBytes,
    _directory: tempfile::TempDir,
}

impl Bed {
    async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let log = directory.path().to_owned();
        Self::start_in(directory, &log).await
    }

    async fn start_on(disk: &Path) -> Result<Self> {
        Self::start_in(tempfile::tempdir()?, disk).await
    }

    async fn start_in(directory: tempfile::TempDir, logs: &Path) -> Result<Self> {
        let lender = Cluster::start(1)?;
        let log = logs.join(FILE);
        let (config, metrics) = config(&log)?;
        let unusual = Unusual {
            config,
            ..Unusual::default()
        };
        let server = Server::start(&directory.path().join("first"), &lender, &unusual).await?;
        let init = v1::InitRequest {
            shares: 1,
            threshold: 1,
            ..Default::default()
        };
        let made = server.client_as(SecretBytes::default())?.init(init).await?;
        let shares = vec![String::from_utf8(made.shares[0].to_vec())?];
        server.unseal(&shares).await?;
        Ok(Self {
            lender,
            server,
            metrics,
            log,
            shares,
            root: SecretBytes::new(made.root_token.to_vec()),
            _directory: directory,
        })
    }

    fn client(&self) -> Result<Client> {
        self.server.client_as(self.root.duplicate())
    }

    async fn put(&self, path: &str, value: &str) -> Result<()> {
        put(&self.client()?, path, value).await
    }

    /// Lag in records and in seconds, and errors.
    async fn metrics(&self) -> Result<(f64, f64, f64)> {
        let text = scrape(&self.metrics).await?;
        let value = |name: &str| -> Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            Ok(line.with_context(|| format!("no {name} in {text}"))?.trim().parse()?)
        };
        Ok((
            value(&lag_of("file"))?,
            value("aumbry_audit_sink_lag_seconds{sink=\"file\"}")?,
            value("aumbry_audit_sink_errors_total{sink=\"file\"}")?,
        ))
    }

    async fn catches_up(&self) -> Result<()> {
        let is_even = || async {
            let lag = self.metrics().await;
            lag.is_ok_and(|(lag, age, _)| lag == 0.0 && age == 0.0)
        };
        eventually("the sink has caught up", is_even)
            .await
            .with_context(|| self.server.log())
    }

    /// Tells the process to end, and waits until it has; it is not reaped yet.
    async fn terminate(&self) -> Result<()> {
        let process = self.server.process().context("it runs")?.to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &process]).status()?;
        ensure!(sent.success());
        let status = format!("/proc/{process}/status");
        let is_ended = || async { std::fs::read_to_string(&status).is_ok_and(|text| text.contains("State:\tZ")) };
        let ended = eventually("the server ends", is_ended).await;
        ended.with_context(|| self.server.log())
    }

    /// Each line is a record of the log, each record of the log up to the last line is one line, in order: equal to what the tool prints, and
    /// with the commitment that an export has. Gives how many there are.
    fn check(&self, text: &str) -> Result<usize> {
        ensure!(text.ends_with('\n'), "the last line is torn");
        let shown = self.cli(&["audit", "log", "--from", "0", "--output", "json"])?;
        let export = tempfile::tempdir()?;
        let export = export.path().join("export");
        self.cli(&["audit", "export", &export.to_string_lossy()])?;
        let export = std::fs::read_to_string(export)?;
        let leaves = export.lines().filter(|line| line.starts_with("{\"seq\":"));
        let (mut lines, mut shown, mut leaves) = (text.lines(), shown.lines(), leaves);
        for count in 0.. {
            let Some(line) = lines.next() else {
                return Ok(count);
            };
            let mut line: Value =
                serde_json::from_str(line).with_context(|| format!("line {count} is torn: {line}"))?;
            ensure!(line["seq"] == count, "line {count} is record {}", line["seq"]);
            let leaf: Value = serde_json::from_str(leaves.next().context("a line of no record")?)?;
            for field in ["commitment", "log_time", "k"] {
                ensure!(
                    line["tree"][field] == leaf[field],
                    "record {count} has another {field} in the tree"
                );
            }
            let fields = line.as_object_mut().context("a line is an object")?;
            let own = [fields.remove("tree"), fields.remove("written_by")];
            ensure!(own.iter().all(Option::is_some));
            let expected: Value = serde_json::from_str(shown.next().context("a line of no record")?)?;
            ensure!(line == expected, "record {count} is {expected}, its line is {line}");
        }
        unreachable!("there are more numbers than lines")
    }

    fn cli(&self, arguments: &[&str]) -> Result<String> {
        let token = self.root.expose_str().context("a token is text")?;
        let environment = [
            ("AUMBRY_ADDR", self.server.client_address()),
            ("AUMBRY_CACERT", self.lender.ca_file()),
            ("AUMBRY_TOKEN", token),
        ];
        let output = run_cli(arguments, &environment, "")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Requests, one after the other, that are counted as they are answered.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(bed: &Bed, canaries: &mut Canaries) -> Result<Self> {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (client, value) = (bed.client()?, canaries.make());
        let (stopping, counting) = (Arc::clone(&stop), Arc::clone(&answered));
        let task = tokio::spawn(async move {
            let mut n = 0;
            while !stopping.load(Ordering::SeqCst) {
                n += 1;
                // A node that was killed answers again later.
                if put(&client, &format!("secret/load/{}", n % 50), &value).await.is_ok() {
                    counting.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Ok(Self { stop, answered, task })
    }

    /// So many more requests are answered.
    async fn goes_on(&self, more: u64) -> Result<()> {
        let before = self.answered.load(Ordering::SeqCst);
        let is_answered = || async { self.answered.load(Ordering::SeqCst) >= before + more };
        eventually("requests are answered", is_answered).await
    }

    async fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        Ok(self.task.await?)
    }
}

/// The configuration of a sink that writes this file, and the address of the metrics.
fn config(file: &Path) -> Result<(String, String)> {
    let metrics = free_address()?;
    let config = format!("[metrics]\naddress = {metrics:?}\n[[audit.file]]\nname = \"file\"\npath = {file:?}\n");
    Ok((config, metrics))
}

fn lag_of(sink: &str) -> String {
    format!("aumbry_audit_sink_lag_records{{sink={sink:?}}}")
}

async fn put(client: &Client, path: &str, value: &str) -> Result<()> {
    let request = v1::KvPutRequest {
        path: path.to_owned(),
        data: serde_json::to_vec(&serde_json::json!({ "k": value }))?.into(),
        ..Default::default()
    };
    client.call(request).await?;
    Ok(())
}

const FILE: &str = "audit.log";
