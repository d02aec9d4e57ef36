//! Seals beside the shares: what opens the node when it is started.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Seals beside the shares. Any one opens the node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seal {
    /// How often each is tested on an unsealed node, in seconds.
    pub test_s: u64,
    /// A key in a file.
    #[serde(rename = "static")]
    pub static_key: Option<StaticSeal>,
    /// A key that a PKCS#11 token wraps.
    pub pkcs11: Option<Pkcs11Seal>,
    /// A key that the transit engine of another cluster wraps.
    pub transit: Option<TransitSeal>,
}

impl Default for Seal {
    fn default() -> Self {
        Self {
            test_s: 600,
            static_key: None,
            pkcs11: None,
            transit: None,
        }
    }
}

/// A key in a file, with which the node unseals itself when it is started.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticSeal {
    /// The file. It may be missing: then the node stays sealed until shares open it, or the file is there.
    pub key_file: PathBuf,
}

/// A PKCS#11 token, whose AES key wraps the key of a seal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Seal {
    /// The library of the token's maker.
    pub module: PathBuf,
    /// The label of the token; or its slot.
    pub token: Option<String>,
    /// The number of the slot; or the token's label.
    pub slot: Option<u64>,
    /// The label of the key.
    pub key: String,
    /// The file with the user's PIN, its owner's alone.
    pub pin_file: PathBuf,
    /// Whether the token insists on making the IV of AES-GCM.
    #[serde(default)]
    pub token_makes_iv: bool,
}

/// The transit engine of another cluster, whose key wraps the key of a seal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransitSeal {
    /// `https://`, its host and port.
    pub address: String,
    /// Where the engine is mounted.
    #[serde(default = "transit")]
    pub mount: String,
    /// The name of the key.
    pub key: String,
    /// The file with the token, its owner's alone; read for each try.
    pub token_file: PathBuf,
    /// The authority of the other cluster's certificate, PEM. The machine's own authorities do not count.
    pub ca_file: PathBuf,
}

fn transit() -> String {
    "transit".to_owned()
}

impl Seal {
    /// The values that do not fit, and what to do. `own` are the addresses of this node.
    pub(super) fn check(&self, data_dir: &Path, own: &[String]) -> Vec<&'static str> {
        let mut found = Vec::new();
        let mut demand = |holds: bool, message| {
            if !holds {
                found.push(message);
            }
        };
        demand((1..=86_400).contains(&self.test_s), "seal.test_s is 1 to 86400");
        let fits = |file: &PathBuf| file.is_absolute();
        let is_outside = |file: &PathBuf| !file.starts_with(data_dir);
        if let Some(seal) = &self.static_key {
            demand(fits(&seal.key_file), "seal.static.key_file is an absolute path");
            demand(
                is_outside(&seal.key_file),
                "seal.static.key_file lies in data_dir, so that the disk alone would open the seal; keep it elsewhere",
            );
        }
        if let Some(seal) = &self.pkcs11 {
            demand(
                cfg!(feature = "pkcs11"),
                "seal.pkcs11: this program was built without PKCS#11; take the usual one",
            );
            demand(
                fits(&seal.module) && fits(&seal.pin_file),
                "seal.pkcs11.module and seal.pkcs11.pin_file are absolute paths",
            );
            demand(
                is_outside(&seal.pin_file),
                "seal.pkcs11.pin_file lies in data_dir, so that it would be where the data is; keep it elsewhere",
            );
            demand(
                seal.token.is_some() != seal.slot.is_some(),
                "seal.pkcs11: name the token by its label (token) or by its slot (slot), and not by both",
            );
            demand(
                is_label(&seal.key) && seal.token.as_deref().is_none_or(is_label),
                "seal.pkcs11.key and seal.pkcs11.token have 1 to 32 visible characters",
            );
        }
        if let Some(seal) = &self.transit {
            demand(
                is_https(&seal.address),
                "seal.transit.address is https://, a host and a port, and nothing after it",
            );
            demand(
                is_path(&seal.mount) && is_path(&seal.key) && !seal.key.contains('/') && seal.mount.len() <= 63,
                "seal.transit.mount and seal.transit.key have at most 63 characters of A-Z, a-z, 0-9, `-`, `_`, `.`; a mount also `/` inside",
            );
            demand(
                fits(&seal.token_file) && fits(&seal.ca_file),
                "seal.transit.token_file and seal.transit.ca_file are absolute paths",
            );
            demand(
                is_outside(&seal.token_file),
                "seal.transit.token_file lies in data_dir, so that it would be where the data is; keep it elsewhere",
            );
            let named = seal.address.trim_start_matches("https://");
            demand(
                own.iter().all(|own| own != named),
                "seal.transit.address is this node itself, which cannot open itself; name another cluster",
            );
        }
        found
    }
}

/// As a token keeps it: of 32 bytes, and filled up with spaces.
fn is_label(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.trim() == text && text.bytes().all(|b| matches!(b, b' '..=b'~'))
}

fn is_https(text: &str) -> bool {
    let authority = text.strip_prefix("https://").unwrap_or_default();
    !authority.is_empty() && !authority.contains(['/', '@', '?', '#', ' '])
}

fn is_path(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part != ".."
            && part != "."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    text.len() <= 63 && text.split('/').all(is_part)
}
