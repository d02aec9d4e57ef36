//! Random words that must be found nowhere.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use aumbry_types::{Entropy as _, SystemEntropy};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Words to look for.
#[derive(Default)]
pub struct Canaries {
    words: Vec<Vec<u8>>,
}

impl Canaries {
    /// Makes a new word and remembers it. 16 random letters and digits, so that no two clusters share one.
    pub fn make(&mut self) -> String {
        let mut bytes = [0; 16];
        SystemEntropy.fill(&mut bytes);
        let letters = b"abcdefghijklmnopqrstuvwxyz012345";
        let word: String = bytes.iter().map(|b| char::from(letters[usize::from(b % 32)])).collect();
        self.add(&word);
        word
    }

    /// Remembers a word that came from elsewhere.
    pub fn add(&mut self, word: &str) {
        self.add_bytes(word.as_bytes());
    }

    /// Remembers bytes that are no text, such as a key.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        self.words.push(bytes.to_vec());
    }

    /// Whether one is in these bytes. First a planted one must be found, so that the search is known to work.
    pub fn are_in(&self, bytes: &[u8]) -> Result<bool> {
        let forms = self.forms();
        for form in forms.iter().take(4) {
            let planted = [b"before", &form[..], b"after"].concat();
            ensure!(contains_any(&planted, &forms), "the search does not find what is there");
        }
        Ok(contains_any(bytes, &forms))
    }

    /// Every form in which a word could lie about: as it is, in hexadecimal digits, and in base64 at each of three offsets.
    fn forms(&self) -> Vec<Vec<u8>> {
        let mut forms = Vec::new();
        for bytes in &self.words {
            forms.push(bytes.to_vec());
            forms.push(bytes.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect());
            forms.push(bytes.iter().flat_map(|b| format!("{b:02X}").into_bytes()).collect());
            for offset in 0..3 {
                let padded = [&b"xx"[..offset], bytes].concat();
                let encoded = STANDARD.encode(padded);
                // The first and last digits depend on the neighbours.
                let inner = &encoded.as_bytes()[if offset == 0 { 0 } else { 4 }..encoded.len() - 4];
                forms.push(inner.to_vec());
            }
        }
        forms
    }
}

/// The files below a directory in which a canary is found. First a planted one must be found, so that the search is known to work.
pub fn search(directory: &Path, canaries: &Canaries, skip: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let forms = canaries.forms();
    ensure!(!forms.is_empty(), "there is nothing to look for");
    let planted = directory.join("planted");
    for form in [&forms[0], &forms[1], &forms[3]] {
        std::fs::write(&planted, [b"before", &form[..], b"after"].concat())?;
        ensure!(
            scan(directory, &forms, &skip)?.contains(&planted),
            "the search does not find what is there"
        );
    }
    std::fs::remove_file(&planted)?;
    scan(directory, &forms, &skip)
}

fn scan(directory: &Path, forms: &[Vec<u8>], skip: &impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        if skip(&path) {
            continue;
        }
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
            continue;
        }
        // A file that a running node removes meanwhile holds nothing any more.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        if contains_any(&bytes, forms) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Looks at each position for forms that begin with the four bytes there.
fn contains_any(bytes: &[u8], forms: &[Vec<u8>]) -> bool {
    let mut by_start: std::collections::BTreeMap<[u8; 4], Vec<&[u8]>> = std::collections::BTreeMap::new();
    for form in forms {
        if let Some(start) = form.first_chunk::<4>() {
            by_start.entry(*start).or_default().push(form);
        }
    }
    let mut is_start = vec![false; 1 << 16];
    for start in by_start.keys() {
        is_start[usize::from(u16::from_be_bytes([start[0], start[1]]))] = true;
    }
    (0..bytes.len().saturating_sub(3)).any(|at| {
        if !is_start[usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))] {
            return false;
        }
        let start = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        by_start
            .get(&start)
            .is_some_and(|forms| forms.iter().any(|form| bytes[at..].starts_with(form)))
    })
}
