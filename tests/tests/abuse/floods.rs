//! Clients that send more than anybody needs, or nothing: the others are served meanwhile, and the memory of the node stays what it was.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Cluster, Server, Unusual, connect, eventually};
use aumbry_types::SecretBytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bed::{ask, get, put};
use crate::raw::encoded;
use crate::seal::resident_kib;

/// Floods of frames that cost their sender little: each ends in an error of its connection or in nothing, and a client beside it is served.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_095_floods_of_frames_harm_nobody() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = cluster.client_on(1)?;
    root.call(put("secret/a095", "{}")).await?;
    let node = cluster.node(1)?;
    // What is allocated once, by connections like those to come, is there.
    flood(&cluster, &rapid_resets(2_000)).await?;
    let before = resident_kib(node.pid)?;
    for (what, frames) in [
        ("rapid reset", rapid_resets(50_000)),
        ("streams without an end", open_streams(20_000)),
        ("continuations", continuations(2_000, 16_000)),
        ("small continuations", continuations(300_000, 1)),
        ("empty data", empty_data(300_000)),
        ("settings", settings(200_000)),
        ("pings", pings(200_000)),
        ("windows", windows(200_000)),
        (
            "window beyond its end",
            [window(0, 0x7fff_ffff), window(0, 0x7fff_ffff)].concat(),
        ),
        ("priorities", priorities(200_000)),
        ("headers that name many", many_headers(50, 10_000)),
        ("unknown frames", unknown(2_000, 16_000)),
        ("a frame larger than allowed", frame(0, 0, 1, &vec![0; (1 << 24) - 1])),
        ("data for no stream", frame(0, 0, 77, &[0; 1_000])),
    ] {
        let started = Instant::now();
        let flooding = flood(&cluster, &frames);
        let serving = async {
            let mut worst = Duration::ZERO;
            for _ in 0..50 {
                let asked = Instant::now();
                let answer = ask(&root, get("secret/a095")).await;
                ensure!(answer == "OK", "{what}: {answer}");
                worst = worst.max(asked.elapsed());
            }
            Ok(worst)
        };
        let (flooded, worst) = tokio::join!(flooding, serving);
        flooded.with_context(|| what.to_owned())?;
        let worst = worst?;
        ensure!(worst < Duration::from_secs(10), "{what}: others waited {worst:?}");
        ensure!(
            started.elapsed() < Duration::from_secs(120),
            "{what}: it took {:?}",
            started.elapsed()
        );
    }
    ensure!(ask(&root, get("secret/a095")).await == "OK");
    let grown = resident_kib(node.pid)?.saturating_sub(before);
    ensure!(grown < 96 << 10, "{grown} KiB more than before the floods");
    Ok(())
}

/// Sends these frames after the preface, until the other end has had enough or all was sent; then hangs up.
async fn flood(cluster: &Cluster, frames: &[u8]) -> Result<()> {
    let authority = std::fs::read_to_string(cluster.ca_file())?;
    let stream = connect(&cluster.endpoints()[0], &authority, "h2").await?;
    let (mut reading, mut writing) = tokio::io::split(stream);
    let answers = tokio::spawn(async move {
        let mut taken = vec![0; 1 << 16];
        while matches!(reading.read(&mut taken).await, Ok(1..)) {}
    });
    let sending = async {
        let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[])[..]].concat();
        writing.write_all(&preface).await?;
        for part in frames.chunks(1 << 16) {
            writing.write_all(part).await?;
        }
        writing.flush().await
    };
    // An error is what the other end is entitled to; that it neither takes nor refuses is not.
    let sent = tokio::time::timeout(Duration::from_secs(60), sending).await;
    answers.abort();
    let _ = sent.context("the node neither takes the frames nor hangs up")?;
    Ok(())
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = &(payload.len() as u32).to_be_bytes()[1..];
    [length, &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A block of headers of a call, in literals, so that nothing depends on what was sent before.
fn headers() -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/aumbry.v1.KvService/Get"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.extend_from_slice(&[0, name.len() as u8]);
        block.extend_from_slice(name.as_bytes());
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    block
}

fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|n| 2 * n + 1)
}

fn rapid_resets(count: u32) -> Vec<u8> {
    let block = headers();
    let open_and_reset = |stream| {
        [
            frame(1, END_HEADERS, stream, &block),
            frame(3, 0, stream, &8_u32.to_be_bytes()),
        ]
        .concat()
    };
    streams(count).flat_map(open_and_reset).collect()
}

