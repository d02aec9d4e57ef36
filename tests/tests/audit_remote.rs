//! Sinks beyond the node: every audit record arrives, in order and as it is in the log, whatever the receiver does and whenever the node is killed;
//! what arrives twice is the same record; and no request waits.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{
    Authority, Cluster, Collector, Manner, Server, Taken, Unusual, eventually, free_address, metric, run_cli,
};
use aumbry_types::SecretBytes;
use serde_json::Value;

/// A collector over HTTPS that hangs, is busy, breaks off, and loses its answers; and a node that is killed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_has_every_record_whatever_it_does() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::make()?;
    let collector = Collector::http(Some(&authority)).await?;
    let ca = file(directory.path(), "ca.pem", authority.pem(), 0o644)?;
    let token = file(directory.path(), "token", "token-of-the-collector\n", 0o600)?;
    let sink = format!(
        "[audit]\nalarm_lag_s = 1\n[[audit.http]]\nname = \"sink\"\nurl = \"https://{}/in\"\nca_file = {ca:?}\ntoken_file = {token:?}\n\
         timeout_ms = 500\nbatch_records = 20\n",
        collector.address
    );
    let mut bed = Bed::start(directory, &sink).await?;

    // It hangs: requests are answered all the same, and the lag is told.
    collector.does(Manner::Hang);
    let load = Load::start(&bed)?;
    load.goes_on(100).await?;
    eventually("the alarm is told", || async {
        bed.server.log().contains("an audit sink lags")
    })
    .await?;
    ensure!(bed.metric("lag_records").await? >= 100.0 && bed.metric("lag_seconds").await? >= 1.0);
    ensure!(collector.taken().is_empty());
    collector.does(Manner::Take(""));
    let slow = Manner::Slow(Duration::from_millis(100));
    collector.does_next([
        Manner::Answer(503, 0, ""),
        Manner::TakeAndBreak,
        Manner::Break,
        Manner::Answer(429, 1, ""),
        slow.clone(),
        slow,
        Manner::Answer(408, 0, ""),
        Manner::TakeAndBreak,
    ]);
    eventually("all of that has come", || async { collector.is_through() }).await?;
    load.goes_on(30).await?;
    // Killed in the middle of whatever it is doing.
    for _ in 0..2 {
        bed.server.kill()?;
        bed.server.run().await?;
        bed.server.unseal(&bed.shares).await?;
        load.goes_on(30).await?;
    }
    load.end().await?;
    let log = bed.log_that_came().await?;
    eventually("the alarm is over", || async {
        bed.server.log().contains("the audit sink has caught up")
    })
    .await?;

    let mut lines = Vec::new();
    for Taken { head, body } in collector.taken() {
        let head = head.to_lowercase();
        ensure!(head.starts_with("post /in http/1.1\r\n"), "{head}");
        ensure!(
            head.contains("authorization: bearer token-of-the-collector\r\n"),
            "{head}"
        );
        let seqs: Vec<u64> = body.lines().map(|line| seq(line, "/seq")).collect::<Result<_>>()?;
        let range = format!("/{}-{}\r\n", seqs[0], seqs[seqs.len() - 1]);
        let key = head.lines().find(|line| line.starts_with("idempotency-key: "));
        ensure!(
            key.is_some_and(|key| format!("{key}\r\n").ends_with(&range)),
            "{range}: {head}"
        );
        ensure!(seqs.len() <= 20, "{} records", seqs.len());
        lines.extend(body.lines().map(str::to_owned));
    }
    let doubled = check(&log, &lines)?;
    ensure!(doubled > 0, "answers were lost, so that something came twice");
    ensure!(
        !bed.server.log().contains("token-of-the-collector"),
        "{}",
        bed.server.log()
    );

    // The control: what is missing, out of its order, or changed is seen.
    let mut missing = lines.clone();
    missing.retain(|line| *line != lines[lines.len() / 2]);
    let mut moved = lines.clone();
    moved.swap(0, 1);
    let mut changed = lines.clone();
    changed[0] = changed[0].replacen("\"seq\":0", "\"x\":1,\"seq\":0", 1);
    let cut: Vec<_> = lines
        .iter()
        .take_while(|line| seq(line, "/seq").is_ok_and(|seq| seq + 1 < log.len() as u64))
        .cloned()
        .collect();
    for bad in [missing, moved, changed, cut] {
        ensure!(check(&log, &bad).is_err());
    }
    Ok(())
}

