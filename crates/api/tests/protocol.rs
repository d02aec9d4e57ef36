//! What is promised of `proto/`: names in one style, and that no client of today is broken by a message of tomorrow. What was there before stands in
//! `proto/baseline.txt`, one line for each thing: lines are only ever added, and the numbers and names of fields that go are reserved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Ranges of numbers, and names, that a message takes no more.
type Reserved = (Vec<(i32, i32)>, BTreeSet<String>);

/// What is promised, and what is wrong.
#[derive(Default)]
struct Found {
    lines: BTreeSet<String>,
    /// Numbers and names of fields that are gone, by message.
    reserved: BTreeMap<String, Reserved>,
    wrong: Vec<String>,
}

impl Found {
    fn of(set: &FileDescriptorSet) -> Self {
        let mut found = Self::default();
        for file in &set.file {
            let name = file.name();
            let package = file.package();
            if file.syntax() != "proto3" {
                found.wrong.push(format!("{name}: is not proto3"));
            }
            let place = name.rsplit_once('/').map_or("", |(place, _)| place);
            if place.replace('/', ".") != package {
                found.wrong.push(format!(
                    "{name}: its package is {package}, which is not where it stands"
                ));
            }
            for message in &file.message_type {
                found.message(package, message);
            }
            for kind in &file.enum_type {
                found.enumeration(package, kind);
            }
            for service in &file.service {
                let full = format!("{package}.{}", service.name());
                found.style(
                    &full,
                    service.name(),
                    is_pascal(service.name()) && service.name().ends_with("Service"),
                );
                for method in &service.method {
                    found.style(&full, method.name(), is_pascal(method.name()));
                    let stream = |is_stream: bool| if is_stream { "stream " } else { "" };
                    found.lines.insert(format!(
                        "method {full}.{} {}{} -> {}{}",
                        method.name(),
                        stream(method.client_streaming()),
                        method.input_type(),
                        stream(method.server_streaming()),
                        method.output_type(),
                    ));
                }
            }
        }
        found
    }

    fn message(&mut self, scope: &str, message: &DescriptorProto) {
        let full = format!("{scope}.{}", message.name());
        if !message.options.as_ref().is_some_and(|options| options.map_entry()) {
            self.style(&full, message.name(), is_pascal(message.name()));
        }
        for field in &message.field {
            self.style(&full, field.name(), is_snake(field.name()));
            self.lines.insert(field_line(&full, message, field));
        }
        let ranges = message.reserved_range.iter().map(|range| (range.start(), range.end()));
        let names = message.reserved_name.iter().cloned().collect();
        self.reserved.insert(full.clone(), (ranges.collect(), names));
        for nested in &message.nested_type {
            self.message(&full, nested);
        }
        for kind in &message.enum_type {
            self.enumeration(&full, kind);
        }
    }

    fn enumeration(&mut self, scope: &str, kind: &EnumDescriptorProto) {
        let full = format!("{scope}.{}", kind.name());
        self.style(&full, kind.name(), is_pascal(kind.name()));
        if kind.value.first().map(|value| value.number()) != Some(0) {
            self.wrong.push(format!(
                "{full}: its first value is not 0, which is what is read of what is not there"
            ));
        }
        let prefix = format!("{}_", shouted(kind.name()));
        for value in &kind.value {
            self.style(
                &full,
                value.name(),
                value.name().starts_with(&prefix) && value.name() == value.name().to_uppercase(),
            );
            self.lines
                .insert(format!("value {full} {} {}", value.number(), value.name()));
        }
    }

    fn style(&mut self, place: &str, name: &str, is_fine: bool) {
        if !is_fine {
            self.wrong
                .push(format!("{place}: the name {name} is not in the style of its kind"));
        }
    }

    /// What the baseline promises and is not there, or is there otherwise.
    fn broken(&self, baseline: &str) -> Vec<String> {
        let gone = baseline
            .lines()
            .filter(|line| !line.starts_with('#') && !self.lines.contains(*line));
        gone.filter(|line| !self.is_reserved(line))
            .map(|line| format!("was promised and is broken: {line}"))
            .collect()
    }

    /// Whether a field is gone for good: neither its number nor its name can come to mean something else.
    fn is_reserved(&self, line: &str) -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        let ["field", message, number, name, ..] = words[..] else {
            return false;
        };
        let Some((ranges, names)) = self.reserved.get(message) else {
            return false;
        };
        let number: i32 = number.parse().unwrap_or_default();
        let is_number = ranges.iter().any(|(start, end)| (*start..*end).contains(&number));
        is_number && names.contains(name)
    }
}

fn field_line(full: &str, message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let mut line = format!("field {full} {} {}", field.number(), field.name());
    let kind = match field.r#type() {
        Type::Message | Type::Enum => field.type_name().to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    if field.label() == Label::Repeated {
        line.push_str(" repeated");
    }
    if field.proto3_optional() {
        line.push_str(" optional");
    } else if let Some(one) = field.oneof_index {
        let one = usize::try_from(one).ok().and_then(|one| message.oneof_decl.get(one));
        // Writing to a string does not fail.
        let _ = write!(line, " of {}", one.map_or("", |one| one.name()));
    }
    let _ = write!(line, " {kind}");
    line
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_snake(name: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_fine) && !name.contains("__")
}

