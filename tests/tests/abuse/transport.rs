//! What arrives by HTTP/2 and TLS before anybody looks at what it means.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Cluster, Own, Server, Unusual, records_from};
use aumbry_types::SecretBytes;
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bed::{get, put, shared};
use crate::raw::{Answer, GRPC, Raw, bearer, encoded, field, framed};

const STATUS: &str = "/aumbry.v1.SysService/Status";

/// A token counts in the authorization header and nowhere else; and it is found in no log, whatever place it was put into.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_031_a_token_counts_in_its_header_alone() -> Result<()> {
    let cluster = Cluster::start_with(1, &[], &[("RUST_LOG", "trace")])?;
    let token = cluster.root_token().expose_str().unwrap_or_default().to_owned();
    let raw = Raw::connect(&cluster.endpoints()[0], cluster.ca_file()).await?;
    let bearer = bearer(&token);
    let cookie = format!("token={token}");
    let in_query = format!("{STATUS}?token={token}");
    for (path, name, value) in [
        (&*in_query, "x-nothing", ""),
        (STATUS, "cookie", &cookie),
        (STATUS, "x-vault-token", &token),
        (STATUS, "x-aumbry-token", &token),
        (STATUS, "token", &token),
        (STATUS, "proxy-authorization", &bearer),
        (STATUS, "authorization", &token),
        (STATUS, "authorization", &format!("Basic {token}")),
        (STATUS, "authorization", &format!("bearer  {token}")),
    ] {
        let answer = raw.post(path, &[GRPC, (name, value)], framed(&[])).await?;
        ensure!(!answer.is_served(), "{path} {name}: {answer:?}");
        ensure!(!answer.text().contains(&token), "{answer:?}");
    }
    // In the body, as a request id, as an idempotency key, as a path.
    let header = v1::RequestHeader {
        request_id: token.clone(),
        idempotency_key: token.clone(),
        ..Default::default()
    };
    let body = v1::KvGetRequest {
        header: Some(header),
        path: format!("secret/{token}"),
        ..Default::default()
    };
    let answer = raw.post("/aumbry.v1.KvService/Get", &[GRPC], encoded(&body)).await?;
    ensure!(!answer.is_served() && !answer.text().contains(&token), "{answer:?}");
    let served = raw
        .post(STATUS, &[GRPC, ("authorization", &bearer)], framed(&[]))
        .await?;
    ensure!(served.is_served(), "the positive control: {served:?}");
    let log = std::fs::read_to_string(cluster.dir().join("n1/server.log"))?;
    ensure!(log.contains("the node is up"), "nothing was logged");
    ensure!(
        !log.contains(&token) && !log.contains(&token[10..30]),
        "a token is in the log"
    );
    let records = records_from(&cluster.client()?, 0).await?;
    ensure!(
        records.iter().all(|record| !record.event.to_string().contains(&token)),
        "a token is in the audit log"
    );
    Ok(())
}

/// Two tokens are refused, even two of the same; so is one that is none beside one that is.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_032_two_tokens_are_refused() -> Result<()> {
    let cluster = shared()?;
    let token = cluster.root_token().expose_str().unwrap_or_default().to_owned();
    let root = bearer(&token);
    for endpoint in cluster.endpoints() {
        let raw = Raw::connect(&endpoint, cluster.ca_file()).await?;
        for (first, second) in [
            (&*root, &*root),
            ("Bearer other", &root),
            (&root, "Bearer other"),
            ("", &root),
        ] {
            let headers = [GRPC, ("authorization", first), ("authorization", second)];
            let answer = raw.post(STATUS, &headers, framed(&[])).await?;
            ensure!(answer.code() == Some(INVALID_ARGUMENT), "{answer:?}");
        }
    }
    Ok(())
}

