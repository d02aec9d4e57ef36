//! Ports for processes that tests start, and start again.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use aumbry_types::{Entropy as _, SystemEntropy};

/// Whether nobody listens at a port of loopback.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// What this process was given. A port that was given is free until somebody listens at it, and again while a node is down.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port such that it and those at these distances above it are free; this process is given none of them again. The kernel gives none of them to an
/// outgoing connection, so that a node that was killed gets its own back.
pub fn free_base(distances: &[u16]) -> Result<u16> {
    let mut start = [0; 2];
    SystemEntropy.fill(&mut start);
    let start = u16::from_le_bytes(start) % PORTS;
    let mut bases = (0..PORTS).map(|step| PORT_FIRST + (start + step) % PORTS);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let base = bases.find(|base| {
        let mut ports = distances.iter().map(|distance| base + distance);
        ports.all(|port| !given.contains(&port) && is_free(port))
    });
    let base = base.context("there are no free ports")?;
    given.extend(distances.iter().map(|distance| base + distance));
    Ok(base)
}

/// So many free ports in a row.
pub fn free_ports(count: u16) -> Result<Vec<u16>> {
    let distances: Vec<u16> = (0..count).collect();
    let base = free_base(&distances)?;
    Ok(distances.iter().map(|distance| base + distance).collect())
}

/// An address on loopback at a free port.
pub fn free_address() -> Result<String> {
    let base = free_base(&[0])?;
    Ok(format!("{}:{base}", Ipv4Addr::LOCALHOST))
}

/// Apart from those of `aumbry dev`, and below those of outgoing connections.
const PORT_FIRST: u16 = 10_000;
const PORTS: u16 = 9_900;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        // So many that chance alone would give one of them twice.
        let ports: Vec<u16> = (0..300).flat_map(|_| free_ports(3).unwrap()).collect();
        let different: BTreeSet<u16> = ports.iter().copied().collect();
        assert_eq!(different.len(), ports.len());
    }
}
