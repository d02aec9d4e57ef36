//! `aumbry server --dev`: one node in memory that speaks plain HTTP on loopback, unsealed, with a root token of the caller's choice: what tests of clients
//! start and throw away.

use std::net::SocketAddr;

use anyhow::{Context as _, anyhow, ensure};

use super::layout::{Home, Layout, NodePlace};
use super::setup::{self, Secrets};
use crate::failure;
use crate::output::raw;

/// Runs the node until it is told to stop.
///
/// # Errors
/// What keeps it from starting.
pub(crate) fn run(http: SocketAddr, root_token: Option<String>) -> anyhow::Result<()> {
    ensure!(
        http.ip().is_loopback(),
        "a development server listens on loopback only; use 127.0.0.1 or [::1], or a production configuration"
    );
    let home = Home::in_memory()?;
    let layout = Layout::make_plain(home.path(), http)?;
    let node = layout.nodes.first().context("there is no node")?.clone();
    let config = node.config.clone();
    let ca_pem = layout.ca_pem;
    let setting_up = std::thread::Builder::new()
        .name("dev-setup".to_owned())
        .spawn(move || set_up(&node, &ca_pem, http, root_token))
        .context("cannot start a thread")?;
    let ran = aumbry_server::run(&config).map_err(failure::of_server);
    // Where the node ended first, its own error is the one to tell.
    if setting_up.is_finished() {
        let set_up = setting_up.join().map_err(|_| anyhow!("setting up failed"))?;
        return ran.and(set_up);
    }
    ran
}

fn set_up(node: &NodePlace, ca_pem: &str, http: SocketAddr, root_token: Option<String>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let made = runtime.block_on(setup::set_up(std::slice::from_ref(node), ca_pem, root_token));
    match made {
        Ok(secrets) => raw(banner(http, &secrets).as_bytes()),
        Err(error) => {
            // Nobody waits for the thread while the node runs: it is told to end.
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::TERM)?;
            Err(error.context("the development server cannot be set up"))
        }
    }
}

fn banner(http: SocketAddr, secrets: &Secrets) -> String {
    format!(
        "WARNING: this is a development server. It keeps everything in memory, speaks HTTP without TLS, is unsealed,\n\
         and prints its root token. Never use it in production.\n\n\
         export VAULT_ADDR='http://{http}'\n\
         export VAULT_TOKEN={}\n\n\
         Unseal Key: {}\n\
         Root Token: {}\n",
        secrets.root_token,
        secrets.shares.first().map_or("", String::as_str),
        secrets.root_token,
    )
}
