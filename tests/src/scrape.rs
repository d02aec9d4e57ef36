//! The metrics of a node, as Prometheus would read them.

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// All metrics that a node shows at this address.
pub async fn scrape(address: &str) -> Result<String> {
    let mut tcp = tokio::net::TcpStream::connect(address).await?;
    tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut text = String::new();
    tcp.read_to_string(&mut text).await?;
    Ok(text)
}

/// One of them: its name, with its labels if it has any.
pub async fn metric(address: &str, name: &str) -> Result<f64> {
    let text = scrape(address).await?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.with_context(|| format!("there is no {name} among the metrics"))?;
    Ok(value.trim().parse()?)
}
