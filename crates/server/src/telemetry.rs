//! The log of a node, on standard error. Nothing here ever holds a name or a value; what libraries say is kept to warnings.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Log, LogFormat};

/// Starts logging. `RUST_LOG` stands before the configuration.
///
/// Modules of libraries that print what passes through them stay at `warn`, whatever is asked for: h2 and rustls print frames and
/// header values at `trace`.
pub(crate) fn start(log: &Log) {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| log.level.clone());
    let mut filter = EnvFilter::builder().parse_lossy(&wanted);
    for quiet in QUIET {
        if let Ok(directive) = format!("{quiet}=warn").parse() {
            filter = filter.add_directive(directive);
        }
    }
    // It warns of each message that a peer does not answer; that a peer is out of reach is told once, by us.
    if let Ok(directive) = "openraft=error".parse() {
        filter = filter.add_directive(directive);
    }
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    // A second start in one process (tests) keeps the first one's subscriber.
    let _ = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// Libraries that would print headers, frames or payloads.
const QUIET: [&str; 6] = ["h2", "hyper", "hyper_util", "tonic", "tower", "rustls"];
