//! A disk that a test makes full or lets hang: a file system of one directory, served by this process through FUSE.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};

/// A mounted disk. It is gone with the mount namespace of the test, see [`in_mount_namespace`](crate::in_mount_namespace).
pub struct Disk {
    shared: Arc<Shared>,
}

struct Shared {
    device: File,
    state: Mutex<State>,
}

struct State {
    /// Node, name and content; a removed file has no name. Numbers are not used again.
    files: BTreeMap<u64, Node>,
    next_node: u64,
    room: usize,
    hangs: bool,
    /// Requests that wait for the disk to go on.
    waiting: Vec<Vec<u8>>,
    refused: u64,
}

struct Node {
    name: Option<String>,
    mode: u32,
    bytes: Vec<u8>,
}

impl Disk {
    /// Mounts an empty disk with so many bytes on a directory.
    pub fn mount(directory: &Path, room: usize) -> Result<Self> {
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device = device.context("/dev/fuse: this test needs a kernel with FUSE")?;
        let mount = Command::new("mount")
            .args([
                "-i",
                "-t",
                "fuse",
                "-o",
                "fd=0,rootmode=40000,user_id=0,group_id=0",
                "disk",
            ])
            .arg(directory)
            .stdin(Stdio::from(device.try_clone()?))
            .output()
            .context("mount (Debian: mount)")?;
        ensure!(mount.status.success(), "{}", String::from_utf8_lossy(&mount.stderr));
        let shared = Arc::new(Shared {
            device,
            state: Mutex::new(State {
                files: BTreeMap::new(),
                next_node: ROOT + 1,
                room,
                hangs: false,
                waiting: Vec::new(),
                refused: 0,
            }),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || serving.serve());
        Ok(Self { shared })
    }

    /// Gives the disk so many bytes in all.
    pub fn resize(&self, room: usize) {
        self.shared.state().room = room;
    }

    /// From now on no write and no sync comes to an end.
    pub fn hang(&self) {
        self.shared.state().hangs = true;
    }

    /// Ends [`Self::hang`]: what waited is done now.
    pub fn go_on(&self) {
        let mut state = self.shared.state();
        state.hangs = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for request in waiting {
            self.shared.answer(&request);
        }
    }

    /// How many requests wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.state().waiting.len()
    }

    /// How many writes found no room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.state().refused
    }

    /// The content of a file, if there is one of this name.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.shared.state();
        let node = state.find(name)?;
        Some(state.files.get(&node)?.bytes.clone())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut buffer = vec![0; REQUEST_BYTES_MAX];
        while let Ok(read @ 1..) = (&self.device).read(&mut buffer) {
            let request = &buffer[..read];
            let mut state = self.state();
            if state.hangs && matches!(number(request, 4, 4), WRITE | FSYNC) {
                state.waiting.push(request.to_vec());
                continue;
            }
            drop(state);
            self.answer(request);
        }
    }

    fn answer(&self, request: &[u8]) {
        let (operation, unique) = (number(request, 4, 4), number(request, 8, 8));
        if matches!(operation, FORGET | BATCH_FORGET | INTERRUPT) {
            return;
        }
        let node = number(request, 16, 8);
        let (error, body) = match self.state().serve(operation, node, &request[HEADER_BYTES..]) {
            Ok(body) => (0, body),
            Err(error) => (-error, Vec::new()),
        };
        let length = u32::try_from(16 + body.len()).unwrap_or_default();
        let mut reply = length.to_le_bytes().to_vec();
        reply.extend(error.to_le_bytes());
        reply.extend(unique.to_le_bytes());
        reply.extend(body);
        // Who asked may have been killed.
        let _ = (&self.device).write_all(&reply);
    }
}

impl State {
    /// The answer to one request, or the number of an error.
    fn serve(&mut self, operation: u64, node: u64, body: &[u8]) -> Result<Vec<u8>, i32> {
        match operation {
            INIT => Ok(words(&[7, 31, 0, 0, 0, WRITE_BYTES_MAX, 1])
                .into_iter()
                .chain([0; 36])
                .collect()),
            LOOKUP => {
                let node = self.find(&name(body)).ok_or(ENOENT)?;
                self.entry(node)
            }
            GETATTR => self.attributes(node),
            SETATTR => {
                let (valid, size, mode) = (number(body, 0, 4), number(body, 16, 8), number(body, 68, 4));
                if let Some(file) = self.files.get_mut(&node) {
                    if valid & SET_SIZE != 0 {
                        file.bytes.resize(size as usize, 0);
                    }
                    if valid & SET_MODE != 0 {
                        file.mode = mode as u32 & 0o7777;
                    }
                }
                self.attributes(node)
            }
            CREATE => {
                let made = self.next_node;
                self.next_node += 1;
                let file = Node {
                    name: Some(name(&body[16..])),
                    mode: number(body, 4, 4) as u32 & 0o7777,
                    bytes: Vec::new(),
                };
                self.files.insert(made, file);
                Ok([self.entry(made)?, opened()].concat())
            }
            OPEN | OPENDIR => Ok(opened()),
            READ => {
                let bytes = &self.files.get(&node).ok_or(ENOENT)?.bytes;
                let from = bytes.len().min(number(body, 8, 8) as usize);
                let to = bytes.len().min(from + number(body, 16, 4) as usize);
                Ok(bytes[from..to].to_vec())
            }
            WRITE => self.write(node, number(body, 8, 8) as usize, &body[40..]),
            READDIR => Ok(self.list(number(body, 8, 8) as usize)),
            RENAME => Ok(self.rename(&body[8..])),
            RENAME2 => Ok(self.rename(&body[16..])),
            UNLINK => {
                let node = self.find(&name(body)).ok_or(ENOENT)?;
                self.files.remove(&node);
                Ok(Vec::new())
            }
            STATFS => Ok(vec![0; 80]),
            FSYNC | FSYNCDIR | FLUSH | RELEASE | RELEASEDIR => Ok(Vec::new()),
            _ => Err(ENOSYS),
        }
    }

