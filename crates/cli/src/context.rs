//! What all commands share: where the cluster is, the token, the form of the output.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aumbry_client::{Builder, Client};
use aumbry_types::{SecretBytes, parse_duration};
use clap::Args;

use crate::output::Format;

/// Options of all commands.
#[derive(Args, Clone)]
pub(crate) struct Global {
    /// The nodes, host:port, separated by commas
    #[arg(
        long,
        global = true,
        env = "AUMBRY_ADDR",
        default_value = "127.0.0.1:8200",
        value_delimiter = ','
    )]
    pub(crate) address: Vec<String>,
    /// The authority of the nodes' certificates (PEM)
    #[arg(long, global = true, env = "AUMBRY_CACERT")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// The form of the output
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// How long a command may take, such as 10s or 1m
    #[arg(long, global = true, default_value = "10s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
}

/// A command's surroundings.
pub(crate) struct Context {
    pub(crate) global: Global,
}

impl Context {
    pub(crate) const fn new(global: Global) -> Self {
        Self { global }
    }

    pub(crate) const fn format(&self) -> Format {
        self.global.output
    }

    /// The first endpoint: what concerns one node goes there.
    pub(crate) fn first(&self) -> Result<&str> {
        self.global
            .address
            .first()
            .map(String::as_str)
            .context("name an endpoint (AUMBRY_ADDR)")
    }

    /// A client with the token of the environment, or the one kept by `aumbry login`.
    pub(crate) fn client(&self) -> Result<Client> {
        let token = kept_token()?;
        Ok(self.builder()?.token(token).build()?)
    }

    /// A client without a token.
    pub(crate) fn anonymous(&self) -> Result<Client> {
        Ok(self.builder()?.build()?)
    }

    pub(crate) fn builder(&self) -> Result<Builder> {
        let file = self.global.ca_cert.as_ref();
        let file = file.context("name the authority of the nodes' certificates: --ca-cert FILE or AUMBRY_CACERT")?;
        let ca = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Client::builder()
            .endpoints(self.global.address.clone())
            .ca_pem(ca)
            .timeout(self.global.timeout))
    }
}

/// Where `aumbry login` keeps the token.
pub(crate) fn token_file() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(PathBuf::from(home).join(".aumbry").join("token"))
}

fn kept_token() -> Result<SecretBytes> {
    if let Ok(token) = std::env::var("AUMBRY_TOKEN") {
        return Ok(SecretBytes::from(token));
    }
    let Ok(file) = token_file() else {
        return Ok(SecretBytes::default());
    };
    match std::fs::read(file) {
        Ok(bytes) => Ok(trimmed(bytes)),
        Err(_) => Ok(SecretBytes::default()),
    }
}

/// Reads a secret from standard input, without the newline at its end.
pub(crate) fn read_stdin() -> Result<SecretBytes> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(STDIN_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > STDIN_BYTES_MAX {
        bail!("standard input holds more than 11 MiB");
    }
    Ok(trimmed(bytes))
}

/// Asks for a secret at the terminal, without showing it; or reads it from standard input if that is no terminal.
pub(crate) fn ask(prompt: &str) -> Result<SecretBytes> {
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Ok(SecretBytes::from(rpassword::prompt_password(prompt)?));
    }
    read_stdin()
}

/// `@file` is the file's bytes, `-` is standard input, anything else is itself.
pub(crate) fn value(text: &str) -> Result<SecretBytes> {
    if text == "-" {
        return read_stdin();
    }
    match text.strip_prefix('@') {
        Some(file) => Ok(SecretBytes::new(
            std::fs::read(file).with_context(|| format!("cannot read {file}"))?,
        )),
        None => Ok(SecretBytes::from(text.to_owned())),
    }
}

fn trimmed(mut bytes: Vec<u8>) -> SecretBytes {
    while bytes.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
        bytes.pop();
    }
    SecretBytes::new(bytes)
}

/// More than any request may hold, so that the server says what is wrong with it.
const STDIN_BYTES_MAX: u64 = 11 << 20;
