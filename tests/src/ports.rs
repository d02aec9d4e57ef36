//! Ports for processes that tests start, and start again.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result};
use aumbry_types::{Entropy as _, SystemEntropy};

/// Whether nobody listens at a port of loopback.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A port such that it and those at these distances above it are free. The kernel gives none of them to an outgoing connection, so that a node
/// that was killed gets its own back.
pub fn free_base(distances: &[u16]) -> Result<u16> {
    let mut start = [0; 2];
    SystemEntropy.fill(&mut start);
    let start = u16::from_le_bytes(start) % PORTS;
    let mut bases = (0..PORTS).map(|step| PORT_FIRST + (start + step) % PORTS);
    bases
        .find(|base| distances.iter().all(|distance| is_free(base + distance)))
        .context("there are no free ports")
}

/// So many free ports in a row.
pub fn free_ports(count: u16) -> Result<Vec<u16>> {
    let distances: Vec<u16> = (0..count).collect();
    let base = free_base(&distances)?;
    Ok(distances.iter().map(|distance| base + distance).collect())
}

/// Apart from those of `aumbry dev`, and below those of outgoing connections.
const PORT_FIRST: u16 = 10_000;
const PORTS: u16 = 9_900;
