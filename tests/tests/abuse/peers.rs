//! The peer port, called with the certificate of a member or of one that was one.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Cluster, Server, Unusual, eventually};
use aumbry_types::SecretBytes;
use h2::client::SendRequest;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;

use crate::bed::{ask, get, put};
use crate::raw::{field, framed};

/// A connection to a peer port as a node, by the identity that lies in its data directory.
async fn connect_as(address: &str, cluster: &str, node: u64, data: &Path) -> Result<SendRequest<bytes::Bytes>> {
    let identity = std::fs::read(data.join("identity"))?;
    let text = String::from_utf8_lossy(&identity).into_owned();
    let certificates: Vec<_> = blocks(&text, "CERTIFICATE").collect();
    let key = blocks(&text, "PRIVATE KEY").next().context("the node has a key")?;
    let chain: Vec<CertificateDer<'static>> = certificates
        .iter()
        .map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()))
        .collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain.last().context("an authority")?.clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder
        .with_root_certificates(roots)
        .with_client_auth_cert(chain[..1].to_vec(), key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(format!("n{node}.{cluster}.aumbry.internal"))?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await?;
    let (sender, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn blocks<'a>(text: &'a str, kind: &str) -> impl Iterator<Item = &'a str> {
    let (begin, end) = (format!("-----BEGIN {kind}-----"), format!("-----END {kind}-----"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let from = rest.find(&begin)?;
        let length = rest[from..].find(&end)? + end.len();
        let block = &rest[from..from + length];
        rest = &rest[from + length..];
        Some(block)
    })
}

/// What a call says: the status of gRPC with its message, and the body.
async fn call(
    sender: &SendRequest<bytes::Bytes>,
    method: &str,
    about: [&str; 3],
    message: &[u8],
) -> Result<(u32, String, Vec<u8>)> {
    let [cluster, from, to] = about;
    let request = http::Request::post(format!("https://peer/aumbry.peer.v1.PeerService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("aumbry-cluster", cluster)
        .header("aumbry-from", from)
        .header("aumbry-to", to)
        .body(())?;
    let (answer, mut sending) = sender.clone().ready().await?.send_request(request, false)?;
    // It may be refused, and its stream closed, before the message is sent.
    drop(sending.send_data(framed(message).into(), true));
    let (head, mut body) = answer.await?.into_parts();
    let mut headers = head.headers;
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        bytes.extend_from_slice(&data?);
    }
    headers.extend(body.trailers().await?.unwrap_or_default());
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
            .to_owned()
    };
    Ok((text("grpc-status").parse()?, text("grpc-message"), bytes))
}

/// A call for another cluster or another node, or by one that is not who it says, is refused before its message is looked at; so is every call of
/// a member that was removed, though its certificate is as good as ever.
///
/// Abuse cases: 65.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_068_a_call_is_for_this_node_and_from_a_member() -> Result<()> {
    let cluster = Cluster::start(2)?;
    let root = cluster.client()?;
    let directory = tempfile::tempdir()?;
    let third = Server::start(&directory.path().join("n3"), &cluster, &Unusual::default()).await?;
    let ticket = root.call(v1::JoinTokenCreateRequest::default()).await?.join_token;
    let join = v1::JoinClusterRequest {
        join_token: ticket,
        ca: std::fs::read(cluster.ca_file())?.into(),
    };
    let joined = third
        .client_as(SecretBytes::default())?
        .join_cluster(None, join)
        .await?;
    ensure!(joined.node_id == 3);
    let id = joined.cluster_id;
    let target = cluster.node(1)?;
    let sender = connect_as(&target.peer, &id, 1, &third.data()).await?;
    let other = "00000000000000000000000000000000";
    let garbage = b"\xff\xff\xff\xff";
    let methods = [
        "Vote",
        "PreVote",
        "Transfer",
        "SnapshotHeld",
        "FetchSnapshot",
        "ReadIndex",
        "Status",
        "Forward",
        "Append",
        "Snapshot",
    ];
    eventually("the member is heard", || async {
        call(&sender, "Status", [&id, "3", "1"], &[])
            .await
            .is_ok_and(|(code, ..)| code == 0)
    })
    .await?;
    for method in methods {
        for about in [
            [other, "3", "1"],
            ["", "3", "1"],
            [&id, "3", "2"],
            [&id, "3", ""],
            [&id, "2", "1"],
            [&id, "1", "1"],
        ] {
            let (code, message, body) = call(&sender, method, about, garbage).await?;
            ensure!(
                code == PERMISSION_DENIED && body.is_empty(),
                "{method} {about:?}: {code} {message}"
            );
        }
    }
    eventually("the node votes, so that the next change may come", || async {
        let members = root.call(v1::MembersRequest::default()).await;
        members.is_ok_and(|reply| reply.members.iter().filter(|member| member.voter).count() == 3)
    })
    .await?;
    let remove = v1::RemoveRequest {
        node_id: 3,
        ..Default::default()
    };
    root.call(remove).await?;
    eventually("the node that was removed is not heard", || async {
        let answer = call(&sender, "Status", [&id, "3", "1"], &[]).await;
        answer.is_ok_and(|(code, ..)| code == PERMISSION_DENIED)
    })
    .await?;
    for method in methods {
        let (code, message, body) = call(&sender, method, [&id, "3", "1"], garbage).await?;
        ensure!(
            code == PERMISSION_DENIED && body.is_empty(),
            "{method}: {code} {message}"
        );
    }
    Ok(())
}