/// A collector that will not have what it is sent: the sink stands still, nothing is left out, and it goes on when somebody says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_stops_the_sink_until_somebody_looks() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let collector = Collector::http(None).await?;
    let sink = format!(
        "[[audit.http]]\nname = \"sink\"\nkind = \"otlp\"\nurl = \"http://{}\"\n",
        collector.address
    );
    let bed = Bed::start(directory, &sink).await?;
    let lie = "{\"partialSuccess\":{\"rejectedLogRecords\":\"1\",\"errorMessage\":\"SECRET\"}}";
    for (count, manner) in [(1, Manner::Answer(400, 0, "SECRET")), (2, Manner::Answer(200, 0, lie))] {
        bed.catches_up().await?;
        collector.does(manner);
        bed.put("secret/refused", "x").await?;
        eventually("the sink stands still", || async {
            bed.metric("stopped").await.is_ok_and(|stopped| stopped == 1.0)
        })
        .await
        .with_context(|| bed.server.log())?;
        let connections = collector.connections();
        for n in 0..50 {
            bed.put(&format!("secret/{n}"), "x").await?;
        }
        let log = bed.server.log();
        ensure!(log.matches("ALARM: an audit sink is refused").count() == count, "{log}");
        ensure!(!log.contains("SECRET"), "{log}");
        ensure!(collector.connections() == connections, "it was asked again");
        ensure!(bed.metric("lag_records").await? >= 50.0);
        collector.does(Manner::Take("{}"));
        let process = bed.server.process().context("it runs")?.to_string();
        ensure!(
            std::process::Command::new("kill")
                .args(["-HUP", &process])
                .status()?
                .success()
        );
        bed.catches_up().await?;
        ensure!(bed.metric("stopped").await? == 0.0);
    }
    let log = bed.log_that_came().await?;
    let mut lines = Vec::new();
    for taken in collector.taken() {
        ensure!(taken.head.starts_with("POST /v1/logs "), "{}", taken.head);
        let body: Value = serde_json::from_str(&taken.body)?;
        let records = &body["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
        for record in records.as_array().context("there are records")? {
            let line = record["body"]["stringValue"].as_str().context("there is a body")?;
            ensure!(record["attributes"][0]["value"]["intValue"] == seq(line, "/seq")?.to_string());
            lines.push(line.to_owned());
        }
    }
    ensure!(
        check(&log, &lines)? == 0,
        "nothing was lost on the way, so that nothing came twice"
    );
    Ok(())
}

