//! What is measured: a cluster, with a token as an application has one.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Cluster, NodeEnv, run_cli};
use serde_json::Value;

/// A running cluster of three nodes.
pub(crate) struct Subject {
    pub(crate) cluster: Cluster,
    token: String,
    channel: String,
}

impl Subject {
    /// Starts the nodes and makes a token with five policies.
    pub(crate) async fn start(channel: &str) -> Result<Self> {
        let cluster = Cluster::start(NODES)?;
        let client = cluster.client()?;
        let mut policies = vec!["bench".to_owned()];
        // Four that have nothing to say about what is asked, as others have them.
        policies.extend((1..POLICIES).map(|n| format!("team-{n}")));
        for name in &policies {
            let policy = match name.as_str() {
                "bench" => POLICY.to_owned(),
                name => format!("path \"secret/{name}/*\" {{ capabilities = [\"read\"] }}\n"),
            };
            let request = v1::PolicyPutRequest {
                name: name.clone(),
                policy,
                ..v1::PolicyPutRequest::default()
            };
            client.call(request).await?;
        }
        let request = v1::TokenCreateRequest {
            policies,
            ttl_s: TTL_S,
            ..v1::TokenCreateRequest::default()
        };
        let token = client.call(request).await?.token;
        Ok(Self {
            cluster,
            token: String::from_utf8(token.to_vec()).context("a token is text")?,
            channel: channel.to_owned(),
        })
    }

    /// The leader as of now.
    pub(crate) async fn leader(&self) -> Result<NodeEnv> {
        self.cluster.node(self.cluster.leader().await?)
    }

    /// Runs `aumbry bench` against the leader.
    pub(crate) async fn bench(&self, arguments: &[String]) -> Result<Value> {
        let leader = self.leader().await?;
        let nodes = self.cluster.nodes();
        let list = |of: fn(&NodeEnv) -> String| nodes.iter().map(of).collect::<Vec<_>>().join(",");
        let (pids, metrics) = (list(|node| node.pid.to_string()), list(|node| node.metrics.clone()));
        let fixed = ["bench", "--address", &leader.client, "--channel", &self.channel];
        let counted = ["--pids", &pids, "--metrics", &metrics, "--output", "json"];
        let given = arguments.iter().map(String::as_str);
        let line: Vec<&str> = fixed.into_iter().chain(counted).chain(given).collect();
        let output = run_cli(&line, &self.environment(), "")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "aumbry {}: {told}", line.join(" "));
        // Only a preparation has no report.
        match output.stdout[..] {
            [] => Ok(Value::Null),
            ref text => Ok(serde_json::from_slice(text)?),
        }
    }

    /// What a program finds the cluster by.
    pub(crate) fn environment(&self) -> [(&'static str, &str); 2] {
        [("AUMBRY_CACERT", self.cluster.ca_file()), ("AUMBRY_TOKEN", &self.token)]
    }
}

const NODES: usize = 3;
const POLICIES: usize = 5;
/// Longer than any matrix takes.
const TTL_S: u64 = 24 * 3_600;
const POLICY: &str = "path \"secret/*\" { capabilities = [\"create\", \"read\", \"update\", \"list\"] }
path \"auth/token/create\" { capabilities = [\"update\"] }
";