fn open_streams(count: u32) -> Vec<u8> {
    let block = headers();
    streams(count)
        .flat_map(|stream| frame(1, END_HEADERS, stream, &block))
        .collect()
}

fn continuations(count: usize, bytes: usize) -> Vec<u8> {
    let first = frame(1, 0, 1, &headers());
    // Literals of one long name, cut anywhere.
    let piece = frame(9, 0, 1, &vec![b'a'; bytes]);
    [first, piece.repeat(count)].concat()
}

fn empty_data(count: usize) -> Vec<u8> {
    [frame(1, END_HEADERS, 1, &headers()), frame(0, 0, 1, &[]).repeat(count)].concat()
}

fn settings(count: usize) -> Vec<u8> {
    frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(count)
}

fn pings(count: usize) -> Vec<u8> {
    frame(6, 0, 0, b"pingping").repeat(count)
}

fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(8, 0, stream, &more.to_be_bytes())
}

fn windows(count: usize) -> Vec<u8> {
    window(0, 1).repeat(count)
}

fn priorities(count: u32) -> Vec<u8> {
    streams(count)
        .flat_map(|stream| frame(2, 0, stream, &[0, 0, 0, 0, 1]))
        .collect()
}

fn many_headers(requests: u32, count: usize) -> Vec<u8> {
    let block = [headers(), b"\0\x01x\x01y".repeat(count)].concat();
    let call = |stream| {
        let mut parts = block.chunks(16_000);
        let mut all = frame(1, 0, stream, parts.next().unwrap_or_default());
        let rest: Vec<_> = parts.collect();
        for (at, part) in rest.iter().enumerate() {
            let flags = if at + 1 == rest.len() { END_HEADERS } else { 0 };
            all.extend(frame(9, flags, stream, part));
        }
        all
    };
    streams(requests).flat_map(call).collect()
}

fn unknown(count: usize, bytes: usize) -> Vec<u8> {
    frame(0xbb, 0, 0, &vec![0; bytes]).repeat(count)
}

/// Connections that begin and say nothing more are closed before long; half a request keeps no place that others need.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_094_who_says_nothing_is_not_waited_for() -> Result<()> {
    let lender = Cluster::start(1)?;
    let directory = tempfile::tempdir()?;
    let unusual = Unusual {
        config: "[limits]\nconnections = 300\nconnections_per_address = 200\n".to_owned(),
        ..Unusual::default()
    };
    let server = Server::start(&directory.path().join("n"), &lender, &unusual).await?;
    // Half a hello, one byte at a time, and nothing at all.
    let mut silent = TcpStream::connect(server.client_address()).await?;
    let mut slow = TcpStream::connect(server.client_address()).await?;
    let started = Instant::now();
    let dripping = async {
        while slow.write_all(b"\x16").await.is_ok() && started.elapsed() < Duration::from_secs(60) {
            if tokio::time::timeout(Duration::from_millis(200), slow.read(&mut [0; 64]))
                .await
                .is_ok_and(|read| !matches!(read, Ok(1..)))
            {
                break;
            }
        }
    };
    let mut first = [0; 1];
    let waiting = tokio::time::timeout(Duration::from_secs(60), silent.read(&mut first));
    let ((), waited) = tokio::join!(dripping, waiting);
    ensure!(!matches!(waited.context("a silent connection is kept")?, Ok(1..)));
    ensure!(
        started.elapsed() < Duration::from_secs(55),
        "it took {:?}",
        started.elapsed()
    );
    // Handshakes that are done, and no request: there are places for so many of an address, and others have theirs.
    let authority = std::fs::read_to_string(lender.ca_file())?;
    let mut idle = Vec::new();
    for _ in 0..150 {
        idle.push(connect(server.client_address(), &authority, "h2").await?);
    }
    server.client_as(SecretBytes::default())?.health(None).await?;
    drop(idle);
    Ok(())
}