/// What a member hands over is decided by who leads, as if it had come from its caller: a member's word is no token.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_071_a_forwarded_request_is_decided_anew() -> Result<()> {
    let cluster = Cluster::start(2)?;
    let root = cluster.client()?;
    root.call(put("secret/a071", r#"{"canary":"a071"}"#)).await?;
    let leader = cluster.leader().await?;
    let follower = cluster
        .nodes()
        .into_iter()
        .find(|node| node.id != leader)
        .context("a follower")?;
    let id = root.call(v1::StatusRequest::default()).await?.cluster_id;
    let sender = connect_as(&cluster.node(leader)?.peer, &id, leader, Path::new(&follower.data_dir)).await?;
    let (from, to) = (follower.id.to_string(), leader.to_string());
    // `Forwarded`: a call, which here is a read, and the evidence, which is a token and an address.
    let read = prost::Message::encode_to_vec(&get("secret/a071"));
    let call_of_read = field(KV_GET, &read);
    for token in [&b""[..], b"root", b"amb.none"] {
        let evidence = [field(1, token), field(2, b"127.0.0.1:1")].concat();
        let forwarded = [field(1, &call_of_read), field(2, &evidence), vec![3 << 3, 100]].concat();
        let (code, message, body) = call(&sender, "Forward", [&id, &from, &to], &field(1, &forwarded)).await?;
        ensure!(code == 0, "{message}");
        let said = String::from_utf8_lossy(&body);
        ensure!(said.contains("TOKEN_INVALID") && !said.contains("canary"), "{said}");
    }
    let evidence = field(1, cluster.root_token().expose());
    let forwarded = [field(1, &call_of_read), field(2, &evidence), vec![3 << 3, 0xe8, 0x07]].concat();
    let (_, _, body) = call(&sender, "Forward", [&id, &from, &to], &field(1, &forwarded)).await?;
    ensure!(
        String::from_utf8_lossy(&body).contains("canary"),
        "the positive control"
    );
    // Bytes that are no request are refused, and the leader goes on.
    for garbage in [&b"\xff\xff"[..], b"", &[0x0a, 0x7f]] {
        let (code, _, body) = call(&sender, "Forward", [&id, &from, &to], &field(1, garbage)).await?;
        ensure!(
            code != 0 || String::from_utf8_lossy(&body).contains("INVALID_REQUEST"),
            "{garbage:?}"
        );
    }
    ensure!(ask(&root, get("secret/a071")).await == "OK");
    Ok(())
}

/// A join token is for one node, for a while, for one cluster; and joining changes no member.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_066_a_join_token_is_for_one_node_of_one_cluster() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let foreign = Cluster::start(1)?;
    let root = cluster.client()?;
    let directory = tempfile::tempdir()?;
    let server = Server::start(&directory.path().join("n"), &cluster, &Unusual::default()).await?;
    let joining = server.client_as(SecretBytes::default())?;
    let join = |token: &[u8]| {
        let request = v1::JoinClusterRequest {
            join_token: token.to_vec().into(),
            ca: std::fs::read(cluster.ca_file()).unwrap_or_default().into(),
        };
        let joining = &joining;
        async move { joining.join_cluster(None, request).await }
    };
    let make = |ttl_s| v1::JoinTokenCreateRequest {
        ttl_s,
        ..Default::default()
    };
    let members = root.call(v1::MembersRequest::default()).await?.members;
    let of_foreign = foreign.client()?.call(make(600)).await?.join_token;
    let brief = root.call(make(1)).await?.join_token;
    let good = root.call(make(600)).await?.join_token;
    let mut mistyped = good.to_vec();
    let last = mistyped.len() - 3;
    mistyped[last] = if mistyped[last] == b'a' { b'b' } else { b'a' };
    ensure!(join(&of_foreign).await.is_err(), "a token of another cluster");
    for wrong in [&mistyped[..], &good[..good.len() / 2], b"", &vec![b'x'; 1 << 20]] {
        ensure!(join(wrong).await.is_err(), "{} bytes that are no token", wrong.len());
    }
    let since = root.call(v1::StatusRequest::default()).await?.log_time_ms;
    eventually("the brief one has expired", || async {
        let status = root.call(v1::StatusRequest::default()).await;
        status.is_ok_and(|status| status.log_time_ms > since + 1_500)
    })
    .await?;
    ensure!(join(&brief).await.is_err(), "a token that has expired");
    let same = |member: &v1::Member| {
        (
            member.id,
            member.peer_addr.clone(),
            member.client_addr.clone(),
            member.voter,
        )
    };
    let after = root.call(v1::MembersRequest::default()).await?.members;
    ensure!(
        after.iter().map(same).eq(members.iter().map(same)),
        "a member was changed"
    );
    for ttl_s in [86_401, u64::MAX] {
        ensure!(ask(&root, make(ttl_s)).await == "INVALID_REQUEST", "{ttl_s} seconds");
    }
    let joined = join(&good).await?;
    ensure!(joined.node_id == 2 && join(&good).await.is_err());
    let after = root.call(v1::MembersRequest::default()).await?.members;
    ensure!(same(&after[0]) == same(&members[0]), "joining has changed a member");
    Ok(())
}

/// The place of a read in a call, as the protocol file says.
const KV_GET: u8 = 2;
const PERMISSION_DENIED: u32 = 7;
