//! Random words that must be found nowhere, and the search for them in bytes, in files and in the memory of processes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Result, ensure};
use aumbry_types::{Entropy as _, SystemEntropy, hex};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// Words to look for.
#[derive(Default)]
pub struct Canaries {
    words: Vec<Word>,
}

struct Word {
    kind: &'static str,
    bytes: Vec<u8>,
}

/// Where a word was found, and as what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The file, or the mapping of the process.
    pub place: String,
    /// What the word was used for.
    pub kind: &'static str,
    /// How it was written.
    pub form: Form,
}

/// How a word is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As it is.
    Raw,
    /// In hexadecimal digits, of either case.
    Hex,
    /// In base64, standard or url-safe, after so many bytes of others' modulo three.
    Base64(usize),
}

impl Canaries {
    /// Makes a new word and remembers it. 16 random letters and digits, so that no two clusters share one.
    pub fn make(&mut self) -> String {
        self.make_for("a word")
    }

    /// Makes a new word that is used for this.
    pub fn make_for(&mut self, kind: &'static str) -> String {
        let mut bytes = [0; WORD_BYTES];
        SystemEntropy.fill(&mut bytes);
        let letters = b"abcdefghijklmnopqrstuvwxyz012345";
        let word: String = bytes.iter().map(|b| char::from(letters[usize::from(b % 32)])).collect();
        self.add_as(kind, word.as_bytes());
        word
    }

    /// Remembers a word that came from elsewhere.
    pub fn add(&mut self, word: &str) {
        self.add_bytes(word.as_bytes());
    }

    /// Remembers bytes that are no text, such as a key.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        self.add_as("a word", bytes);
    }

    /// Remembers bytes that are used for this.
    pub fn add_as(&mut self, kind: &'static str, bytes: &[u8]) {
        self.words.push(Word {
            kind,
            bytes: bytes.to_vec(),
        });
    }

    /// Whether one is in these bytes. First a planted one must be found, so that the search is known to work.
    pub fn are_in(&self, bytes: &[u8]) -> Result<bool> {
        let search = self.search()?;
        for (_, form) in search.one_of_each_form() {
            ensure!(
                !search.look_in("", &planted(form)).is_empty(),
                "the search does not find what is there"
            );
        }
        Ok(!search.look_in("", bytes).is_empty())
    }

    /// The search for all of them.
    pub(crate) fn search(&self) -> Result<Search> {
        ensure!(!self.words.is_empty(), "there is nothing to look for");
        let short = self.words.iter().find(|word| word.bytes.len() < WORD_BYTES);
        ensure!(short.is_none(), "a word is so short that it could be there by chance");
        Ok(Search::new(self.words.iter().flat_map(forms)))
    }
}

/// Every form in which a word could lie about: as it is, in hexadecimal digits, and in base64 of both alphabets at each of three offsets.
fn forms(word: &Word) -> Vec<(&'static str, Form, Vec<u8>)> {
    let bytes = &word.bytes;
    let digits = hex::encode(bytes);
    let mut forms = vec![
        (Form::Raw, bytes.clone()),
        (Form::Hex, digits.to_uppercase().into_bytes()),
        (Form::Hex, digits.into_bytes()),
    ];
    for offset in 0..3 {
        let padded = [&b"xx"[..offset], bytes].concat();
        let mut encoded = [STANDARD.encode(&padded), URL_SAFE.encode(&padded)].to_vec();
        encoded.dedup();
        // The first and last digits depend on the neighbours.
        let first = if offset == 0 { 0 } else { 4 };
        let inner = encoded
            .iter()
            .map(|text| text.as_bytes()[first..text.len() - 4].to_vec());
        forms.extend(inner.map(|inner| (Form::Base64(offset), inner)));
    }
    forms
        .into_iter()
        .map(|(form, bytes)| (word.kind, form, bytes))
        .collect()
}

/// A form among neighbours.
pub(crate) fn planted(form: &[u8]) -> Vec<u8> {
    [b"before", form, b"after"].concat()
}

