//! What is given to a request on the command line: pairs, files, standard input.

use std::io::IsTerminal as _;

use anyhow::{Context as _, Result};
use aumbry_types::SecretBytes;
use serde_json::{Map, Value};

use crate::context::value;
use crate::failure::{note, usage};

/// What a key means that is there more than once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeated {
    /// A mistake.
    Refused,
    /// A list.
    List,
}

/// One JSON object from the arguments.
pub(crate) fn data(arguments: &[String], repeated: Repeated) -> Result<SecretBytes> {
    if let [single] = arguments
        && (single == "-" || single.starts_with('@'))
    {
        tell_of_stdin(single == "-", "one JSON object");
        return value(single);
    }
    Ok(SecretBytes::new(serde_json::to_vec(&object(arguments, repeated)?)?))
}

/// The pairs of the arguments.
pub(crate) fn object(arguments: &[String], repeated: Repeated) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    for argument in arguments {
        let (key, text) = split(argument)?;
        tell_of_stdin(text == "-", &format!("the value of {key}"));
        let bytes = value(text)?;
        let text = bytes
            .expose_str()
            .with_context(|| format!("the value of {key} is not UTF-8; encode it, such as with base64"))?;
        let text = Value::String(text.to_owned());
        match object.get_mut(key) {
            None => {
                object.insert(key.to_owned(), text);
            }
            Some(_) if repeated == Repeated::Refused => {
                return Err(usage(format!("the key {key} is there twice")));
            }
            Some(Value::Array(texts)) => texts.push(text),
            Some(first) => *first = Value::Array(vec![first.take(), text]),
        }
    }
    Ok(object)
}

/// A pair of the form key=value. The value is never repeated in an error.
pub(crate) fn split(pair: &str) -> Result<(&str, &str)> {
    pair.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| usage("data is key=value, key=@file, key=-, or one @file.json"))
}

/// At a terminal nobody sees that the program waits.
fn tell_of_stdin(is_read: bool, what: &str) {
    if is_read && std::io::stdin().is_terminal() {
        note(&format!("reading {what} from standard input; end it with Ctrl-D"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], repeated: Repeated) -> Option<String> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let data = data(&arguments, repeated).ok()?;
        data.expose_str().map(str::to_owned)
    }

    #[test]
    fn arguments_become_one_object() {
        let check = |arguments: &[&str]| check(arguments, Repeated::Refused);
        assert_eq!(check(&["a=b", "c=d=e"]).as_deref(), Some(r#"{"a":"b","c":"d=e"}"#));
        assert_eq!(check(&["a=", "b=@/dev/null"]).as_deref(), Some(r#"{"a":"","b":""}"#));
        assert_eq!(check(&["a="]).as_deref(), Some(r#"{"a":""}"#));
        for bad in [&["a"][..], &["=b"], &["a=1", "a=2"], &["a=@/no/such/file"]] {
            assert_eq!(check(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_key_that_is_there_again_is_a_list_where_lists_are_meant() {
        let texts = check(&["a=1", "b=x", "a=2", "a=3"], Repeated::List);
        assert_eq!(texts.as_deref(), Some(r#"{"a":["1","2","3"],"b":"x"}"#));
    }

    #[test]
    fn a_pair_without_a_value_is_wrong_usage() {
        for bad in [&["foo"][..], &["=b"], &["a=1", "a=2"]] {
            let arguments: Vec<String> = bad.iter().map(|a| (*a).to_owned()).collect();
            let error = data(&arguments, Repeated::Refused).err().unwrap();
            assert_eq!(crate::failure::exit_code(&error), 2, "{error}");
        }
    }
}
