//! Files, read on the one thread that there is.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

/// An open file.
#[derive(Debug)]
pub struct File {
    file: std::fs::File,
    sought: io::Result<u64>,
}

impl File {
    /// The same file.
    #[must_use]
    pub const fn from_std(file: std::fs::File) -> Self {
        Self { file, sought: Ok(0) }
    }

    /// What is known of it.
    ///
    /// # Errors
    /// The disk's.
    #[expect(clippy::unused_async, reason = "tokio's waits")]
    pub async fn metadata(&self) -> io::Result<std::fs::Metadata> {
        self.file.metadata()
    }
}

impl AsyncRead for File {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.file.read(buffer.initialize_unfilled());
        Poll::Ready(read.map(|read| buffer.advance(read)))
    }
}

impl AsyncSeek for File {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        self.sought = self.file.seek(position);
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(std::mem::replace(&mut self.sought, Ok(0)))
    }
}
