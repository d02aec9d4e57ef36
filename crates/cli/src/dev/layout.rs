//! The files and the ports of a local cluster.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use aumbry_types::{Entropy as _, SystemEntropy};
use tempfile::TempDir;

use super::certificates::Certificates;
use super::env_file::EnvFile;

/// The directory of a cluster; removed when dropped, if it is a temporary one.
pub(super) struct Home {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

impl Home {
    /// Makes the directory, or takes this one, if it holds no cluster.
    pub(super) fn make(dir: Option<&Path>) -> anyhow::Result<Self> {
        let Some(dir) = dir else {
            return Self::temporary(&std::env::temp_dir());
        };
        make_dir(dir)?;
        if EnvFile::path(dir).exists() || dir.join("n1").exists() {
            bail!(
                "{} holds a cluster already; remove it, or name another directory",
                dir.display()
            );
        }
        Ok(Self {
            path: absolute(dir)?,
            _temporary: None,
        })
    }

    /// Makes one in memory, where the system has a place for it; what is there goes with it.
    pub(super) fn in_memory() -> anyhow::Result<Self> {
        let memory = Path::new("/dev/shm");
        Self::temporary(memory).or_else(|_| Self::temporary(&std::env::temp_dir()))
    }

    fn temporary(parent: &Path) -> anyhow::Result<Self> {
        let made = tempfile::Builder::new()
            .prefix("aumbry-dev-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent);
        let temporary = made.context("cannot make a temporary directory; name one with --dir")?;
        Ok(Self {
            path: absolute(temporary.path())?,
            _temporary: Some(temporary),
        })
    }

    /// The directory, absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// One node's files and addresses.
#[derive(Clone)]
pub(super) struct NodePlace {
    pub(super) client: String,
    pub(super) peer: String,
    pub(super) metrics: String,
    pub(super) http: String,
    pub(super) config: PathBuf,
    pub(super) data_dir: PathBuf,
}

/// The files of a cluster that was not started yet.
pub(super) struct Layout {
    pub(super) ca: PathBuf,
    pub(super) ca_pem: String,
    pub(super) nodes: Vec<NodePlace>,
}

impl Layout {
    /// Makes certificates and configurations of this many nodes.
    pub(super) fn make(home: &Path, nodes: u8) -> anyhow::Result<Self> {
        Self::make_with(home, nodes, None)
    }

    /// One node that speaks plain HTTP at this address.
    pub(super) fn make_plain(home: &Path, http: SocketAddr) -> anyhow::Result<Self> {
        Self::make_with(home, 1, Some(http))
    }

    fn make_with(home: &Path, nodes: u8, http: Option<SocketAddr>) -> anyhow::Result<Self> {
        let certificates = Certificates::make().context("cannot make the certificates")?;
        let (ca, cert, key) = (home.join("ca.pem"), home.join("server.pem"), home.join("server.key"));
        write(&ca, &certificates.authority)?;
        write(&cert, &certificates.server)?;
        write(&key, &certificates.server_key)?;
        let ports = free_ports(usize::from(nodes) * PORTS_PER_NODE)?;
        let place = |(number, ports): (usize, &[u16])| {
            let dir = home.join(format!("n{number}"));
            make_dir(&dir)?;
            let address = |port: &u16| format!("{}:{port}", Ipv4Addr::LOCALHOST);
            let place = NodePlace {
                client: address(&ports[0]),
                peer: address(&ports[1]),
                metrics: address(&ports[2]),
                http: address(&ports[3]),
                config: dir.join("aumbry.toml"),
                data_dir: dir.join("data"),
            };
            write(
                &place.config,
                &config(&format!("n{number}"), &place, &cert, &key, http)?,
            )?;
            Ok(place)
        };
        let nodes = (1..)
            .zip(ports.chunks_exact(PORTS_PER_NODE))
            .map(place)
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            ca,
            ca_pem: certificates.authority,
            nodes,
        })
    }
}

/// The file that a node logs to. It stands beside its configuration.
pub(super) fn log_path(config: &Path) -> PathBuf {
    config.with_file_name("server.log")
}

/// Opens it at its end.
pub(super) fn open_log(config: &Path) -> anyhow::Result<File> {
    let path = log_path(config);
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

/// The configuration of a node. Elections are quick, for a cluster on one machine that is to be ready at once.
fn config(name: &str, place: &NodePlace, cert: &Path, key: &Path, plain: Option<SocketAddr>) -> anyhow::Result<String> {
    let NodePlace {
        client,
        peer,
        metrics,
        data_dir,
        http,
        ..
    } = place;
    let http = match plain {
        None => format!("address = \"{http}\""),
        Some(address) => format!("address = \"{address}\"\nplain = true"),
    };
    let (data_dir, cert, key) = (quoted(data_dir)?, quoted(cert)?, quoted(key)?);
    Ok(format!(
        "name = \"{name}\"\n\
         data_dir = {data_dir}\n\n\
         [client]\naddress = \"{client}\"\ncert_file = {cert}\nkey_file = {key}\n\n\
         [peer]\naddress = \"{peer}\"\n\n\
         [metrics]\naddress = \"{metrics}\"\n\n\
         [http]\n{http}\n\n\
         [limits]\ndisk_reserve_bytes = {DISK_RESERVE_BYTES}\n\n\
         [raft]\nheartbeat_ms = 50\nelection_min_ms = 150\nelection_max_ms = 300\n"
    ))
}

/// A path as a TOML string: what JSON escapes, TOML's basic strings escape alike.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("the path {} is not UTF-8; use another", path.display()))?;
    Ok(serde_json::to_string(text)?)
}

/// Ports that nobody listens on now, and that the kernel gives to no outgoing connection: a killed node must get its own back.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let mut start = [0; 2];
    SystemEntropy.fill(&mut start);
    let start = u16::from_le_bytes(start) % PORTS;
    // All are held until there are enough, so that none is found twice.
    let held: Vec<(u16, TcpListener)> = (0..PORTS)
        .map(|step| PORT_FIRST + (start + step) % PORTS)
        .filter_map(|port| Some((port, TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?)))
        .take(count)
        .collect();
    if held.len() < count {
        bail!("there are no {count} free ports from {PORT_FIRST} on; stop what listens there");
    }
    Ok(held.iter().map(|(port, _)| *port).collect())
}

fn make_dir(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make the directory {}", path.display()))
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("cannot find the directory {}", path.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// For clients, peers, metrics and HTTP.
const PORTS_PER_NODE: usize = 4;
/// Below 32768, where Linux begins with the ports of outgoing connections.
/// A cluster for trying things out stands on whatever disk there is, and holds little.
const DISK_RESERVE_BYTES: u64 = 64 << 20;
const PORT_FIRST: u16 = 20_000;
/// How many are looked at.
const PORTS: u16 = 10_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aumbry_server::config::Config;

    use super::*;

    #[test]
    fn the_configurations_are_ones_and_differ() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("with \"quotes\" and \\");
        make_dir(&home).unwrap();
        let layout = Layout::make(&home, 3).unwrap();
        let mut addresses = BTreeSet::new();
        for place in &layout.nodes {
            let config = Config::load(&place.config).unwrap();
            assert_eq!(config.data_dir, place.data_dir);
            addresses.extend([
                config.client.address,
                config.peer.address,
                config.metrics.unwrap().address,
                config.http.unwrap().address,
            ]);
            assert_eq!(place.config.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(addresses.len(), 12);
        assert!(Home::make(Some(&home)).is_err(), "a cluster is there already");
    }
}
