//! Synced writes of the logs, from the nodes' metrics. They cannot be had from the kernel without its tracing.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Error;

/// Synced writes of the logs of all these nodes so far; none if there are no nodes, or one has no such count.
pub(crate) async fn fsyncs(addresses: &[String]) -> Result<Option<u64>, Error> {
    if addresses.is_empty() {
        return Ok(None);
    }
    let texts = futures::future::try_join_all(addresses.iter().map(|address| read(address))).await?;
    Ok(texts.iter().map(|text| value(text)).sum())
}

async fn read(address: &str) -> Result<String, Error> {
    let wrong = |why: &dyn core::fmt::Display| Error::Metrics {
        address: address.to_owned(),
        why: why.to_string(),
    };
    let reading = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    let text = tokio::time::timeout(TIMEOUT, reading).await;
    let text = text
        .map_err(|_| wrong(&"no answer in time"))?
        .map_err(|error| wrong(&error))?;
    match text.split(' ').nth(1) {
        Some("200") => Ok(text),
        _ => Err(wrong(&"the answer is not 200 OK")),
    }
}

fn value(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(FSYNCS))?;
    line.trim().parse().ok()
}

const FSYNCS: &str = "aumbry_log_fsyncs ";
const TIMEOUT: Duration = Duration::from_secs(10);
/// More than any node tells.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_count_itself_is_read() {
        let text =
            "HTTP/1.1 200 OK\r\n\r\n# HELP aumbry_log_fsyncs Synced.\naumbry_log_fsyncs_more 3\naumbry_log_fsyncs 42\n";
        assert_eq!(value(text), Some(42));
        assert_eq!(value("etcd_x 1\n"), None);
    }
}
