//! The nodes of a page: their places, and for those that run their certificates and configurations.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::certificates::Authority;
use crate::ports::free_ports;

/// Nodes that are in a cluster, and some that are not.
pub(super) struct Scene {
    home: PathBuf,
    places: Vec<Place>,
    members: usize,
}

struct Place {
    name: String,
    directory: PathBuf,
    /// For clients, peers, load balancers and metrics.
    addresses: [String; 4],
}

impl Scene {
    pub(super) fn make(home: &Path, members: usize, spare: usize) -> Result<Self> {
        let count = members + spare;
        let ports = free_ports(u16::try_from(4 * count)?)?;
        let place = |(n, ports): (usize, &[u16])| {
            let name = format!("n{n}");
            let directory = home.join(&name);
            std::fs::create_dir(&directory)?;
            let address = |at: usize| format!("127.0.0.1:{}", ports[at]);
            Ok(Place {
                name,
                directory,
                addresses: [0, 1, 2, 3].map(address),
            })
        };
        Ok(Self {
            home: home.to_owned(),
            places: (1..).zip(ports.chunks_exact(4)).map(place).collect::<Result<_>>()?,
            members,
        })
    }

    /// Certificates and a configuration for each.
    pub(super) fn configure(&self) -> Result<()> {
        let authority = Authority::make()?;
        write(&self.home.join("ca.pem"), authority.pem())?;
        write(&self.home.join("ca.key"), authority.key_pem())?;
        for Place {
            name,
            directory,
            addresses: [client, peer, health, metrics],
        } in &self.places
        {
            let pair = authority.issue()?;
            write(&directory.join("client.pem"), &pair.certificate)?;
            write(&directory.join("client.key"), &pair.key)?;
            let at = directory.display();
            let config = format!(
                "name = \"{name}\"\ndata_dir = \"{at}/data\"\n[client]\naddress = \"{client}\"\ncert_file = \"{at}/client.pem\"\nkey_file = \"{at}/client.key\"\n[peer]\naddress = \"{peer}\"\n[health]\naddress = \"{health}\"\n[metrics]\naddress = \"{metrics}\"\n[raft]\nheartbeat_ms = 50\nelection_min_ms = 150\nelection_max_ms = 300\n"
            );
            write(&directory.join("aumbry.toml"), &config)?;
        }
        Ok(())
    }

    /// The variables that pages use, as shell.
    pub(super) fn variables(&self) -> Result<String> {
        let mut text = String::new();
        let mut map = |variable: &str, value: &dyn Fn(&Place) -> String| {
            let pairs = self
                .places
                .iter()
                .map(|place| format!("[{}]={}", place.name, value(place)));
            let pairs: Vec<String> = pairs.collect();
            writeln!(text, "declare -A {variable}=({})", pairs.join(" "))
        };
        for (at, variable) in ["CLIENT", "PEER", "HEALTH", "METRICS"].into_iter().enumerate() {
            map(variable, &|place| place.addresses[at].clone())?;
        }
        map("CONFIGS", &|place| format!("{}/aumbry.toml", place.directory.display()))?;
        map("DATA", &|place| format!("{}/data", place.directory.display()))?;
        let members = &self.places[..self.members];
        let join = |of: fn(&Place) -> &str, between: &str| members.iter().map(of).collect::<Vec<_>>().join(between);
        let home = self.home.display();
        writeln!(
            text,
            "export NODES='{}' LISTEN=127.0.0.1",
            join(|place| &place.name, " ")
        )?;
        writeln!(text, "export CONFIG=${{CONFIGS[n{}]}}", self.members)?;
        writeln!(text, "export SHARES={home}/shares AUMBRY_CACERT={home}/ca.pem")?;
        writeln!(text, "export AUMBRY_ADDR={}", join(|place| &place.addresses[0], ","))?;
        // As ssh does: the words become one line for another shell.
        text += "on() { local node=$1; shift; CONFIG=${CONFIGS[$node]} bash -euo pipefail -c \"$*\"; }\n";
        Ok(text)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
