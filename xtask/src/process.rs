//! Programs run to their end, with a deadline.

use std::fmt;
use std::io::{Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What a program said and how it ended.
pub(crate) struct Finished {
    /// The exit code, or none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output; bytes that are no UTF-8 are replaced.
    pub(crate) stdout: String,
    /// Standard error, likewise.
    pub(crate) stderr: String,
    /// How long it ran.
    pub(crate) took: Duration,
}

impl Finished {
    /// Whether it ended with exit code 0.
    pub(crate) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// All that it said, for a search.
    pub(crate) fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Its end in words: exit code and the last lines of standard error.
impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "exit code {code}")?,
            None => write!(f, "ended by a signal")?,
        }
        let lines: Vec<&str> = self.stderr.lines().collect();
        for line in &lines[lines.len().saturating_sub(LINES_SHOWN)..] {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// Runs it with this standard input and gives what it said. Longer than `deadline` is an error, and the program is killed.
pub(crate) fn capture(command: &mut Command, input: &str, deadline: Duration) -> Result<Finished, String> {
    let started = Instant::now();
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start {name}: {e}"))?;
    let stdout = Reader::start(child.stdout.take());
    let stderr = Reader::start(child.stderr.take());
    // A program that ends without reading its input closes the pipe; how it ended says more than that.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes());
    }
    let Some(status) = wait(&mut child, deadline)? else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{name} did not end within {deadline:?}"));
    };
    let took = started.elapsed();
    Ok(Finished {
        code: status.code(),
        stdout: stdout.finish(),
        stderr: stderr.finish(),
        took,
    })
}

/// Runs it on this terminal. An exit code other than 0 is an error that names `what`.
pub(crate) fn show(command: &mut Command, what: &str) -> Result<(), String> {
    let status = command
        .status()
        .map_err(|e| format!("cannot start {}: {e}", command.get_program().to_string_lossy()))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{what} failed ({status})"))
    }
}

/// Waits for its end, or gives none after the deadline.
pub(crate) fn wait(child: &mut Child, deadline: Duration) -> Result<Option<ExitStatus>, String> {
    let until = Instant::now() + deadline;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(Some(status)),
            Ok(None) if Instant::now() >= until => return Ok(None),
            Ok(None) => thread::sleep(POLL),
            Err(e) => return Err(format!("cannot wait for a program: {e}")),
        }
    }
}

/// What a program writes to one pipe, read on a thread of its own: much on one pipe does not block the other.
struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: thread::JoinHandle<()>,
}

impl Reader {
    fn start(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = [0; 1 << 16];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                lock(&shared).extend_from_slice(&buffer[..length]);
            }
        });
        Self { bytes, thread }
    }

    /// All that was written. A process that the program left behind may hold the pipe open for ever, so the wait is short.
    fn finish(self) -> String {
        let until = Instant::now() + LEFT_OPEN;
        while !self.thread.is_finished() && Instant::now() < until {
            thread::sleep(POLL);
        }
        String::from_utf8_lossy(&lock(&self.bytes)).into_owned()
    }
}

fn lock(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often an end is looked for: well below any time that is reported.
const POLL: Duration = Duration::from_millis(2);

/// What has been written is in the pipe when the program ends; this is time to read it.
const LEFT_OPEN: Duration = Duration::from_millis(500);

/// Enough to see why, without filling the screen.
const LINES_SHOWN: usize = 8;
