//! No secret and no name is found where it must not be: on disks, in logs, on command lines, in metrics, between nodes.

use anyhow::{Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Canaries, Cluster, search};
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Secrets with canaries in path, value, metadata, policy and token names, with everything logged that can be: none is found.
#[tokio::test(flavor = "multi_thread")]
async fn no_name_and_no_value_is_readable_anywhere() -> Result<()> {
    let cluster = Cluster::start_with(3, &[], &[("RUST_LOG", "trace")])?;
    let client = cluster.client()?;
    let mut canaries = Canaries::default();
    let mut requests = Vec::new();
    for _ in 0..SECRETS {
        let (directory, name, value) = (canaries.make(), canaries.make(), canaries.make());
        requests.push(v1::KvPutRequest {
            path: format!("secret/{directory}/{name}"),
            data: format!("{{\"{}\":\"{value}\"}}", canaries.make()).into(),
            ..Default::default()
        });
    }
    let paths: Vec<String> = requests.iter().map(|request| request.path.clone()).collect();
    for chunk in requests.chunks(50) {
        for written in join_all(chunk.iter().map(|request| client.call(request.clone()))).await {
            written?;
        }
    }
    for (n, path) in paths.iter().enumerate().take(30) {
        let custom = [(canaries.make(), canaries.make())].into();
        let metadata = v1::KvPutMetadataRequest {
            path: path.clone(),
            custom_metadata: custom,
            set_custom_metadata: true,
            ..Default::default()
        };
        client.call(metadata).await?;
        let node = &cluster.nodes()[n % 3];
        let reader = cluster.client_as(cluster.root_token(), std::slice::from_ref(&node.client))?;
        reader
            .call(v1::KvGetRequest {
                path: path.clone(),
                ..Default::default()
            })
            .await?;
        let missing = format!("secret/{}", canaries.make());
        ensure!(
            reader
                .call(v1::KvGetRequest {
                    path: missing,
                    ..Default::default()
                })
                .await
                .is_err()
        );
    }
    let policy = canaries.make();
    let text = format!(
        "path \"secret/data/{}\" {{ capabilities = [\"read\"] }}",
        canaries.make()
    );
    client
        .call(v1::PolicyPutRequest {
            name: policy.clone(),
            policy: text,
            ..Default::default()
        })
        .await?;
    let token = v1::TokenCreateRequest {
        policies: vec![policy],
        display_name: canaries.make(),
        metadata: [(canaries.make(), canaries.make())].into(),
        ttl_s: 600,
        ..Default::default()
    };
    let created = client.call(token).await?;
    canaries.add(&String::from_utf8(created.token.to_vec())?);
    let denied = cluster.client_as(
        aumbry_types::SecretBytes::new(created.token.to_vec()),
        &cluster.endpoints(),
    )?;
    ensure!(
        denied
            .call(v1::KvGetRequest {
                path: paths[0].clone(),
                ..Default::default()
            })
            .await
            .is_err()
    );
    client.call(v1::AuditReadRequest::default()).await?;
    // Flushed and reopened: what was in memory is on disk now.
    for node in cluster.nodes() {
        cluster.kill(node.id)?;
        cluster.restart(node.id)?;
        cluster.unseal(node.id).await?;
    }
    for node in cluster.nodes() {
        for file in ["cmdline", "environ"] {
            let text = std::fs::read(format!("/proc/{}/{file}", node.pid))?;
            std::fs::write(cluster.everything().join(format!("proc-{}-{file}", node.id)), text)?;
        }
    }
    for node in cluster.nodes() {
        let text = metrics(&node.metrics).await?;
        ensure!(text.contains("aumbry_applied_index"), "these are no metrics: {text}");
        std::fs::write(cluster.everything().join(format!("metrics-{}", node.id)), text)?;
    }
    let saved = cluster.everything().join("backup");
    let command = ["operator", "snapshot", "save", &saved.to_string_lossy()];
    ensure!(
        cluster.cli(&command, "")?.status.success() && saved.exists(),
        "no backup was saved"
    );
    let found = search(&cluster.everything(), &canaries, |_| false)?;
    ensure!(found.is_empty(), "canaries were found in {found:?}");

    // The shares and the root token stand in the files that the tool writes for its user, and nowhere else.
    let mut keys = Canaries::default();
    cluster.shares().iter().for_each(|share| keys.add(share));
    keys.add(cluster.root_token().expose_str().unwrap_or_default());
    let own = |path: &std::path::Path| {
        path.file_name()
            .is_some_and(|name| name == "env.json" || name == "cluster.json")
    };
    let shown = |path: &std::path::Path| path.file_name().is_some_and(|name| name == "dev.log");
    let found = search(&cluster.everything(), &keys, |path| own(path) || shown(path))?;
    ensure!(found.is_empty(), "shares or the root token were found in {found:?}");
    Ok(())
}

async fn metrics(address: &str) -> Result<String> {
    let mut tcp = tokio::net::TcpStream::connect(address).await?;
    tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut text = String::new();
    tcp.read_to_string(&mut text).await?;
    Ok(text)
}

const SECRETS: usize = 500;