/// Syslog over TLS, from a node with a certificate, to a receiver that hangs and is restarted in the middle of a batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_of_syslog_has_every_record_whatever_it_does() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::make()?;
    let receiver = Collector::syslog(Some(&authority)).await?;
    let client = authority.issue_client()?;
    let ca = file(directory.path(), "ca.pem", authority.pem(), 0o644)?;
    let certificate = file(directory.path(), "cert.pem", &client.certificate, 0o644)?;
    let key = file(directory.path(), "key.pem", &client.key, 0o600)?;
    let sink = format!(
        "[[audit.syslog]]\nname = \"sink\"\naddress = {:?}\nca_file = {ca:?}\ncert_file = {certificate:?}\nkey_file = {key:?}\n\
         timeout_ms = 500\nbatch_records = 50\n",
        receiver.address
    );
    let mut bed = Bed::start(directory, &sink).await?;
    let load = Load::start(&bed)?;
    receiver.does(Manner::Hang);
    load.goes_on(100).await?;
    receiver.does(Manner::Take(""));
    receiver.does_next([Manner::Break, Manner::Slow(Duration::from_millis(50)), Manner::Break]);
    eventually("all of that has come", || async { receiver.is_through() }).await?;
    load.goes_on(30).await?;
    bed.server.kill()?;
    bed.server.run().await?;
    bed.server.unseal(&bed.shares).await?;
    load.goes_on(30).await?;
    load.end().await?;
    let log = bed.log_that_came().await?;
    let mut lines = Vec::new();
    for Taken { head, body } in receiver.taken() {
        ensure!(head == body.len().to_string());
        let (before, line) = body.split_once("\"] ").context("there is structured data")?;
        ensure!(before.starts_with("<86>1 ") || before.starts_with("<85>1 "), "{body}");
        let marked = format!(
            " aumbry - {} [aumbry@32473 seq=\"{}\" ",
            operation(line)?,
            seq(line, "/seq")?
        );
        ensure!(before.contains(&marked), "{marked}: {body}");
        lines.push(line.to_owned());
    }
    let doubled = check(&log, &lines)?;
    ensure!(doubled > 0, "it broke off in the middle, so that something came twice");
    Ok(())
}

/// Nothing goes to who has another authority's certificate, nor with a token that others can read; what is repaired is used without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_stranger() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (authority, other) = (Authority::make()?, Authority::make()?);
    let collector = Collector::http(Some(&authority)).await?;
    let ca = file(directory.path(), "ca.pem", other.pem(), 0o644)?;
    let token = file(directory.path(), "token", "token-of-the-collector", 0o600)?;
    let sink = format!(
        "[[audit.http]]\nname = \"sink\"\nurl = \"https://{}\"\nca_file = {ca:?}\ntoken_file = {token:?}\n",
        collector.address
    );
    let bed = Bed::start(directory, &sink).await?;
    let fails = |errors: f64| bed.fails_beyond(errors);
    fails(1.0).await?;
    ensure!(collector.connections() >= 2 && collector.taken().is_empty());
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o640))?;
    std::fs::write(&ca, authority.pem())?;
    fails(bed.metric("errors_total").await? + 1.0).await?;
    ensure!(collector.taken().is_empty(), "a token that others can read was sent");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600))?;
    let log = bed.log_that_came().await?;
    let lines: Vec<String> = collector
        .taken()
        .iter()
        .flat_map(|taken| taken.body.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    check(&log, &lines)?;
    ensure!(!bed.server.log().contains("token-of-the-collector"));
    Ok(())
}

