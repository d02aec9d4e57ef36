//! Words that must be found nowhere, in any form that a program might write them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The words that are looked for, as the byte patterns of all their forms.
pub(crate) struct Canaries {
    patterns: Vec<Pattern>,
    /// The patterns that begin with these two bytes: one pass over a file finds all.
    by_start: BTreeMap<[u8; 2], Vec<usize>>,
    /// Whether any pattern begins so; most bytes of a file are done with after this look.
    starts: Vec<bool>,
}

struct Pattern {
    what: String,
    bytes: Vec<u8>,
}

/// What a search saw.
pub(crate) struct Search {
    /// "what, in which form, in which file", one for each file.
    pub(crate) found: Vec<String>,
    /// How many files.
    pub(crate) files: usize,
    /// How many bytes.
    pub(crate) bytes: usize,
}

impl Canaries {
    /// The forms of these words, each given with what it is.
    pub(crate) fn new<'a>(words: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let patterns: Vec<Pattern> = words.into_iter().flat_map(|(what, word)| forms(what, word)).collect();
        let mut by_start: BTreeMap<[u8; 2], Vec<usize>> = BTreeMap::new();
        let mut starts = vec![false; 1 << 16];
        for (index, pattern) in patterns.iter().enumerate() {
            let start = [pattern.bytes[0], pattern.bytes[1]];
            by_start.entry(start).or_default().push(index);
            starts[usize::from(u16::from_be_bytes(start))] = true;
        }
        Self {
            patterns,
            by_start,
            starts,
        }
    }

    /// How many patterns are looked for.
    pub(crate) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Looks through every file below `dir`.
    pub(crate) fn search(&self, dir: &Path) -> Result<Search, String> {
        let mut search = Search {
            found: Vec::new(),
            files: 0,
            bytes: 0,
        };
        for file in files_below(dir)? {
            match fs::read(&file) {
                Ok(bytes) => {
                    search.files += 1;
                    search.bytes += bytes.len();
                    let found = self.find(&bytes);
                    search
                        .found
                        .extend(found.map(|what| format!("{what}, in {}", file.display())));
                }
                // A running node compacts: what is gone holds nothing.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(format!("cannot read {}: {e}", file.display())),
            }
        }
        Ok(search)
    }

    /// Proves that the search can fail: a file with every form among other bytes, of which all must be found.
    pub(crate) fn prove(&self, dir: &Path) -> Result<(), String> {
        let mut bytes = vec![0xA5; PLANTED_OFFSET];
        for pattern in &self.patterns {
            bytes.extend_from_slice(&pattern.bytes);
            bytes.push(0);
        }
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(dir.join("planted"), bytes))
            .map_err(|e| format!("cannot write {}: {e}", dir.display()))?;
        let found = self.search(dir)?.found.len();
        let _ = fs::remove_dir_all(dir);
        if found == self.patterns.len() {
            Ok(())
        } else {
            Err(format!(
                "the search is broken: it found {found} of {} planted patterns",
                self.patterns.len()
            ))
        }
    }

    /// What is in these bytes, each pattern once.
    fn find(&self, bytes: &[u8]) -> impl Iterator<Item = &str> {
        let mut seen = vec![false; self.patterns.len()];
        for (at, start) in bytes.windows(2).enumerate() {
            let start = [start[0], start[1]];
            if !self.starts[usize::from(u16::from_be_bytes(start))] {
                continue;
            }
            for &index in self.by_start.get(&start).into_iter().flatten() {
                seen[index] |= bytes[at..].starts_with(&self.patterns[index].bytes);
            }
        }
        self.patterns
            .iter()
            .zip(seen)
            .filter(|(_, seen)| *seen)
            .map(|(pattern, _)| pattern.what.as_str())
    }
}

/// The word as it is, in UTF-16, in hexadecimal, and in base64 at each of the three places that it can have in a group.
fn forms(what: &str, word: &str) -> Vec<Pattern> {
    let raw = word.as_bytes();
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        ("as it is", raw.to_vec()),
        ("as UTF-16", word.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("as hex", hex.clone().into_bytes()),
        ("as upper-case hex", hex.to_uppercase().into_bytes()),
    ];
    for offset in 0..3 {
        // Only the characters that the word alone decides: the neighbours' bits are in those at the ends.
        let mut bytes = vec![0; offset];
        bytes.extend_from_slice(raw);
        let characters = base64(&bytes);
        let first = (offset * 8).div_ceil(6);
        let last = bytes.len() * 8 / 6;
        let inner = characters[first..last].to_vec();
        let url: Vec<u8> = inner
            .iter()
            .map(|c| match c {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        if url != inner {
            forms.push(("as URL-safe base64", url));
        }
        forms.push(("as base64", inner));
    }
    forms
        .into_iter()
        .map(|(form, bytes)| Pattern {
            what: format!("{what} {form}"),
            bytes,
        })
        .collect()
}

/// Base64 without padding (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        out.extend((0..=group.len()).map(|i| ALPHABET[(bits >> (18 - 6 * i) & 63) as usize]));
    }
    out
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = dir
            .read_dir()
            .map_err(|e| format!("cannot read {}: {e}", dir.display()))?;
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(files)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// An odd place far from the start, so that a search which looks only at aligned places is caught.
const PLANTED_OFFSET: usize = 100_003;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text.as_bytes(), "{bytes}");
        }
    }

    #[test]
    fn every_form_is_found_among_any_neighbours() {
        let word = "Canary-7f3?>~";
        let canaries = Canaries::new([("the word", word)]);
        for (before, after) in [("", ""), ("x", "y"), ("xy", "z"), ("xyz", "abcd")] {
            let text = format!("{before}{word}{after}");
            let encoded = base64(text.as_bytes());
            let url: Vec<u8> = encoded
                .iter()
                .map(|c| match c {
                    b'+' => b'-',
                    b'/' => b'_',
                    c => *c,
                })
                .collect();
            let hex: String = text.bytes().map(|b| format!("{b:02X}")).collect();
            for form in [text.as_bytes(), &encoded, &url, hex.as_bytes()] {
                assert!(
                    canaries.find(form).next().is_some(),
                    "{}",
                    String::from_utf8_lossy(form)
                );
            }
        }
        assert!(canaries.find(b"Canary-7f3?>").next().is_none());
    }
}
