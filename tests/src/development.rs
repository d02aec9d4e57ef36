//! A development server: one process that keeps everything in memory and speaks plain HTTP.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{Answered, binary, free_address, send_on};

/// A development server. Dropped, it ends.
pub struct Development {
    process: Child,
    address: String,
}

impl Development {
    /// Starts one with this root token.
    pub fn start(root_token: &str) -> Result<Self> {
        let address = free_address()?;
        let arguments = [
            "server",
            "--dev",
            "--dev-root-token-id",
            root_token,
            "--dev-listen-address",
            &address,
        ];
        let mut process = Command::new(binary())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = process.stdout.take().context("it speaks")?;
        let mut lines = BufReader::new(stdout).lines();
        let is_ready = lines.any(|line| line.is_ok_and(|line| line.starts_with("Root Token:")));
        let server = Self { process, address };
        ensure!(is_ready, "the development server did not start");
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks with a token; the path is that below `/v1/`.
    pub async fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Result<Answered> {
        let stream = TcpStream::connect(&self.address).await?;
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        send_on(
            stream,
            method,
            &format!("/v1/{path}"),
            &[("X-Vault-Token", token)],
            &body,
        )
        .await
    }
}

impl Drop for Development {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
