//! Whose a connection on this machine is, as Linux tells it.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;

use tokio::net::TcpStream;

/// Whether the other end of a connection is known to be a program of this user, or of root, who sees all anyway.
pub(super) fn is_own(stream: &TcpStream) -> bool {
    let own = std::fs::metadata("/proc/self").map(|own| own.uid());
    let (Ok(own), Ok(here), Ok(there)) = (own, stream.local_addr(), stream.peer_addr()) else {
        return false;
    };
    let table = match there.ip() {
        IpAddr::V4(_) => "/proc/net/tcp",
        IpAddr::V6(_) => "/proc/net/tcp6",
    };
    let table = std::fs::read_to_string(table).unwrap_or_default();
    find(&table, there, here).is_some_and(|uid| uid == own || uid == 0)
}

/// The user whose socket is at this end of a connection, by the kernel's table: `sl local remote st queues timer retransmits uid ...`.
fn find(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let (local, remote) = (written(local), written(remote));
    let mut rows = table.lines().map(|line| line.split_ascii_whitespace());
    rows.find_map(|mut row| {
        let (_, is_it) = (row.next()?, row.next()? == local && row.next()? == remote);
        is_it.then(|| row.nth(4)?.parse().ok()).flatten()
    })
}

/// An address as it stands there: words of four bytes as the machine has them in memory, and the port.
fn written(address: SocketAddr) -> String {
    let bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words: String = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)))
        .collect();
    format!("{words}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn connections_of_ones_own_are_known() {
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            // Not every machine has the newer protocol.
            let Ok(listener) = TcpListener::bind(listen).await else {
                assert_ne!(listen, "127.0.0.1:0");
                continue;
            };
            let there = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (here, _) = listener.accept().await.unwrap();
            assert!(is_own(&here) && is_own(&there), "{listen}");
        }
    }

    #[test]
    fn the_row_is_that_of_the_other_end() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:203A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 1 1 0000000000000000 100 0 0 10 0\n\
             1: 0100007F:203A 0100007F:C001 01 00000000:00000000 00:00000000 00000000     8        0 2 1 0000000000000000 20 4 30 10 -1\n\
             2: 0100007F:C001 0100007F:203A 01 00000000:00000000 00:00000000 00000000  1000        0 3 1 0000000000000000 20 4 30 10 -1\n";
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        if cfg!(target_endian = "little") {
            assert_eq!(find(table, at(0xc001), at(0x203a)), Some(1_000));
            assert_eq!(find(table, at(0x203a), at(0xc001)), Some(8));
        }
        assert_eq!(find(table, at(0xc002), at(0x203a)), None);
        assert_eq!(find("", at(1), at(2)), None);
    }
}
