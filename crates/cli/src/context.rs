//! What all commands share: where the cluster is, the token, the form of the output.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aumbry_client::{Builder, Client, Dispatch, Error, Reply as _, v1};
use aumbry_types::{NamespacePath, RequestId, SecretBytes, SystemEntropy, parse_duration};
use clap::Args;

use crate::failure::{Failed, note, usage, warn};
use crate::output::{Format, Output};

/// Options of all commands.
#[derive(Args, Clone)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The nodes, host:port, separated by commas
    #[arg(
        long,
        global = true,
        env = "AUMBRY_ADDR",
        default_value = ADDRESS_DEFAULT,
        value_delimiter = ','
    )]
    pub(crate) address: Vec<String>,
    /// The authority of the nodes' certificates (PEM)
    #[arg(long, global = true, alias = "ca", env = "AUMBRY_CACERT")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// The form of the output
    #[arg(long, global = true, value_enum, env = "AUMBRY_FORMAT", default_value_t = Output::usual())]
    pub(crate) output: Output,
    /// How long a command may take, such as 10s or 1m
    #[arg(long, global = true, env = "AUMBRY_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// The namespace that paths are relative to, such as team/app
    #[arg(long, global = true, env = "AUMBRY_NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Write a signed receipt of the (last) request to this file, which must not exist
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
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
        self.global.output.format()
    }

    /// The first endpoint: what concerns one node goes there.
    pub(crate) fn first(&self) -> Result<&str> {
        let first = self.global.address.first().map(String::as_str);
        first.ok_or_else(|| usage("name an endpoint (AUMBRY_ADDR)"))
    }

    /// A client with the token of the environment, or the one kept by `aumbry login`.
    pub(crate) fn client(&self) -> Result<Caller> {
        let token = kept_token()?;
        self.build(self.builder()?.token(token))
    }

    /// A client without a token.
    pub(crate) fn anonymous(&self) -> Result<Caller> {
        self.build(self.builder()?)
    }

    /// Makes the client of these settings.
    pub(crate) fn build(&self, builder: Builder) -> Result<Caller> {
        let client = builder.build().map_err(|error| match &self.ca_cert() {
            Some(file) if error.to_string().contains("AUMBRY_CACERT") => no_pem(file),
            _ => error.into(),
        })?;
        let Some(file) = self.global.receipt.clone() else {
            return Ok(Caller { client, receipt: None });
        };
        if file.symlink_metadata().is_ok() {
            return Err(usage(format!("{} exists already: name another file", file.display())));
        }
        Ok(Caller {
            client: client.with_receipts(),
            receipt: Some(file),
        })
    }

    /// The authority that was named, or that Vault's own variable names.
    pub(crate) fn ca_cert(&self) -> Option<PathBuf> {
        let named = self.global.ca_cert.clone().filter(|file| !file.as_os_str().is_empty());
        named.or_else(|| set("VAULT_CACERT").map(PathBuf::from))
    }

    /// The namespace that was named, or that Vault's own variable names. Vault's `root` is nothing here.
    pub(crate) fn namespace(&self) -> Result<String> {
        let named = self.global.namespace.clone().or_else(|| set("VAULT_NAMESPACE"));
        let named = named.unwrap_or_default();
        if named.trim_matches('/') == "root" {
            return Ok(String::new());
        }
        NamespacePath::parse(&named).map_err(|error| usage(format!("the namespace cannot be one: {error}")))?;
        Ok(named)
    }

    /// The same, for what is the cluster's and so in no namespace.
    pub(crate) fn at_root(&self) -> Self {
        let mut global = self.global.clone();
        global.namespace = Some(String::new());
        Self { global }
    }

    pub(crate) fn builder(&self) -> Result<Builder> {
        for address in &self.global.address {
            check_address(address)?;
        }
        if self.global.address == [ADDRESS_DEFAULT] && std::env::var_os("VAULT_ADDR").is_some() {
            warn(self.format(), VAULT_ADDR_UNUSED);
        }
        let file = self.ca_cert();
        let file = file
            .as_ref()
            .ok_or_else(|| usage("name the authority of the nodes' certificates: --ca-cert FILE or AUMBRY_CACERT"))?;
        let ca = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        if !String::from_utf8_lossy(&ca).contains("-----BEGIN CERTIFICATE-----") {
            return Err(no_pem(file));
        }
        Ok(Client::builder()
            .endpoints(self.global.address.clone())
            .ca_pem(ca)
            .timeout(self.global.timeout)
            .namespace(self.namespace()?))
    }
}