/// Each kind and each form beside the others, in clear on this machine.
#[tokio::test(flavor = "multi_thread")]
async fn each_kind_and_form_has_every_record() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (splunk, generic, syslog) = (
        Collector::http(None).await?,
        Collector::http(None).await?,
        Collector::syslog(None).await?,
    );
    splunk.does(Manner::Take("{\"text\":\"Success\",\"code\":0}"));
    let token = file(directory.path(), "token", "splunk-token", 0o600)?;
    let vault = directory.path().join("vault.log");
    let config = format!(
        "[[audit.http]]\nname = \"sink\"\nkind = \"splunk\"\nurl = \"http://{}\"\nformat = \"ocsf\"\ntoken_file = {token:?}\n\
         [[audit.http]]\nname = \"generic\"\nurl = \"http://{}\"\nformat = \"cef\"\n\
         [[audit.syslog]]\nname = \"syslog\"\naddress = {:?}\nplain = true\nformat = \"cef\"\nfacility = \"local0\"\n\
         [[audit.file]]\nname = \"vault\"\npath = {vault:?}\nformat = \"vault\"\n",
        splunk.address, generic.address, syslog.address
    );
    let bed = Bed::start(directory, &config).await?;
    for hostile in ["secret/a|b=c\\d", "secret/e\"f]g", "secret/ü"] {
        bed.put(hostile, "x").await?;
    }
    bed.catches_up().await?;
    for name in ["generic", "syslog", "vault"] {
        let lag = format!("aumbry_audit_sink_lag_records{{sink={name:?}}}");
        eventually("the others have caught up", || async {
            metric(&bed.metrics, &lag).await.is_ok_and(|lag| lag == 0.0)
        })
        .await?;
    }
    let log: BTreeMap<u64, String> = (0..)
        .zip(bed.shown()?)
        .map(|(seq, record)| (seq, record["path"].as_str().unwrap_or_default().to_owned()))
        .collect();

    let mut events = Vec::new();
    for taken in splunk.taken() {
        ensure!(
            taken.head.starts_with("POST /services/collector/event "),
            "{}",
            taken.head
        );
        ensure!(
            taken
                .head
                .to_lowercase()
                .contains("authorization: splunk splunk-token\r\n")
        );
        for line in taken.body.lines() {
            let event: Value = serde_json::from_str(line)?;
            let of = &event["event"];
            ensure!(
                event["fields"]["seq"].as_str() == Some(of["metadata"]["sequence"].to_string().as_str()),
                "{line}"
            );
            ensure!(of["class_uid"] == 6_003, "{line}");
            let path = of["resources"][0]["name"].as_str().unwrap_or_default().to_owned();
            events.push((seq(&of.to_string(), "/metadata/sequence")?, path));
        }
    }
    same(&log, &events)?;
    let events: Result<Vec<_>> = std::fs::read_to_string(&vault)?
        .lines()
        .map(|line| {
            let entry: Value = serde_json::from_str(line)?;
            let path = entry["request"]["path"].as_str().unwrap_or_default().to_owned();
            ensure!(entry["type"] == "response", "{line}");
            Ok((seq(line, "/aumbry/seq")?, path))
        })
        .collect();
    same(&log, &events?)?;
    let of_http: Vec<String> = generic
        .taken()
        .iter()
        .flat_map(|taken| taken.body.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let of_syslog: Vec<String> = syslog
        .taken()
        .iter()
        .filter_map(|taken| taken.body.find("CEF:0|").map(|at| taken.body[at..].to_owned()))
        .collect();
    for lines in [of_http, of_syslog] {
        let cef = |line: &String| {
            let seq = line
                .split_once(" externalId=")
                .and_then(|(_, rest)| rest.split(' ').next());
            let path = line
                .split_once(" request=")
                .and_then(|(_, rest)| rest.split_once(" suser="))
                .map_or("", |(path, _)| path);
            let path = path.replace("\\=", "=").replace("\\\\", "\\");
            Ok((seq.context("there is a seq")?.parse()?, path))
        };
        let events: Result<Vec<(u64, String)>> = lines.iter().map(cef).collect();
        // What nobody asked for has no user, and its path is not looked for here.
        let (events, mut log) = (events?, log.clone());
        for (seq, path) in &events {
            if path.is_empty() {
                log.insert(*seq, String::new());
            }
        }
        same(&log, &events)?;
        ensure!(events.iter().any(|(_, path)| path == "secret/a|b=c\\d"), "{lines:?}");
    }
    Ok(())
}

/// Each record of the log came, as the tool prints it: the first time each comes is in order, and what comes again is the same. Gives how many came
/// again. Records that are younger than this reading of the log may follow.
fn check(log: &[Value], lines: &[String]) -> Result<usize> {
    let (mut next, mut doubled) = (0, 0);
    for line in lines {
        let at = seq(line, "/seq")?;
        match at.cmp(&next) {
            std::cmp::Ordering::Equal => next += 1,
            std::cmp::Ordering::Less => doubled += 1,
            std::cmp::Ordering::Greater => bail!("record {next} is missing before {at}"),
        }
        let mut line: Value = serde_json::from_str(line)?;
        let fields = line.as_object_mut().context("a line is an object")?;
        let own = [fields.remove("tree"), fields.remove("written_by")];
        ensure!(own.iter().all(Option::is_some));
        let expected = log.get(usize::try_from(at)?);
        ensure!(
            expected.is_none_or(|expected| line == *expected),
            "record {at} is {expected:?}, its line is {line}"
        );
    }
    ensure!(next >= log.len() as u64, "{next} of {} records", log.len());
    Ok(doubled)
}