/// `OutcomeClass` as `OUTCOME_CLASS`.
fn shouted(name: &str) -> String {
    let mut shouted = String::new();
    for (position, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && position > 0 {
            shouted.push('_');
        }
        shouted.push(c.to_ascii_uppercase());
    }
    shouted
}

fn set() -> FileDescriptorSet {
    FileDescriptorSet::decode(aumbry_api::FILE_DESCRIPTORS).expect("is a set of descriptors")
}

fn baseline() -> PathBuf {
    // Of the checkout that is tested: the program may have been built in another one.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("it is started by Cargo");
    Path::new(&package).join("../../proto/baseline.txt")
}

#[test]
fn nothing_that_was_promised_is_broken() {
    let found = Found::of(&set());
    assert_eq!(found.wrong, [""; 0]);
    let stored = std::fs::read_to_string(baseline()).unwrap_or_default();
    assert_eq!(
        found.broken(&stored),
        [""; 0],
        "clients of before would be broken; add, and reserve what goes"
    );
    let new: Vec<&String> = found
        .lines
        .iter()
        .filter(|line| !stored.lines().any(|known| known == *line))
        .collect();
    if std::env::var_os(MEND).is_some() && !new.is_empty() {
        let mut lines: BTreeSet<&str> = stored.lines().filter(|line| !line.starts_with('#')).collect();
        lines.extend(found.lines.iter().map(String::as_str));
        let text = lines.iter().fold(HEAD.to_owned(), |text, line| text + line + "\n");
        std::fs::write(baseline(), text).expect("the baseline can be written");
        return;
    }
    assert!(
        new.is_empty(),
        "what is new is promised from now on; write it down with\n    {MEND}=1 cargo test --release --locked -p aumbry-api --test protocol\n{new:#?}"
    );
}

/// Each kind of mistake is one.
#[test]
fn each_mistake_is_noticed() {
    let changed = |change: fn(&mut FileDescriptorSet)| {
        let mut set = set();
        let before = Found::of(&set)
            .lines
            .into_iter()
            .fold(String::new(), |text, line| text + &line + "\n");
        change(&mut set);
        let found = Found::of(&set);
        let broken = found.broken(&before);
        (found.wrong.len(), broken.len())
    };
    fn message<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut DescriptorProto {
        let mut messages = set.file.iter_mut().flat_map(|file| &mut file.message_type);
        messages.find(|message| message.name() == name).expect("is there")
    }
    assert_eq!(changed(|_| ()), (0, 0), "nothing is wrong by itself");
    assert_eq!(
        changed(|set| message(set, "TokenInfo").field[0].number = Some(77)),
        (0, 1),
        "a number changed"
    );
    assert_eq!(
        changed(|set| message(set, "TokenInfo").field[0].r#type = Some(Type::Bytes.into())),
        (0, 1),
        "a type changed"
    );
    assert_eq!(
        changed(|set| message(set, "TokenInfo").field[0].name = Some("Accessor".to_owned())),
        (1, 1),
        "a name changed"
    );
    assert_eq!(
        changed(|set| drop(message(set, "TokenInfo").field.remove(0))),
        (0, 1),
        "a field went"
    );
    let reserve = |set: &mut FileDescriptorSet| {
        let message = message(set, "TokenInfo");
        let gone = message.field.remove(0);
        message.reserved_name.push(gone.name().to_owned());
        message
            .reserved_range
            .push(prost_types::descriptor_proto::ReservedRange {
                start: Some(gone.number()),
                end: Some(gone.number() + 1),
            });
    };
    assert_eq!(changed(reserve), (0, 0), "a field went for good");
    let method = |set: &mut FileDescriptorSet| {
        let service = set
            .file
            .iter_mut()
            .flat_map(|file| &mut file.service)
            .next()
            .expect("there is one");
        service.method.remove(0);
    };
    assert_eq!(changed(method), (0, 1), "a method went");
    let zero = |set: &mut FileDescriptorSet| {
        let kind = set
            .file
            .iter_mut()
            .flat_map(|file| &mut file.enum_type)
            .next()
            .expect("there is one");
        kind.value.remove(0);
    };
    assert_eq!(changed(zero), (1, 1), "the value 0 went");
    let package = |set: &mut FileDescriptorSet| {
        let file = set.file.iter_mut().find(|file| file.name().ends_with("kv.proto"));
        file.expect("is there").package = Some("aumbry.v2".to_owned());
    };
    assert!(changed(package).0 == 1, "a package changed");
}

const MEND: &str = "AUMBRY_MEND";
const HEAD: &str = "# What proto/ promises, one line for each thing. Written by the test `protocol` of crates/api; lines are only ever added.\n";