/// Who calls is who is at the other end of the connection, on a node that forwards too; what a header says of it is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_046_the_address_is_that_of_the_connection() -> Result<()> {
    let cluster = Cluster::start(2)?;
    let root = cluster.client()?;
    let bearer = bearer(cluster.root_token().expose_str().unwrap_or_default());
    let before = records_from(&root, 0).await?.len();
    for endpoint in cluster.endpoints() {
        let raw = Raw::connect(&endpoint, cluster.ca_file()).await?;
        let headers = [
            GRPC,
            ("authorization", &*bearer),
            ("x-forwarded-for", "203.0.113.7"),
            ("forwarded", "for=203.0.113.7"),
            ("x-real-ip", "203.0.113.7"),
            ("client-address", "203.0.113.7"),
        ];
        ensure!(raw.post(STATUS, &headers, framed(&[])).await?.is_served());
        // A proxy's preamble is no TLS: the connection ends, and the node goes on.
        let mut tcp = TcpStream::connect(&endpoint).await?;
        tcp.write_all(b"PROXY TCP4 203.0.113.7 203.0.113.8 1 2\r\n").await?;
        ends(&mut tcp).await?;
    }
    let records = records_from(&root, before).await?;
    let asked: Vec<_> = records
        .iter()
        .filter(|record| record.text("operation") == "sys.status")
        .collect();
    ensure!(asked.len() >= 2, "{} records", asked.len());
    for record in records {
        ensure!(!record.event.to_string().contains("203.0.113"), "{}", record.event);
    }
    Ok(())
}

/// A browser's form or script of another origin cannot call: what it can send without asking first is no gRPC, and is not served.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_047_what_a_browser_can_send_is_not_served() -> Result<()> {
    let lender = shared()?;
    let directory = tempfile::tempdir()?;
    let server = Server::start(&directory.path().join("n"), &*lender, &Unusual::default()).await?;
    let raw = Raw::connect(server.client_address(), lender.ca_file()).await?;
    let init = v1::InitRequest {
        shares: 1,
        threshold: 1,
        ..Default::default()
    };
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/json",
        "application/octet-stream",
        "",
    ] {
        for method in ["SysService/Health", "SysService/Init"] {
            let path = format!("/aumbry.v1.{method}");
            let answer = raw
                .post(
                    &path,
                    &[("content-type", kind), ("origin", "https://evil.example")],
                    encoded(&init),
                )
                .await?;
            ensure!(!answer.is_served(), "{method} was served for {kind:?}: {answer:?}");
        }
    }
    let none = raw.post("/aumbry.v1.SysService/Init", &[], encoded(&init)).await?;
    ensure!(!none.is_served(), "{none:?}");
    let status = server.client_as(SecretBytes::default())?.seal_status(None).await?;
    ensure!(!status.initialized, "a browser's form has made a cluster");
    for kind in ["application/grpc", "application/grpc+proto"] {
        let answer = raw
            .post("/aumbry.v1.SysService/Health", &[("content-type", kind)], framed(&[]))
            .await?;
        ensure!(answer.is_served(), "the positive control: {kind}: {answer:?}");
    }
    Ok(())
}

/// What cannot be read is refused, and neither the answer nor the log has any of it.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_084_what_cannot_be_read_is_not_repeated() -> Result<()> {
    let cluster = Cluster::start_with(1, &[], &[("RUST_LOG", "trace")])?;
    let canary = "c4n4ryc4n4ryc4n4ry";
    let token = bearer(cluster.root_token().expose_str().unwrap_or_default());
    let raw = Raw::connect(&cluster.endpoints()[0], cluster.ca_file()).await?;
    let bytes = canary.as_bytes();
    let wrong = [
        framed(bytes),
        framed(&[&field(2, bytes), &b"\xff\xff\xff"[..]].concat()),
        // A field of text that is none.
        framed(&field(2, &[bytes, b"\xff"].concat())),
        // A length beyond the end.
        framed(&[&[2 << 3 | 2, 0x7f], bytes].concat()),
        bytes.to_vec(),
        field(2, bytes),
        encoded(&put("secret/x", &format!("{{\"{canary}\":"))),
        encoded(&put(&format!("secret/{canary}/../x"), "{}")),
    ];
    let mut refused = 0;
    for method in [
        "KvService/Put",
        "SysService/Init",
        "SysService/Unseal",
        "PolicyService/Put",
        "TokenService/Create",
    ] {
        for body in &wrong {
            let path = format!("/aumbry.v1.{method}");
            let answer = raw
                .post(&path, &[GRPC, ("authorization", &token)], body.clone())
                .await?;
            refused += usize::from(!answer.is_served());
            ensure!(!answer.text().contains(canary), "{method}: {answer:?}");
        }
    }
    ensure!(refused > 30, "{refused} were refused");
    let log = std::fs::read_to_string(cluster.dir().join("n1/server.log"))?;
    ensure!(!log.contains(canary), "a body is in the log");
    Ok(())
}