/// A client whose errors know whether the request was to change anything.
pub(crate) struct Caller {
    client: Client,
    /// Where the receipt goes, if one is wanted.
    receipt: Option<PathBuf>,
}

impl Caller {
    /// Makes a request of any node.
    pub(crate) async fn call<O: Dispatch>(&self, mut request: O) -> Result<O::Reply, Failed> {
        let id = name(&mut request);
        let answer = self.client.call(request).await;
        let reply = answer.map_err(|error| failed::<O>(error, id))?;
        self.keep_receipt(reply.header());
        Ok(reply)
    }

    /// Makes a request of exactly this endpoint.
    pub(crate) async fn call_on<O: Dispatch>(&self, endpoint: &str, mut request: O) -> Result<O::Reply, Failed> {
        let id = name(&mut request);
        let answer = self.client.call_on(endpoint, request).await;
        answer.map_err(|error| failed::<O>(error, id))
    }

    /// Makes a request by path.
    pub(crate) async fn by_path(&self, asked: ByPath) -> Result<v1::LogicalReply, Failed> {
        // Wrapping an answer writes, whatever is wrapped.
        let is_read = matches!(asked.verb, v1::Verb::Read | v1::Verb::List) && asked.wrap_ttl_s == 0;
        let mut request = v1::LogicalRequest {
            verb: asked.verb as i32,
            path: asked.path,
            body: asked.body.into(),
            wrap_ttl_s: asked.wrap_ttl_s,
            ..Default::default()
        };
        let id = name(&mut request);
        let answer = self.client.call(request).await;
        let reply = answer.map_err(|error| {
            let failed = failed::<v1::LogicalRequest>(error, id);
            if is_read { failed.of_read() } else { failed }
        })?;
        self.keep_receipt(reply.header.as_ref());
        Ok(reply)
    }

    /// Writes the receipt, if one is wanted. What was asked for is done by then, so that its answer is told whatever becomes of the file.
    fn keep_receipt(&self, header: Option<&v1::ReplyHeader>) {
        let Some(file) = &self.receipt else { return };
        let receipt = header.map_or("", |header| header.receipt.as_str());
        if receipt.is_empty() {
            note("the answer came without a receipt: the node was sealed meanwhile, or is of an older version");
        } else if let Err(error) = std::fs::write(file, format!("{receipt}\n")) {
            note(&format!("the receipt cannot be written to {}: {error}", file.display()));
        }
    }

    /// The seal of an endpoint.
    pub(crate) async fn seal_status(&self, endpoint: &str) -> Result<v1::SealStatusReply, Failed> {
        self.client.seal_status(Some(endpoint)).await.map_err(Failed::read)
    }

    /// The client itself, for what no other method is for.
    pub(crate) const fn sdk(&self) -> &Client {
        &self.client
    }
}

/// A request by path.
pub(crate) struct ByPath {
    pub(crate) verb: v1::Verb,
    /// The mount first, without a slash at its beginning.
    pub(crate) path: String,
    /// One JSON object; nothing is an empty one.
    pub(crate) body: Vec<u8>,
    /// 0 does not wrap.
    pub(crate) wrap_ttl_s: u64,
}

impl ByPath {
    /// With nothing but a verb and a path.
    pub(crate) fn new(verb: v1::Verb, path: impl Into<String>) -> Self {
        Self {
            verb,
            path: path.into(),
            body: Vec::new(),
            wrap_ttl_s: 0,
        }
    }