/// Finds any of many forms in one pass.
pub(crate) struct Search {
    forms: Vec<(&'static str, Form, Vec<u8>)>,
    by_start: BTreeMap<[u8; START], Vec<usize>>,
    /// Which hashes beginnings of forms have: nearly every place is passed over by a look here.
    is_start: Vec<bool>,
}

impl Search {
    fn new(forms: impl Iterator<Item = (&'static str, Form, Vec<u8>)>) -> Self {
        let forms: Vec<_> = forms.collect();
        let mut by_start: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        let mut is_start = vec![false; HASHES];
        for (at, (_, _, form)) in forms.iter().enumerate() {
            if let Some(start) = form.first_chunk() {
                by_start.entry(*start).or_default().push(at);
                is_start[hash(*start)] = true;
            }
        }
        Self {
            forms,
            by_start,
            is_start,
        }
    }

    /// What is in these bytes, each kind in each form once.
    pub(crate) fn look_in(&self, place: &str, bytes: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        for at in 0..bytes.len().saturating_sub(START - 1) {
            let Some(start) = bytes[at..].first_chunk::<START>() else {
                break;
            };
            // Most of a memory or a log that was made ahead is nothing.
            if *start == [0; START] || !self.is_start[hash(*start)] {
                continue;
            }
            for form in self.by_start.get(start).into_iter().flatten() {
                let (kind, form, sought) = &self.forms[*form];
                if bytes[at..].starts_with(sought) {
                    found.push(Found {
                        place: place.to_owned(),
                        kind,
                        form: *form,
                    });
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// One word in each of the forms.
    pub(crate) fn one_of_each_form(&self) -> impl Iterator<Item = (Form, &[u8])> {
        let first = self.forms.iter().position(|(_, form, _)| *form == Form::Raw);
        let of_first = self.forms.iter().skip(first.unwrap_or(0)).take(FORMS_MAX);
        of_first.map(|(_, form, bytes)| (*form, &bytes[..]))
    }

    /// What is found across the border of two pieces must be in both.
    pub(crate) fn longest(&self) -> usize {
        self.forms.iter().map(|(_, _, form)| form.len()).max().unwrap_or(0)
    }
}

/// The files below a directory in which a canary is found. First one that is planted there, in each form, must be found, so that the search is
/// known to work.
pub fn search(directory: &Path, canaries: &Canaries, skip: impl Fn(&Path) -> bool) -> Result<Vec<Found>> {
    let search = canaries.search()?;
    let file = directory.join("planted");
    for (form, bytes) in search.one_of_each_form() {
        std::fs::write(&file, planted(bytes))?;
        let found = scan(&file, &search, &skip)?;
        ensure!(
            found.iter().any(|found| found.form == form),
            "the search does not find what is there in {form:?}"
        );
    }
    let place = file.to_string_lossy().into_owned();
    let found = scan(directory, &search, &skip)?;
    ensure!(
        found.iter().any(|found| found.place == place),
        "the search does not look into {place}"
    );
    std::fs::remove_file(&file)?;
    scan(directory, &search, &skip)
}

/// Plants a word in every directory below this one, in turn in each form, and looks whether the search finds them all. Gives the names of the
/// directories. What is planted is removed.
pub fn plant_everywhere(directory: &Path, canaries: &Canaries) -> Result<Vec<String>> {
    let search = canaries.search()?;
    let forms: Vec<_> = search.one_of_each_form().collect();
    let mut directories = vec![directory.to_owned()];
    let mut at = 0;
    while let Some(next) = directories.get(at) {
        let below = std::fs::read_dir(next)?.collect::<Result<Vec<_>, _>>()?;
        directories.extend(below.into_iter().map(|entry| entry.path()).filter(|path| path.is_dir()));
        at += 1;
    }
    let files: Vec<_> = directories.iter().map(|directory| directory.join("planted")).collect();
    for (file, (_, form)) in files.iter().zip(forms.iter().cycle()) {
        std::fs::write(file, planted(form))?;
    }
    let found = scan(directory, &search, &|_| false);
    for file in &files {
        std::fs::remove_file(file)?;
    }
    let found = found?;
    for (file, (form, _)) in files.iter().zip(forms.iter().cycle()) {
        let place = file.to_string_lossy();
        ensure!(
            found.iter().any(|found| found.place == place && found.form == *form),
            "what is planted in {place} as {form:?} is not found"
        );
    }
    let names = directories.iter().map(|path| path.to_string_lossy().into_owned());
    Ok(names.collect())
}

fn scan(path: &Path, search: &Search, skip: &impl Fn(&Path) -> bool) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut waiting = vec![path.to_owned()];
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
        // The name of a file can tell as well. A file that a running node removes meanwhile holds nothing any more.
        let place = path.to_string_lossy();
        found.extend(search.look_in(&place, place.as_bytes()));
        let Ok(bytes) = std::fs::read(&path) else { continue };
        found.extend(search.look_in(&place, &bytes));
    }
    Ok(found)
}

fn hash(start: [u8; START]) -> usize {
    let mixed = u32::from_le_bytes(start).wrapping_mul(0x9e37_79b1);
    (mixed >> (u32::BITS - HASH_BITS)) as usize
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} ({:?})", self.kind, self.place, self.form)
    }
}

/// Of five bits each: none is there by chance.
const WORD_BYTES: usize = 16;
/// How many forms a word has at most.
const FORMS_MAX: usize = 9;
const START: usize = 4;
const HASH_BITS: u32 = 20;
const HASHES: usize = 1 << HASH_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    /// Each form is found in each place of a larger whole, and what differs in one letter is not.
    #[test]
    fn every_form_is_found_wherever_it_is() {
        let mut canaries = Canaries::default();
        // Bytes whose base64 differs between the two alphabets.
        canaries.add_bytes(&[
            0xfb, 0xef, 0xbe, 0xff, 0xfe, 0xfb, 0xef, 0xbe, 1, 2, 3, 4, 0xfb, 0xef, 0xbe, 7,
        ]);
        let word = canaries.make();
        let search = canaries.search().unwrap();
        let around = |offset: usize| [&vec![b'-'; offset][..], word.as_bytes(), b"behind"].concat();
        for offset in 0..4 {
            let whole = around(offset);
            let digits = hex::encode(&whole);
            let written = [
                whole.clone(),
                digits.to_uppercase().into_bytes(),
                digits.into_bytes(),
                STANDARD.encode(&whole).into_bytes(),
                URL_SAFE.encode(&whole).into_bytes(),
            ];
            for text in written {
                assert!(
                    !search.look_in("", &text).is_empty(),
                    "{offset} {}",
                    text.escape_ascii()
                );
                let mut other = text;
                // In the middle of the word whatever the form.
                let middle = other.len() / 2;
                other[middle] = if other[middle] == b'9' { b'8' } else { b'9' };
                assert!(search.look_in("", &other).is_empty());
            }
        }
        let bytes = &canaries.words[0].bytes;
        for text in [STANDARD.encode(bytes), URL_SAFE.encode(bytes)] {
            assert!(!search.look_in("", text.as_bytes()).is_empty());
        }
        assert_eq!(search.one_of_each_form().count(), FORMS_MAX);
        assert!(search.look_in("", &[0; 4_096]).is_empty());
    }
}