/// Sizes and depths are bounded before anything is taken apart; what is too deep for a stack ends a request and not the process.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_092_sizes_and_depths_are_bounded() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    let nested = |open: &str, close: &str, count: usize| format!("{}1{}", open.repeat(count), close.repeat(count));
    for data in [
        nested("[", "]", 500_000),
        format!("{{\"a\":{}}}", nested("[", "]", 500_000)),
        nested("{\"a\":", "}", 150_000),
        format!("{{\"a\":{}}}", nested("[", "]", 33)),
        r#"{"a":1,"a":2}"#.to_owned(),
        r#"{"a":{"b":1,"\u0062":2}}"#.to_owned(),
        r#"{"a":1} {"b":2}"#.to_owned(),
        r#"{"a":1"#.to_owned(),
        format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20)),
    ] {
        let refused = crate::bed::ask(&root, put("secret/a092", &data)).await;
        ensure!(
            refused == "INVALID_REQUEST",
            "{refused}: {}",
            &data[..data.len().min(40)]
        );
    }
    // A number that no machine holds is kept as it was sent, and read back so.
    for number in ["1e999999", "-0.1e-999999", &"9".repeat(10_000)] {
        let data = format!("{{\"a\":{number}}}");
        let written = crate::bed::ask(&root, put("secret/a092", &data)).await;
        if written == "OK" {
            let item = root.call(get("secret/a092")).await?.item.context("it was written")?;
            ensure!(item.data == data, "a number was changed");
        }
    }
    let token = bearer(root_of(&cluster)?.as_str());
    let headers = [GRPC, ("authorization", &*token)];
    let put_path = "/aumbry.v1.KvService/Put";
    for endpoint in cluster.endpoints() {
        let raw = Raw::connect(&endpoint, cluster.ca_file()).await?;
        // Groups and messages in messages, of a field that nobody knows and of one that is known.
        let mut deep = Vec::new();
        for _ in 0..20_000 {
            let inner = std::mem::take(&mut deep);
            deep = field(1, &inner[..inner.len().min(60_000)]);
        }
        for body in [
            [vec![15 << 3 | 3; 1_000_000], vec![15 << 3 | 4; 1_000_000]].concat(),
            vec![15 << 3 | 3; 1_900_000],
            deep,
        ] {
            refused(&raw.post(put_path, &headers, framed(&body)).await?, "depth")?;
        }
        // A message that is too large, in truth and by its word.
        refused(&raw.post(put_path, &headers, framed(&vec![0; 3 << 20])).await?, "size")?;
        let claims = [&[0][..], &u32::MAX.to_be_bytes(), b"abc"].concat();
        refused(&raw.post(put_path, &headers, claims).await?, "claim")?;
        // More fields, and more of a repeated one, than anybody needs.
        let paths: Vec<u8> = (0..100_000).flat_map(|_| field(2, b"secret/x")).collect();
        refused(
            &raw.post("/aumbry.v1.KvService/BatchGet", &headers, framed(&paths))
                .await?,
            "count",
        )?;
        let versions = field(3, &[1; 1_000_000]);
        let body = [field(2, b"secret/x"), versions].concat();
        refused(
            &raw.post("/aumbry.v1.KvService/Destroy", &headers, framed(&body))
                .await?,
            "versions",
        )?;
        let large = "h".repeat(64 << 10);
        let answer = raw
            .post(
                STATUS,
                &[GRPC, ("authorization", &token), ("x-large", &large)],
                framed(&[]),
            )
            .await;
        ensure!(!answer.is_ok_and(|answer| answer.is_served()), "64 KiB of headers");
        let raw = Raw::connect(&endpoint, cluster.ca_file()).await?;
        let answer = raw.post(STATUS, &headers, framed(&[])).await?;
        ensure!(answer.is_served(), "the positive control: {answer:?}");
    }
    Ok(())
}

