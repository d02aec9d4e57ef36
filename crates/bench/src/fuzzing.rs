//! What the fuzzer needs of parsers that nothing else outside this crate sees. Not for any other use: it changes with them.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use tokio::io::{AsyncRead, ReadBuf};

use crate::{http1, process};

/// Reads an answer by HTTP/1.1 that comes in pieces of so many bytes: its code, or the name of what is wrong.
///
/// # Panics
/// If it waits for more than there is.
pub fn http_answer(bytes: &[u8], piece: usize) -> Result<u16, String> {
    let pieces = Pieces {
        bytes: bytes.to_vec(),
        at: 0,
        piece: piece.max(1),
    };
    let stream = Box::new(tokio::io::join(pieces, tokio::io::sink()));
    let read = http1::read_answer(stream).now_or_never();
    let read = read.expect("all that will ever come is there");
    read.map_err(|fault| format!("{fault:?}"))
}

/// Reads what the kernel tells of a process.
#[must_use]
pub fn process_times(stat: &str) -> Option<(u64, u64)> {
    process::parse_stat(stat)
}

struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let rest = self.bytes.len() - self.at;
        let length = rest.min(self.piece).min(buffer.remaining());
        buffer.put_slice(&self.bytes[self.at..self.at + length]);
        self.at += length;
        Poll::Ready(Ok(()))
    }
}
