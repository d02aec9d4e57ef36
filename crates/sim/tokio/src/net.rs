//! Connections over the simulated network.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aumbry_sim_world::{HostId, net};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a connection.
#[derive(Debug)]
pub struct TcpStream {
    conn: u64,
    side: usize,
}

impl TcpStream {
    /// Connects to an address, which is `node-<id>`.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionRefused`] if nobody listens there.
    pub async fn connect(address: &str) -> io::Result<Self> {
        let host: Option<HostId> = address.strip_prefix(HOST).and_then(|id| id.parse().ok());
        let host = host.ok_or(io::ErrorKind::AddrNotAvailable)?;
        // It is given up if nobody waits for it any more.
        let stream = Self {
            conn: net::connect(host),
            side: 0,
        };
        poll_fn(|context| net::poll_connected(stream.conn, context)).await?;
        Ok(stream)
    }

    /// Every write is sent at once as it is.
    ///
    /// # Errors
    /// Never.
    pub const fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        net::close(self.conn, self.side);
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let bytes = ready!(net::poll_read(self.conn, self.side, buffer.remaining(), context))?;
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        net::poll_write(self.conn, self.side, bytes, context)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        net::finish(self.conn, self.side);
        Poll::Ready(Ok(()))
    }
}

/// The listener of a host.
#[derive(Debug)]
pub struct TcpListener {
    host: HostId,
}

impl TcpListener {
    /// Listens, as this host.
    #[must_use]
    pub fn of(host: HostId) -> Self {
        net::listen(host);
        Self { host }
    }

    /// The next connection.
    pub async fn accept(&self) -> TcpStream {
        let conn = poll_fn(|context| net::poll_accept(self.host, context)).await;
        TcpStream { conn, side: 1 }
    }
}

/// The address of a host.
#[must_use]
pub fn address_of(host: HostId) -> String {
    format!("{HOST}{host}")
}

const HOST: &str = "node-";