    /// As a disk does that fills up: what has room is written, and the next write fails.
    fn write(&mut self, node: u64, offset: usize, data: &[u8]) -> Result<Vec<u8>, i32> {
        let used: usize = self.files.values().map(|file| file.bytes.len()).sum();
        let fits = data.len().min(self.room.saturating_sub(used));
        if fits == 0 && !data.is_empty() {
            self.refused += 1;
            return Err(ENOSPC);
        }
        let bytes = &mut self.files.get_mut(&node).ok_or(ENOENT)?.bytes;
        if bytes.len() < offset + fits {
            bytes.resize(offset + fits, 0);
        }
        bytes[offset..offset + fits].copy_from_slice(&data[..fits]);
        Ok(words(&[fits as u32, 0]))
    }

    fn rename(&mut self, names: &[u8]) -> Vec<u8> {
        let (from, to) = (name(names), name(&names[name(names).len() + 1..]));
        if let Some(replaced) = self.find(&to) {
            self.files.remove(&replaced);
        }
        if let Some(node) = self.find(&from).and_then(|node| self.files.get_mut(&node)) {
            node.name = Some(to);
        }
        Vec::new()
    }

    fn find(&self, name: &str) -> Option<u64> {
        let is_it = |(_, file): &(&u64, &Node)| file.name.as_deref() == Some(name);
        self.files.iter().find(is_it).map(|(node, _)| *node)
    }

    fn list(&self, from: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for (position, (node, file)) in self.files.iter().enumerate().skip(from) {
            let Some(name) = &file.name else { continue };
            out.extend(node.to_le_bytes());
            out.extend((position as u64 + 1).to_le_bytes());
            out.extend(words(&[name.len() as u32, 8]));
            out.extend(name.as_bytes());
            out.resize(out.len().next_multiple_of(8), 0);
        }
        out
    }

    fn entry(&self, node: u64) -> Result<Vec<u8>, i32> {
        // Node, generation, and for how long both are valid: not at all.
        let head = [node.to_le_bytes(), [0; 8], [0; 8], [0; 8], [0; 8]].concat();
        Ok([head, self.raw_attributes(node)?].concat())
    }

    fn attributes(&self, node: u64) -> Result<Vec<u8>, i32> {
        Ok([vec![0; 16], self.raw_attributes(node)?].concat())
    }

    fn raw_attributes(&self, node: u64) -> Result<Vec<u8>, i32> {
        let (mode, size) = match self.files.get(&node) {
            _ if node == ROOT => (0o040_755, 0),
            Some(file) => (0o100_000 | file.mode, file.bytes.len() as u64),
            None => return Err(ENOENT),
        };
        let mut out = [node, size, size.div_ceil(512), 0, 0, 0].map(u64::to_le_bytes).concat();
        out.extend(words(&[0, 0, 0, mode, 1, 0, 0, 0, 4_096, 0]));
        Ok(out)
    }
}

/// A handle that is none, and no cache in between.
fn opened() -> Vec<u8> {
    [vec![0; 8], words(&[DIRECT_IO, 0])].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let bytes = bytes.get(at..at + width).unwrap_or_default();
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

const ROOT: u64 = 1;
const HEADER_BYTES: usize = 40;
const WRITE_BYTES_MAX: u32 = 128 << 10;
/// A write with its head.
const REQUEST_BYTES_MAX: usize = 1 << 20;
const DIRECT_IO: u32 = 1;
const SET_MODE: u64 = 1;
const SET_SIZE: u64 = 8;
const ENOENT: i32 = 2;
const ENOSPC: i32 = 28;
const ENOSYS: i32 = 38;
// The operations, as linux/fuse.h numbers them.
const LOOKUP: u64 = 1;
const FORGET: u64 = 2;
const GETATTR: u64 = 3;
const SETATTR: u64 = 4;
const UNLINK: u64 = 10;
const RENAME: u64 = 12;
const OPEN: u64 = 14;
const READ: u64 = 15;
const WRITE: u64 = 16;
const STATFS: u64 = 17;
const RELEASE: u64 = 18;
const FSYNC: u64 = 20;
const FLUSH: u64 = 25;
const INIT: u64 = 26;
const OPENDIR: u64 = 27;
const READDIR: u64 = 28;
const RELEASEDIR: u64 = 29;
const FSYNCDIR: u64 = 30;
const CREATE: u64 = 35;
const INTERRUPT: u64 = 36;
const BATCH_FORGET: u64 = 42;
const RENAME2: u64 = 45;