/// Nothing is decompressed, and nothing is compressed for who would like it.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_093_nothing_is_decompressed() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    root.call(put("secret/a093", &format!("{{\"a\":\"{}\"}}", "x".repeat(100_000))))
        .await?;
    let token = bearer(root_of(&cluster)?.as_str());
    let raw = Raw::connect(&cluster.endpoints()[0], cluster.ca_file()).await?;
    let mut compressed = encoded(&get("secret/a093"));
    compressed[0] = 1;
    for encoding in ["gzip", "zstd", "deflate", "snappy", "identity"] {
        let headers = [GRPC, ("authorization", &*token), ("grpc-encoding", encoding)];
        let answer = raw
            .post("/aumbry.v1.KvService/Get", &headers, compressed.clone())
            .await?;
        refused(&answer, encoding)?;
    }
    let headers = [GRPC, ("authorization", &*token)];
    refused(
        &raw.post("/aumbry.v1.KvService/Get", &headers, compressed).await?,
        "no encoding",
    )?;
    let headers = [
        GRPC,
        ("authorization", &*token),
        ("grpc-accept-encoding", "gzip,zstd,deflate"),
    ];
    let answer = raw
        .post("/aumbry.v1.KvService/Get", &headers, encoded(&get("secret/a093")))
        .await?;
    ensure!(
        answer.is_served() && answer.body.len() > 100_000 && answer.body[0] == 0,
        "{} bytes",
        answer.body.len()
    );
    Ok(())
}

/// A body without an announced length is bounded like any other, on both kinds of listeners.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_096_a_body_of_unknown_length_is_bounded() -> Result<()> {
    let cluster = shared()?;
    let token = bearer(root_of(&cluster)?.as_str());
    let raw = Raw::connect(&cluster.endpoints()[0], cluster.ca_file()).await?;
    let head = [&[0][..], &(64_u32 << 20).to_be_bytes()].concat();
    let frames = std::iter::once(head).chain((0..64).map(|_| vec![0; 1 << 20])).collect();
    let answer = raw
        .send("/aumbry.v1.KvService/Put", &[GRPC, ("authorization", &token)], frames)
        .await?;
    refused(&answer, "64 MiB in pieces")?;
    let own = Own::start().await?;
    let mut tcp = TcpStream::connect(&own.health).await?;
    tcp.write_all(b"POST /health HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await?;
    let chunk = [b"10000\r\n", &vec![b'x'; 0x10000][..], b"\r\n"].concat();
    let mut taken = 0_usize;
    while tcp.write_all(&chunk).await.is_ok() && taken < 64 << 20 {
        taken += chunk.len();
    }
    ensure!(taken < 32 << 20, "{taken} bytes of a body were taken");
    own.anonymous()?.health(None).await?;
    Ok(())
}

/// One request by HTTP/1.1 has one reading, or none: with two lengths, a length and chunks, or a header that goes on in the next line.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_072_a_request_has_one_reading() -> Result<()> {
    let own = Own::start().await?;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: n\r\n\r\n";
    let length = hidden.len();
    for head in [
        format!(
            "GET /live HTTP/1.1\r\nHost: n\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        format!("GET /live HTTP/1.1\r\nHost: n\r\nContent-Length: 0\r\nContent-Length: {length}\r\n\r\n"),
        format!("GET /live HTTP/1.1\r\nHost: n\r\nContent-Length: {length}\r\nContent-Length: 0\r\n\r\n"),
        format!("GET /live HTTP/1.1\r\nHost: n\r\nContent-Length: +{length}\r\n\r\n"),
        format!("GET /live HTTP/1.1\r\nHost: n\r\nX-Odd: a\r\n Content-Length: {length}\r\n\r\n"),
        format!("GET /live HTTP/1.1\r\nHost: n\r\nContent-Length : {length}\r\n\r\n"),
        "GET /live HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: xchunked\r\n\r\n".to_owned(),
        "GET /live HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n".to_owned(),
        "GET /live HTTP/1.1\nHost: n\nX: \0\n\n".to_owned(),
    ] {
        let mut tcp = TcpStream::connect(&own.health).await?;
        tcp.write_all(format!("{head}{hidden}").as_bytes()).await?;
        let mut text = Vec::new();
        // What is kept open has had its answers after a moment; the listener closes it by itself otherwise.
        let _ = tokio::time::timeout(MOMENT, tcp.read_to_end(&mut text)).await;
        let text = String::from_utf8_lossy(&text);
        let answers: Vec<&str> = text.lines().filter(|line| line.starts_with("HTTP/1.1 ")).collect();
        let is_one = match answers[..] {
            // Refused, or answered with nothing behind it.
            [] => true,
            [one] => one.contains(" 400 ") || one.contains(" 200 ") || one.contains(" 501 "),
            // The length counted and was 0, or there was none: what follows is a request.
            [first, second] => first.contains(" 200 ") && (second.contains(" 404 ") || second.contains(" 400 ")),
            _ => false,
        };
        let both = head.contains("Content-Length") && head.contains("Transfer-Encoding");
        let two_lengths = head.matches("Content-Length:").count() == 2;
        ensure!(is_one, "{head:?}: {answers:?}");
        ensure!(!(two_lengths && answers.len() > 1), "{head:?}: {answers:?}");
        ensure!(
            !(both && answers.iter().any(|answer| answer.contains(" 404 "))),
            "{head:?}: {answers:?}"
        );
    }
    Ok(())
}