/// All records up to the last, each once, in their order, with their paths.
fn same(log: &BTreeMap<u64, String>, events: &[(u64, String)]) -> Result<()> {
    ensure!(events.len() > 5, "only {} events", events.len());
    for (at, (seq, path)) in events.iter().enumerate() {
        ensure!(*seq == at as u64, "event {at} is record {seq}");
        ensure!(
            log.get(seq) == Some(path),
            "record {seq} is {:?}, and told as {path:?}",
            log.get(seq)
        );
    }
    Ok(())
}

fn seq(line: &str, pointer: &str) -> Result<u64> {
    let line: Value = serde_json::from_str(line).with_context(|| format!("torn: {line}"))?;
    line.pointer(pointer).and_then(Value::as_u64).context("there is a seq")
}

fn operation(line: &str) -> Result<String> {
    let line: Value = serde_json::from_str(line)?;
    Ok(line["operation"].as_str().context("there is an operation")?.to_owned())
}

fn file(directory: &Path, name: &str, content: &str, mode: u32) -> Result<PathBuf> {
    let path = directory.join(name);
    std::fs::write(&path, content)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    Ok(path)
}

/// A node with sinks, of which one is named `sink`, alone in its cluster.
struct Bed {
    lender: Cluster,
    server: Server,
    metrics: String,
    shares: Vec<String>,
    root: SecretBytes,
    _directory: tempfile::TempDir,
}

impl Bed {
    async fn start(directory: tempfile::TempDir, sinks: &str) -> Result<Self> {
        let lender = Cluster::start(1)?;
        let metrics = free_address()?;
        let unusual = Unusual {
            config: format!("[metrics]\naddress = {metrics:?}\n{sinks}"),
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

    async fn metric(&self, name: &str) -> Result<f64> {
        metric(&self.metrics, &format!("aumbry_audit_sink_{name}{{sink=\"sink\"}}")).await
    }

    /// The sink has failed more often than this.
    async fn fails_beyond(&self, errors: f64) -> Result<()> {
        let has_failed = || async { self.metric("errors_total").await.is_ok_and(|count| count > errors) };
        eventually("the sink fails", has_failed).await
    }

    async fn catches_up(&self) -> Result<()> {
        let is_even = || async { self.metric("lag_records").await.is_ok_and(|lag| lag == 0.0) };
        eventually("the sink has caught up", is_even)
            .await
            .with_context(|| self.server.log())
    }

    /// All records as the tool prints them, once the sink has them all. (Each page that is read adds a record, of which later pages tell.)
    async fn log_that_came(&self) -> Result<Vec<Value>> {
        let log = self.shown()?;
        self.catches_up().await?;
        Ok(log)
    }

    /// All records as the tool prints them.
    fn shown(&self) -> Result<Vec<Value>> {
        let shown = self.cli(&["audit", "log", "--from", "0", "--output", "json"])?;
        Ok(shown.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
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
    fn start(bed: &Bed) -> Result<Self> {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = bed.client()?;
        let (stopping, counting) = (Arc::clone(&stop), Arc::clone(&answered));
        let task = tokio::spawn(async move {
            let mut n = 0;
            while !stopping.load(Ordering::SeqCst) {
                n += 1;
                // A node that was killed answers again later.
                if put(&client, &format!("secret/load/{}", n % 50), "x").await.is_ok() {
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

async fn put(client: &Client, path: &str, value: &str) -> Result<()> {
    let request = v1::KvPutRequest {
        path: path.to_owned(),
        data: serde_json::to_vec(&serde_json::json!({ "k": value }))?.into(),
        ..Default::default()
    };
    client.call(request).await?;
    Ok(())
}
