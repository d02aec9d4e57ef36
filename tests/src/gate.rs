//! A TCP proxy that closes: it lets so many bytes of one connection through, then cuts that connection and takes no new ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running gate, open at first. Dropping it closes its port; connections go on until they end.
pub struct Gate {
    address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    is_open: AtomicBool,
    /// What one connection may pass to the target.
    limit: AtomicU64,
    /// What all have passed to the target.
    passed: AtomicU64,
    /// The most that one has.
    longest: AtomicU64,
    cuts: AtomicU64,
}

impl Gate {
    /// Takes connections on a listener whose address was told to somebody, and passes them on to the target.
    pub fn serve(listener: TcpListener, target: &str) -> Result<Self> {
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            is_open: AtomicBool::new(true),
            limit: AtomicU64::new(u64::MAX),
            passed: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
        });
        let (target, passing) = (target.to_owned(), Arc::clone(&shared));
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if passing.is_open.load(Ordering::SeqCst) {
                    tokio::spawn(connect(near, target.clone(), Arc::clone(&passing)));
                }
            }
        });
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens it for connections, each of at most so many bytes from now on.
    pub fn open(&self, limit: u64) {
        self.shared.limit.store(limit, Ordering::SeqCst);
        self.shared.is_open.store(true, Ordering::SeqCst);
    }

    /// Whether a connection was cut since it was opened.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.shared.is_open.load(Ordering::SeqCst)
    }

    /// How many bytes have passed to the target, in all.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }

    /// How many bytes have passed to the target on the connection with the most.
    #[must_use]
    pub fn longest(&self) -> u64 {
        self.shared.longest.load(Ordering::SeqCst)
    }

    /// How many connections were cut.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(near: TcpStream, target: String, shared: Arc<Shared>) {
    // A target that is down refuses, as it would without the gate.
    let Ok(far) = TcpStream::connect(&target).await else {
        return;
    };
    // Waiting for more bytes would change what is tested.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    // Whichever ends first ends both.
    tokio::select! {
        () = pass(&mut near_read, &mut far_write, Some(&shared)) => {}
        () = pass(&mut far_read, &mut near_write, None) => return,
    }
    drop((near_read, near_write));
    // What has passed arrives: if its socket were dropped now, the kernel would throw away what the target has not read yet.
    let mut buffer = vec![0; 64 << 10];
    let draining = async {
        let _ = far_write.shutdown().await;
        while let Ok(1..) = far_read.read(&mut buffer).await {}
    };
    let _ = tokio::time::timeout(DRAIN, draining).await;
}

async fn pass(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, counted: Option<&Shared>) {
    let mut buffer = vec![0; 64 << 10];
    let mut own = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        let Some(shared) = counted else { continue };
        own += read as u64;
        shared.passed.fetch_add(read as u64, Ordering::SeqCst);
        shared.longest.fetch_max(own, Ordering::SeqCst);
        if own >= shared.limit.load(Ordering::SeqCst) {
            shared.cuts.fetch_add(1, Ordering::SeqCst);
            shared.is_open.store(false, Ordering::SeqCst);
            return;
        }
    }
}

/// A target that does not close its side by then has died or hangs.
const DRAIN: Duration = Duration::from_secs(10);