/// Nothing is said in plain text, nothing by versions before 1.2, and nothing is asked before a handshake is done.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_108_nothing_is_said_in_plain_text() -> Result<()> {
    let cluster = shared()?;
    let node = cluster.node(1)?;
    for address in [&node.client, &node.peer] {
        for plain in [
            &b"GET / HTTP/1.1\r\nHost: n\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            // A hello of SSL 2, and one of TLS 1.0 alone.
            b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10",
            b"\x16\x03\x01\0\x2f\x01\0\0\x2b\x03\x01",
        ] {
            let mut tcp = TcpStream::connect(address).await?;
            tcp.write_all(plain).await?;
            let said = ends(&mut tcp).await?;
            ensure!(
                said.first().is_none_or(|first| *first == ALERT),
                "{address} said {said:?}"
            );
        }
    }
    Ok(())
}

/// No request comes before the handshake is done, though a session is resumed; a session of another process is not.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_109_no_request_rides_on_a_resumption() -> Result<()> {
    let lender = shared()?;
    let directory = tempfile::tempdir()?;
    let mut server = Server::start(&directory.path().join("n"), &*lender, &Unusual::default()).await?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from_pem_file(lender.ca_file())?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.enable_early_data = true;
    let config = Arc::new(config);
    let mut kinds = Vec::new();
    for round in 0..3 {
        if round == 2 {
            server.kill()?;
            server.run().await?;
        }
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
        let name = ServerName::try_from("localhost")?;
        let mut next = rustls::ClientConnection::new(Arc::clone(&config), name.clone())?;
        ensure!(next.early_data().is_none(), "the tickets of the node allow early data");
        let tcp = TcpStream::connect(server.client_address()).await?;
        let mut stream = connector.connect(name, tcp).await?;
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await?;
        // The tickets come with the first bytes.
        let mut first = [0; 9];
        stream.read_exact(&mut first).await?;
        kinds.push(stream.get_ref().1.handshake_kind());
    }
    ensure!(
        kinds[2] == Some(rustls::HandshakeKind::Full),
        "a session of another process was resumed: {kinds:?}"
    );
    Ok(())
}

fn root_of(cluster: &Cluster) -> Result<String> {
    Ok(String::from_utf8(cluster.root_token().expose().to_vec())?)
}

fn refused(answer: &Answer, what: &str) -> Result<()> {
    ensure!(!answer.is_served(), "{what}: {answer:?}");
    Ok(())
}

/// What is said until the other end hangs up.
async fn ends(tcp: &mut TcpStream) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(60), tcp.read_to_end(&mut said)).await;
    // That it is reset is an end as well.
    let _ = reading.context("the other end does not hang up")?;
    Ok(said)
}

/// The record type of TLS's alerts.
const ALERT: u8 = 0x15;
const INVALID_ARGUMENT: u32 = 3;
const MOMENT: Duration = Duration::from_secs(2);