/// Whoever hangs up while a request is under way leaves nothing half done: what was written is on record, once, and no place stays taken.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_102_who_hangs_up_leaves_nothing_half_done() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = cluster.client()?;
    root.call(put("secret/a102", "{}")).await?;
    let before = aumbry_tests::records_from(&root, 0).await?.len();
    let bearer = format!("Bearer {}", cluster.root_token().expose_str().unwrap_or_default());
    let authority = std::fs::read_to_string(cluster.ca_file())?;
    let begin = async |n: usize| {
        let endpoint = &cluster.endpoints()[n % 3];
        let stream = connect(endpoint, &authority, "h2").await?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        let connection = tokio::spawn(connection);
        let (method, body) = match n % 2 {
            0 => ("KvService/Put", encoded(&put("secret/a102", "{}"))),
            _ => (
                "TokenService/Create",
                encoded(&v1::TokenCreateRequest {
                    ttl_s: 3_600,
                    display_name: format!("a102-{n}"),
                    ..Default::default()
                }),
            ),
        };
        let request = http::Request::post(format!("https://localhost/aumbry.v1.{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", &bearer)
            .body(())?;
        let (answer, mut sending) = sender.ready().await?.send_request(request, false)?;
        sending.send_data(body.into(), true)?;
        anyhow::Ok((answer, sending, connection))
    };
    // How long an answer takes on this machine once it has answered some: the middle of those that follow.
    let mut whole = Vec::new();
    for n in 0..MEASURED {
        let (answer, _sending, connection) = begin(n).await?;
        let began = Instant::now();
        answer.await?;
        whole.push(began.elapsed());
        connection.abort();
    }
    let warm = &mut whole[MEASURED / 2..];
    warm.sort_unstable();
    let whole = warm[warm.len() / 2];
    let mut cut = 0;
    for n in 0..TRIES {
        let (answer, mut sending, connection) = begin(n).await?;
        // From before it is read to long after it is applied: what a cut finds differs each time.
        let patience = whole * u32::try_from(2 * n)? / u32::try_from(TRIES)?;
        // The runtime's own timers know milliseconds only, in which all is over.
        let patience = tokio::task::spawn_blocking(move || std::thread::sleep(patience));
        tokio::select! {
            biased;
            _ = answer => {}
            _ = patience => cut += 1,
        }
        if n % 4 < 2 {
            sending.send_reset(h2::Reason::CANCEL);
        }
        connection.abort();
    }
    ensure!(
        cut > TRIES / 4,
        "{cut} of {TRIES} were cut off by up to twice {whole:?}"
    );
    // All that was begun is over: the versions are as many as the writes on record, and each token on record is there.
    let mut written = 0;
    let mut accessors = Vec::new();
    eventually("nothing is under way any more", || async {
        let first = aumbry_tests::records_from(&root, before)
            .await
            .map(|records| records.len());
        let second = aumbry_tests::records_from(&root, before)
            .await
            .map(|records| records.len());
        // Reading is recorded itself, once a page.
        matches!((first, second), (Ok(first), Ok(second)) if second == first + 1)
    })
    .await?;
    for record in aumbry_tests::records_from(&root, before).await? {
        match record.text("operation") {
            "kv.put" if record.is_allowed() => written += 1,
            "token.create" if record.is_allowed() => {
                let accessor = &record.event["fields"]["accessor"];
                accessors.push(
                    accessor
                        .as_str()
                        .map(str::to_owned)
                        .unwrap_or_else(|| record.event.to_string()),
                );
            }
            _ => {}
        }
    }
    let item = root.call(get("secret/a102")).await?.item.context("it is there")?;
    let version = item.version.context("it has a version")?.version;
    ensure!(
        version == 1 + written,
        "version {version} after {written} writes on record"
    );
    ensure!(!accessors.is_empty() && written > 0, "nothing was applied");
    for accessor in accessors {
        let by = v1::token_name::By::Accessor(accessor.clone());
        let lookup = v1::TokenLookupRequest {
            token: Some(v1::TokenName { by: Some(by) }),
            ..Default::default()
        };
        let answer = ask(&root, lookup).await;
        ensure!(
            answer == "OK",
            "a token is on record and is not there: {answer}, {accessor}"
        );
    }
    // Every place in the node is free again.
    let many = (0..400).map(|_| root.call(get("secret/a102")));
    for answer in futures::future::join_all(many).await {
        answer?;
    }
    Ok(())
}

const TRIES: usize = 240;
/// Requests that are answered whole, to know how long that takes.
const MEASURED: usize = 60;
const END_HEADERS: u8 = 4;
