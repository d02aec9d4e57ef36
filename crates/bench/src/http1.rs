//! HTTP/1.1 with one request at a time: what a Vault-compatible server is asked by. Answers are read to their end and not looked into.

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;

use crate::Error;
use crate::fault::Fault;
use crate::stream::{Dial, Stream};

/// One connection, made anew when it broke.
pub(crate) struct HttpConnection {
    dial: Dial,
    open: Mutex<Option<Open>>,
}

struct Open {
    stream: Stream,
    read: BytesMut,
}

impl HttpConnection {
    /// Connects.
    pub(crate) async fn open(dial: Dial) -> Result<Self, Error> {
        let open = Open::connect(&dial).await?;
        Ok(Self {
            dial,
            open: Mutex::new(Some(open)),
        })
    }

    /// Sends a request, head and body, and waits until the answer is read.
    pub(crate) async fn call(&self, request: Bytes) -> Result<(), Fault> {
        let mut slot = self.open.lock().await;
        // Taken out while it is in use: if this is given up in the middle, the rest of the answer must not be read as the next one.
        let mut open = match slot.take() {
            Some(open) => open,
            None => Open::connect(&self.dial).await.map_err(|_| Fault::CONNECT)?,
        };
        let (code, after) = open.exchange(&request).await?;
        if matches!(after, After::Keep) {
            *slot = Some(open);
        }
        match code {
            200..=299 => Ok(()),
            code => Err(Fault::refused(format!("HTTP_{code}"))),
        }
    }
}

/// Reads one answer that a stream holds.
pub(crate) async fn read_answer(stream: Stream) -> Result<u16, Fault> {
    let read = BytesMut::new();
    let (code, _) = Open { stream, read }.exchange(b"").await?;
    Ok(code)
}

/// What becomes of a connection after an answer.
enum After {
    Keep,
    Close,
}

/// How long a body is.
enum Length {
    Known(usize),
    Chunked,
}

impl Open {
    async fn connect(dial: &Dial) -> Result<Self, Error> {
        Ok(Self {
            stream: dial.connect().await?,
            read: BytesMut::with_capacity(READ_BYTES),
        })
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<(u16, After), Fault> {
        let sent = async {
            self.stream.write_all(request).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|_| Fault::BROKEN)?;
        let (code, length, after) = loop {
            if let Some(head) = self.head()? {
                break head;
            }
            self.more().await?;
        };
        match length {
            Length::Known(length) => self.skip(length).await?,
            Length::Chunked => while self.chunk().await? > 0 {},
        }
        Ok((code, after))
    }

    /// The head, if it is complete; then it is taken off.
    fn head(&mut self) -> Result<Option<(u16, Length, After)>, Fault> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&self.read).map_err(|_| Fault::MALFORMED)?;
        let httparse::Status::Complete(size) = parsed else {
            return if self.read.len() > HEAD_BYTES_MAX {
                Err(Fault::MALFORMED)
            } else {
                Ok(None)
            };
        };
        let code = response.code.ok_or(Fault::MALFORMED)?;
        let header = |name: &str| {
            let found = response
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| header.value.trim_ascii())
        };
        let length = match (header("content-length"), header("transfer-encoding")) {
            (_, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Length::Chunked,
            (Some(digits), _) => Length::Known(number(digits, 10).ok_or(Fault::MALFORMED)?),
            (None, _) if code == 204 => Length::Known(0),
            (None, _) => return Err(Fault::MALFORMED),
        };
        let is_closed = header("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        let after = if is_closed { After::Close } else { After::Keep };
        self.read.advance(size);
        Ok(Some((code, length, after)))
    }

    /// Takes off a chunk, with the line ends around it; gives its size.
    async fn chunk(&mut self) -> Result<usize, Fault> {
        let (line, size) = loop {
            if let Some(line) = self.read.windows(2).position(|pair| pair == b"\r\n") {
                let digits = self.read[..line].split(|b| *b == b';').next().unwrap_or_default();
                break (line, number(digits.trim_ascii(), 16).ok_or(Fault::MALFORMED)?);
            }
            if self.read.len() > HEAD_BYTES_MAX {
                return Err(Fault::MALFORMED);
            }
            self.more().await?;
        };
        // No server that is measured sends trailers, so after the last chunk comes an empty line as after any other.
        let whole = size.checked_add(line + 2 + 2).ok_or(Fault::MALFORMED)?;
        self.skip(whole).await?;
        Ok(size)
    }

    async fn skip(&mut self, mut length: usize) -> Result<(), Fault> {
        while length > self.read.len() {
            length -= self.read.len();
            self.read.clear();
            self.more().await?;
        }
        self.read.advance(length);
        Ok(())
    }

    async fn more(&mut self) -> Result<(), Fault> {
        self.read.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.read).await {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(Fault::BROKEN),
        }
    }
}

fn number(digits: &[u8], radix: u32) -> Option<usize> {
    usize::from_str_radix(core::str::from_utf8(digits).ok()?, radix).ok()
}

/// Most answers come in one read.
const READ_BYTES: usize = 8 << 10;
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads answers that come in pieces of so many bytes.
    async fn read(answers: &str, count: usize, piece: usize) -> Vec<Result<u16, Fault>> {
        let (near, mut far) = tokio::io::duplex(piece);
        let text = answers.to_owned();
        let writing = tokio::spawn(async move { far.write_all(text.as_bytes()).await });
        let mut open = Open {
            stream: Box::new(near),
            read: BytesMut::new(),
        };
        let mut codes = Vec::new();
        for _ in 0..count {
            codes.push(open.exchange(b"").await.map(|(code, _)| code));
        }
        writing.await.unwrap().unwrap();
        codes
    }

    #[tokio::test]
    async fn answers_are_read_to_their_end_however_they_are_cut() {
        let plain = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let chunked =
            "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n";
        let empty = "HTTP/1.1 204 None\r\n\r\n";
        let all = format!("{plain}{chunked}{empty}{plain}");
        for piece in [1, 2, 7, 4_096] {
            assert_eq!(
                read(&all, 4, piece).await,
                [Ok(200), Ok(403), Ok(204), Ok(200)],
                "{piece}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_told() {
        assert_eq!(read("HTTP/1.1 200 OK\r\n\r\n", 1, 64).await, [Err(Fault::MALFORMED)]);
        assert_eq!(read("SSH-2.0-x\r\n\r\n", 1, 64).await, [Err(Fault::MALFORMED)]);
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
        assert_eq!(read(cut, 1, 64).await, [Err(Fault::BROKEN)]);
    }
}
