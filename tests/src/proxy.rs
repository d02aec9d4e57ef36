//! A TCP proxy that listens in and counts, and can swallow what one side says, or make the way long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A running proxy. Dropping it closes its port; connections go on until they end.
pub struct Proxy {
    address: String,
    heard: Arc<Heard>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Heard {
    bytes: Mutex<Vec<u8>>,
    count: AtomicU64,
    swallows: AtomicBool,
    /// How long one way takes.
    delay: Duration,
    /// Goes up when the connections of now are to break.
    breaks: watch::Sender<u64>,
}

impl Proxy {
    /// Takes connections at a free address on loopback and passes them on to the target.
    pub async fn start(target: &str) -> Result<Self> {
        Self::start_far(target, Duration::ZERO).await
    }

    /// As [`Self::start`], with a target that is far away: the way to it and back takes so long. What is under way is not bounded by it, as on a long
    /// line, and its order stays.
    pub async fn start_far(target: &str, round_trip: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Self::serve_far(listener, target, round_trip)
    }

    /// As [`Self::start`], on a listener that was bound before: its address could be told to somebody.
    pub fn serve(listener: TcpListener, target: &str) -> Result<Self> {
        Self::serve_far(listener, target, Duration::ZERO)
    }

    fn serve_far(listener: TcpListener, target: &str, round_trip: Duration) -> Result<Self> {
        let address = listener.local_addr()?.to_string();
        let heard = Arc::new(Heard {
            delay: round_trip / 2,
            ..Heard::default()
        });
        let (target, hearing) = (target.to_owned(), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connect(near, target.clone(), Arc::clone(&hearing)));
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

    /// Breaks all connections of now. New ones are taken.
    pub fn break_connections(&self) {
        self.heard.breaks.send_modify(|breaks| *breaks += 1);
    }

    /// Everything that was said so far, in both directions.
    pub fn heard(&self) -> Result<Vec<u8>> {
        let heard = self.heard.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(heard.len() < HEARD_BYTES_MAX, "more was said than the proxy keeps");
        Ok(heard.clone())
    }

    /// How many bytes were said so far, in both directions.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.heard.count.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(near: TcpStream, target: String, heard: Arc<Heard>) {
    // The other side's answer to the connection takes its time, too.
    tokio::time::sleep(2 * heard.delay).await;
    // A target that is down ends the connection.
    let Ok(far) = TcpStream::connect(&target).await else {
        return;
    };
    // Waiting for more bytes would change what is tested.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::spawn(pass(near_read, far_write, Arc::clone(&heard), false));
    tokio::spawn(pass(far_read, near_write, heard, true));
}

async fn pass(mut from: OwnedReadHalf, to: OwnedWriteHalf, heard: Arc<Heard>, is_reply: bool) {
    let (sender, under_way) = mpsc::channel(PIECES_UNDER_WAY);
    let arriving = tokio::spawn(arrive(under_way, to));
    let mut buffer = vec![0; 64 << 10];
    let mut breaks = heard.breaks.subscribe();
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = breaks.changed() => break,
        };
        let Ok(read @ 1..) = read else { break };
        {
            let mut bytes = heard.bytes.lock().unwrap_or_else(PoisonError::into_inner);
            if bytes.len() < HEARD_BYTES_MAX {
                bytes.extend_from_slice(&buffer[..read]);
            }
        }
        heard.count.fetch_add(read as u64, Ordering::SeqCst);
        let is_swallowed = is_reply && heard.swallows.load(Ordering::SeqCst);
        let piece = (Instant::now() + heard.delay, buffer[..read].to_vec());
        if !is_swallowed && sender.send(piece).await.is_err() {
            return;
        }
    }
    // What is under way still arrives; then this direction is closed.
    drop(sender);
    let _ = arriving.await;
}

/// Hands on each piece when its time has come.
async fn arrive(mut under_way: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: OwnedWriteHalf) {
    while let Some((at, piece)) = under_way.recv().await {
        tokio::time::sleep_until(at).await;
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

const HEARD_BYTES_MAX: usize = 512 << 20;
/// Of 64 KiB at most. Who sends faster waits, as for a window.
const PIECES_UNDER_WAY: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_way_delays_and_does_not_hold_up() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let round_trip = Duration::from_millis(60);
        let proxy = Proxy::start_far(&listener.local_addr()?.to_string(), round_trip).await?;
        let echo = tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            let (mut read, mut write) = stream.into_split();
            tokio::io::copy(&mut read, &mut write).await
        });
        let mut stream = TcpStream::connect(proxy.address()).await?;
        let begun = Instant::now();
        for n in 0..PIECES {
            stream.write_all(&[n; 3]).await?;
            tokio::task::yield_now().await;
        }
        let mut back = vec![0; 3 * usize::from(PIECES)];
        stream.read_exact(&mut back).await?;
        let took = begun.elapsed();
        assert!(took >= 2 * round_trip, "{took:?}, with the connection");
        assert!(
            back.chunks(3).zip(0..).all(|(piece, n)| piece == [n; 3]),
            "the order is another"
        );
        assert_eq!(proxy.count(), 2 * 3 * u64::from(PIECES));
        drop(stream);
        echo.await??;
        Ok(())
    }

    const PIECES: u8 = 100;
}
