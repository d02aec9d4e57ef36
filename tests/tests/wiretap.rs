//! What is said between the nodes, captured by proxies, shows no secret and no name; forwarded requests included.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Canaries, Cluster, Proxy, Server, Unusual, equal_states, free_address};
use aumbry_types::SecretBytes;
use tokio::net::TcpListener;

/// Abuse cases: 108.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_readable_between_the_nodes() -> Result<()> {
    let lender = Cluster::start(1)?;
    let directory = tempfile::tempdir()?;
    let mut servers = Vec::new();
    let mut taps = Vec::new();
    for n in 1..=3 {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (client, peer) = (free_address()?, free_address()?);
        let unusual = Unusual {
            peer_advertise: Some(listener.local_addr()?.to_string()),
            ..Unusual::default()
        };
        taps.push(Proxy::serve(listener, &peer)?);
        let home = directory.path().join(format!("n{n}"));
        servers.push(Server::start_at(&home, &lender, &unusual, client, peer).await?);
    }
    let init = v1::InitRequest {
        shares: 1,
        threshold: 1,
        ..Default::default()
    };
    let made = servers[0].client_as(SecretBytes::default())?.init(init).await?;
    let shares = [String::from_utf8(made.shares[0].to_vec())?];
    let token = || SecretBytes::new(made.root_token.to_vec());
    servers[0].unseal(&shares).await?;
    let root = servers[0].client_as(token())?;
    for server in &servers[1..] {
        let ticket = root.call(v1::JoinTokenCreateRequest::default()).await?.join_token;
        let request = v1::JoinClusterRequest {
            join_token: ticket,
            ca: std::fs::read(lender.ca_file())?.into(),
        };
        server
            .client_as(SecretBytes::default())?
            .join_cluster(None, request)
            .await?;
        server.unseal(&shares).await?;
    }

    let mut canaries = Canaries::default();
    shares.iter().for_each(|share| canaries.add(share));
    canaries.add(token().expose_str().unwrap_or_default());
    let before = heard(&taps)?.len();
    for n in 0..SECRETS {
        // Written on one node and read on the next: whoever leads, most of it is forwarded.
        let writer = servers[n % 3].client_as(token())?;
        let reader = servers[(n + 1) % 3].client_as(token())?;
        let path = format!("secret/{}/{}", canaries.make(), canaries.make());
        let value = canaries.make();
        let put = v1::KvPutRequest {
            path: path.clone(),
            data: format!("{{\"{}\":\"{value}\"}}", canaries.make()).into(),
            ..Default::default()
        };
        writer.call(put).await?;
        let metadata = v1::KvPutMetadataRequest {
            path: path.clone(),
            custom_metadata: [(canaries.make(), canaries.make())].into(),
            set_custom_metadata: true,
            ..Default::default()
        };
        writer.call(metadata).await?;
        let get = v1::KvGetRequest {
            path,
            ..Default::default()
        };
        let item = reader.call(get).await?.item.context("an item")?;
        ensure!(
            String::from_utf8(item.data.to_vec())?.contains(&value),
            "the reader sees another value"
        );
    }
    let policy = canaries.make();
    let text = format!(
        "path \"secret/data/{}\" {{ capabilities = [\"read\"] }}",
        canaries.make()
    );
    let put = v1::PolicyPutRequest {
        name: policy.clone(),
        policy: text,
        ..Default::default()
    };
    servers[1].client_as(token())?.call(put).await?;
    let create = v1::TokenCreateRequest {
        policies: vec![policy],
        display_name: canaries.make(),
        ttl_s: 600,
        ..Default::default()
    };
    let created = servers[2].client_as(token())?.call(create).await?;
    canaries.add(&String::from_utf8(created.token.to_vec())?);

    // Each node holds all of it, so all of it was said.
    let nodes: Result<Vec<Client>> = servers.iter().map(|server| server.client_as(token())).collect();
    equal_states(&nodes?).await?;
    let said = heard(&taps)?;
    ensure!(
        said.len() - before > SECRETS * 1_000,
        "only {} bytes were heard: the taps are not between the nodes",
        said.len() - before
    );
    ensure!(
        !canaries.are_in(&said)?,
        "a name or a secret was said in clear between the nodes"
    );
    Ok(())
}

fn heard(taps: &[Proxy]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for tap in taps {
        let heard = tap.heard()?;
        ensure!(!heard.is_empty(), "a tap heard nothing");
        all.extend(heard);
    }
    Ok(all)
}

const SECRETS: usize = 100;
