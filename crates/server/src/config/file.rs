//! The text of a configuration: everything in it that cannot be read is found at once, not one thing at each start.

use core::fmt;
use core::ops::Range;

use super::Config;

/// Something in the file that does not belong there, or is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misread {
    /// The line and column, from 1; unknown for what is missing as a whole.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Reads a configuration, and tells of all mistakes in the order of their lines.
pub(super) fn read(text: &str) -> (Option<Config>, Vec<Misread>) {
    let (config, mut found) = read_on(text);
    found.sort_by_key(|misread| misread.place);
    (config, found)
}

/// What does not belong there is taken out, what has a wrong value gets another, and the rest is read again: so one mistake does not
/// hide the next. With a value that was made up there is no configuration.
fn read_on(text: &str) -> (Option<Config>, Vec<Misread>) {
    let mut text = text.to_owned();
    let mut found: Vec<Misread> = Vec::new();
    let mut is_whole = true;
    loop {
        let error = match toml::from_str(&text) {
            Ok(config) => return (Some(config).filter(|_| is_whole), found),
            Err(error) => error,
        };
        let message = one_line(error.message());
        // What is missing at the top is missing nowhere in particular.
        let span = error
            .span()
            .filter(|span| span.start > 0 || !message.starts_with(MISSING));
        let is_unknown = message.starts_with("unknown field");
        let is_value = message.starts_with("invalid ");
        let lines = span.as_ref().and_then(|span| lines(&text, span));
        let key = lines
            .clone()
            .filter(|lines| !text[lines.clone()].contains('\n'))
            .and_then(|lines| text[lines].split_once('=').map(|(key, _)| key.trim().to_owned()));
        found.push(Misread {
            place: span.as_ref().map(|span| place(&text, span.start)),
            message: match &key {
                Some(key) if is_value => format!("{key}: {message}"),
                _ => message,
            },
        });
        let Some(lines) = lines.filter(|_| (is_unknown || is_value) && found.len() < MISREAD_MAX) else {
            return (None, found);
        };
        let instead = match key {
            Some(key) if is_value => another_value(&text, &lines, &key),
            // Places stay right: lines become blank, and none goes.
            _ => Some(text[lines.clone()].chars().filter(|c| *c == '\n').collect()),
        };
        let Some(instead) = instead else { return (None, found) };
        text.replace_range(lines, &instead);
        is_whole &= is_unknown;
    }
}

/// The line with a value that can be read; none if no value can.
fn another_value(text: &str, line: &Range<usize>, key: &str) -> Option<String> {
    let number = place(text, line.start).0;
    let mut instead = VALUES.iter().map(|value| format!("{key} = {value}"));
    instead.find(|instead| {
        let mut tried = text.to_owned();
        tried.replace_range(line.clone(), instead);
        match toml::from_str::<Config>(&tried) {
            Ok(_) => true,
            Err(error) => error.span().is_none_or(|span| place(&tried, span.start).0 != number),
        }
    })
}

/// What goes with the mistake: its line, or the section that it begins. None if that cannot be said.
fn lines(text: &str, span: &Range<usize>) -> Option<Range<usize>> {
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    if text[start..end].trim_start().starts_with('[') {
        let next = text[end..].find("\n[").map_or(text.len(), |at| end + at);
        return Some(start..next);
    }
    let is_one_line = span.end <= end && !text[start..end].contains("\"\"\"") && !text[start..end].contains("'''");
    let opened = |open, close| text[start..end].matches(open).count() > text[start..end].matches(close).count();
    (is_one_line && !opened('[', ']') && !opened('{', '}') && text[start..end].contains('=')).then_some(start..end)
}

fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

fn one_line(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(", ")
}

/// Of each kind that a key can have.
const VALUES: [&str; 3] = ["\"127.0.0.1:0\"", "1", "\"text\""];
const MISSING: &str = "missing field";
/// Who has more mistakes than this has another kind of file.
const MISREAD_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name = \"n1\"\ndata_dir = \"/d\"\n[client]\naddress = \"127.0.0.1:1\"\ncert_file = \"c\"\nkey_file = \"k\"\n[peer]\naddress = \"127.0.0.1:2\"\n";
    const REFERENCE: &str = include_str!("../../../../deploy/aumbry.toml");

    fn told(text: &str) -> (bool, Vec<String>) {
        let (config, misread) = read(text);
        let first = |misread: &Misread| misread.to_string().split(',').take(2).collect::<Vec<_>>().join(",");
        (config.is_some(), misread.iter().map(first).collect())
    }

    /// Abuse cases: 108.
    #[test]
    fn every_mistake_is_told_with_its_place() {
        assert_eq!(told(GOOD), (true, vec![]));
        let unknown = format!("nmae = 1\n{GOOD}  colour = \"red\"\n[extra]\na = 1\nb = 2\n[raft]\nbeat = 3\n");
        let (is_read, misread) = told(&unknown);
        assert!(is_read, "what is left is a configuration");
        let expected = [
            "line 1, column 1: unknown field `nmae`",
            "line 10, column 3: unknown field `colour`",
            "line 11, column 2: unknown field `extra`",
            "line 15, column 1: unknown field `beat`",
        ];
        assert_eq!(misread, expected);

        let values = format!(
            "extra = 1\n{}[raft]\nheartbeat_ms = \"soon\"\n",
            GOOD.replace("127.0.0.1:1\"", "localhost\"").replace("\"n1\"", "7")
        );
        let (is_read, misread) = told(&values);
        assert!(!is_read, "a value was made up");
        let expected = [
            "line 1, column 1: unknown field `extra`",
            "line 2, column 8: name: invalid type: integer `7`",
            "line 5, column 11: address: invalid socket address syntax",
            "line 11, column 16: heartbeat_ms: invalid type: string \"soon\"",
        ];
        assert_eq!(misread, expected);

        for (bad, expected) in [
            (GOOD.replace("name = \"n1\"\n", ""), "missing field `name`"),
            (
                GOOD.replace("key_file = \"k\"\n", ""),
                "line 3, column 1: missing field `key_file`",
            ),
            (GOOD.replace("\"n1\"", "\"n1"), "line 1, column 11: "),
        ] {
            let (is_read, misread) = told(&bad);
            assert!(!is_read && misread.len() == 1, "{misread:?}");
            assert!(misread[0].starts_with(expected), "{misread:?}");
        }
    }

    /// The reference configuration is one, as it stands and with everything that it offers; what it shows as defaults are the defaults.
    #[test]
    fn the_reference_configuration_tells_the_truth() {
        let (config, misread) = read(REFERENCE);
        assert_eq!(misread, []);
        let config = config.unwrap();
        assert_eq!(config.problems(), [""; 0]);
        let offered: String = REFERENCE
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(offered) if !offered.is_empty() && !offered.starts_with(' ') => format!("{offered}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let (all, misread) = read(&offered);
        assert_eq!(misread, []);
        let all = all.unwrap();
        assert_eq!(all.problems(), [""; 0]);
        assert!(all.join.is_some() && all.health.is_some() && all.client.ca_file.is_some());
        let defaults = |config: &Config| format!("{:?} {:?} {:?}", config.raft, config.log, config.limits);
        assert_eq!(defaults(&all), defaults(&config));
    }
}
