//! A TCP proxy that listens in, and can swallow what one side says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running proxy. Dropping it closes its port; connections go on until they end.
pub struct Proxy {
    address: String,
    heard: Arc<Heard>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Heard {
    bytes: Mutex<Vec<u8>>,
    swallows: AtomicBool,
}

impl Proxy {
    /// Takes connections at a free address on loopback and passes them on to the target.
    pub async fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Self::serve(listener, target)
    }

    /// As [`Self::start`], on a listener that was bound before: its address could be told to somebody.
    pub fn serve(listener: TcpListener, target: &str) -> Result<Self> {
        let address = listener.local_addr()?.to_string();
        let heard = Arc::new(Heard::default());
        let (target, hearing) = (target.to_owned(), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                // A target that is down refuses, as it would without the proxy.
                let Ok(far) = TcpStream::connect(&target).await else {
                    continue;
                };
                // Waiting for more bytes would change what is tested.
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(pass(near_read, far_write, Arc::clone(&hearing), false));
                tokio::spawn(pass(far_read, near_write, Arc::clone(&hearing), true));
            }
        });
        Ok(Self { address, heard, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on nothing that the target says is passed on.
    pub fn swallow_replies(&self) {
        self.heard.swallows.store(true, Ordering::SeqCst);
    }

    /// Everything that was said so far, in both directions.
    pub fn heard(&self) -> Result<Vec<u8>> {
        let heard = self.heard.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(heard.len() < HEARD_BYTES_MAX, "more was said than the proxy keeps");
        Ok(heard.clone())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, heard: Arc<Heard>, is_reply: bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        {
            let mut bytes = heard.bytes.lock().unwrap_or_else(PoisonError::into_inner);
            if bytes.len() < HEARD_BYTES_MAX {
                bytes.extend_from_slice(&buffer[..read]);
            }
        }
        let is_swallowed = is_reply && heard.swallows.load(Ordering::SeqCst);
        if !is_swallowed && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

const HEARD_BYTES_MAX: usize = 512 << 20;