    /// With this body.
    pub(crate) fn with(mut self, body: &serde_json::Value) -> Self {
        self.body = body.to_string().into_bytes();
        self
    }

    /// With its answer wrapped for so long, if for any time.
    pub(crate) const fn wrapped(mut self, ttl_s: u64) -> Self {
        self.wrap_ttl_s = ttl_s;
        self
    }
}

/// Gives a request its id here, so that it can be told, and looked for in the audit log, when no answer comes.
fn name<O: Dispatch>(request: &mut O) -> String {
    let id = RequestId::make(&SystemEntropy).to_string();
    request.header_mut().request_id.clone_from(&id);
    id
}

fn failed<O: Dispatch>(mut error: Error, id: String) -> Failed {
    if let Error::Failure(failure) = &mut error
        && failure.request_id.is_empty()
    {
        failure.request_id = id;
    }
    if O::IS_WRITE {
        Failed::write(error)
    } else {
        Failed::read(error)
    }
}

fn no_pem(file: &std::path::Path) -> anyhow::Error {
    usage(format!(
        "{} is not the PEM file of an authority: it holds no certificate that can be read (--ca-cert, AUMBRY_CACERT)",
        file.display()
    ))
}

fn check_address(address: &str) -> Result<()> {
    if let Some((_, rest)) = address.split_once("://") {
        return Err(usage(format!(
            "the address {address} is to be host:port, such as {rest}"
        )));
    }
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let is_bare_v6 = host.contains(':') && !host.starts_with('[');
    if is_bare_v6 || address.ends_with(']') || port.is_empty() {
        let host = if host.contains(':') && !host.starts_with('[') {
            format!("[{address}]")
        } else {
            host.to_owned()
        };
        return Err(usage(format!(
            "the address {address} has no port: give host:port, such as {host}:8200"
        )));
    }
    if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(usage(format!("the address {address} is not host:port")));
    }
    Ok(())
}

/// A variable that is set and not empty.
pub(crate) fn set(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// Where `aumbry login` keeps the token.
pub(crate) fn token_file() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(PathBuf::from(home).join(".aumbry").join("token"))
}

/// The token of the environment, or the one kept by `aumbry login`; empty if there is none.
pub(crate) fn kept_token() -> Result<SecretBytes> {
    if std::env::var_os("AUMBRY_TOKEN").is_none()
        && let Some(token) = set("VAULT_TOKEN")
    {
        return Ok(SecretBytes::from(token));
    }
    own_token()
}

/// The same, without a look at Vault's variable.
pub(crate) fn own_token() -> Result<SecretBytes> {
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

/// The token that a file holds.
pub(crate) fn file_token(file: &std::path::Path) -> Result<SecretBytes> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(trimmed(bytes))
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

const ADDRESS_DEFAULT: &str = "127.0.0.1:8200";
const VAULT_ADDR_UNUSED: &str =
    "VAULT_ADDR is not used: it names the HTTP interface, and this program speaks gRPC; set AUMBRY_ADDR to host:port";
/// More than any request may hold, so that the server says what is wrong with it.
const STDIN_BYTES_MAX: u64 = 11 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port() {
        for good in ["127.0.0.1:8200", "[::1]:8200", "n1.example.com:1"] {
            assert!(check_address(good).is_ok(), "{good}");
        }
        for (bad, word) in [
            ("foo", "no port: give host:port, such as foo:8200"),
            ("foo:", "no port"),
            ("::1", "such as [::1]:8200"),
            ("[::1]", "no port"),
            ("https://foo:8200", "such as foo:8200"),
            ("foo:x", "not host:port"),
            ("foo:0", "not host:port"),
            (":8200", "not host:port"),
        ] {
            let error = check_address(bad).err().unwrap();
            assert!(error.to_string().contains(word), "{bad}: {error}");
            assert_eq!(crate::failure::exit_code(&error), 2);
        }
    }
}
