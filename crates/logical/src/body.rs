//! Named values, as JSON gives them.

use core::fmt;
use std::collections::BTreeMap;

use aumbry_types::{SecretBytes, parse_duration};
use serde_json::Value;

/// A JSON object.
pub type Object = serde_json::Map<String, Value>;

/// Why bytes are not a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Over [`BODY_BYTES_MAX`].
    #[error("the body is longer than 1 MiB")]
    TooLong,
    /// Arrays and objects in each other over [`DEPTH_MAX`].
    #[error("the body nests arrays and objects more than 32 deep")]
    TooDeep,
    /// No JSON object.
    #[error("the body must be one JSON object")]
    NotAnObject,
}

/// Why a value cannot be used. It names the field, and never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// It is needed.
    #[error("{0} is required")]
    Missing(&'static str),
    /// It has another type or form.
    #[error("{field} must be {expected}")]
    Form {
        /// Which.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

/// The named values of a request. Those that nobody asks for are ignored, as clients of other versions send them.
#[derive(Default)]
pub struct Body(Object);

// Any value can be a secret.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} values)", self.0.len())
    }
}

impl Body {
    /// Reads a JSON object; nothing at all is an empty one.
    ///
    /// # Errors
    /// [`BodyError`], which repeats nothing of the body.
    pub fn parse(bytes: &[u8]) -> Result<Self, BodyError> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        if bytes.len() > BODY_BYTES_MAX {
            return Err(BodyError::TooLong);
        }
        if depth(bytes) > DEPTH_MAX {
            return Err(BodyError::TooDeep);
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            // Some clients send `null` for nothing.
            Ok(Value::Null) => Ok(Self::default()),
            Ok(_) | Err(_) => Err(BodyError::NotAnObject),
        }
    }

    /// The body with these values.
    #[must_use]
    pub const fn new(object: Object) -> Self {
        Self(object)
    }

    /// All values.
    #[must_use]
    pub const fn object(&self) -> &Object {
        &self.0
    }

    /// As JSON text.
    #[must_use]
    pub fn encode(&self) -> SecretBytes {
        // An object of values that were parsed is always written.
        SecretBytes::new(serde_json::to_vec(&self.0).unwrap_or_default())
    }

    /// The value with this name; `null` is as good as none.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// A second copy, for a second owner. Explicit, so that it can be found.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    /// Adds a value, unless the name is taken.
    pub fn insert_missing(&mut self, field: &str, value: Value) {
        self.0.entry(field).or_insert(value);
    }

    /// A text. Numbers and truth values are taken as they are written, as some tools send them.
    ///
    /// # Errors
    /// [`FieldError::Form`]
    pub fn text(&self, field: &'static str) -> Result<Option<String>, FieldError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Bool(flag)) => Ok(Some(flag.to_string())),
            Some(_) => Err(form(field, "a string")),
        }
    }

    /// A text that must be there and not be empty.
    ///
    /// # Errors
    /// [`FieldError`]
    pub fn required_text(&self, field: &'static str) -> Result<String, FieldError> {
        self.text(field)?
            .filter(|text| !text.is_empty())
            .ok_or(FieldError::Missing(field))
    }

    /// A secret text.
    ///
    /// # Errors
    /// [`FieldError::Form`]
    pub fn secret(&self, field: &'static str) -> Result<Option<SecretBytes>, FieldError> {
        Ok(self.text(field)?.map(|text| SecretBytes::new(text.into_bytes())))
    }

    /// A whole number from 0, also as text.
    ///
    /// # Errors
    /// [`FieldError::Form`]
    pub fn count(&self, field: &'static str) -> Result<Option<u64>, FieldError> {
        let expected = "a whole number from 0";
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => text.trim().parse().map(Some).map_err(|_| form(field, expected)),
            Some(value) => whole(value).map(Some).ok_or_else(|| form(field, expected)),
        }
    }

    /// A truth value, also as text.
    ///
    /// # Errors
    /// [`FieldError::Form`]
    pub fn flag(&self, field: &'static str) -> Result<Option<bool>, FieldError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) => match text.as_str() {
                "" => Ok(None),
                "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(Some(true)),
                "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(Some(false)),
                _ => Err(form(field, "true or false")),
            },
            Some(Value::Number(number)) if number.as_u64() == Some(1) => Ok(Some(true)),
            Some(Value::Number(number)) if number.as_u64() == Some(0) => Ok(Some(false)),
            Some(_) => Err(form(field, "true or false")),
        }
    }

    /// A duration in seconds: a number of seconds, or a text such as `90`, `15m` or `1h30m`.
    ///
    /// # Errors
    /// [`FieldError::Form`]
    pub fn seconds(&self, field: &'static str) -> Result<Option<u64>, FieldError> {
        let expected = "a duration from 0 to 100 years: seconds, or a text such as 90s, 15m or 1h30m";
        let text = match self.get(field) {
            None => return Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(value) => whole(value).ok_or_else(|| form(field, expected))?.to_string(),
        };
        let duration = parse_duration(&text).map_err(|_| form(field, expected))?;
        Ok(Some(duration.as_secs()))
    }

    /// A list of texts: an array, or one text with commas.
    ///
    /// # Errors
    /// [`FieldError::Form`]
    pub fn texts(&self, field: &'static str) -> Result<Option<Vec<String>>, FieldError> {
        let expected = "a list of strings, or a string with commas";
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Ok(Some(parts.map(str::to_owned).collect()))
            }
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| match value {
                    Value::String(text) => Ok(text.trim().to_owned()),
                    Value::Number(number) => Ok(number.to_string()),
                    _ => Err(form(field, expected)),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err(form(field, expected)),
        }
    }

    /// A list of whole numbers from 0: an array, one number, or a text with commas.
    ///
    /// # Errors
    /// [`FieldError::Form`]
    pub fn counts(&self, field: &'static str) -> Result<Option<Vec<u64>>, FieldError> {
        let expected = "a list of whole numbers from 0";
        if let Some(Value::Number(_)) = self.get(field) {
            return Ok(self.count(field)?.map(|number| vec![number]));
        }
        let texts = self.texts(field).map_err(|_| form(field, expected))?;
        texts
            .map(|texts| {
                texts
                    .iter()
                    .map(|text| text.parse().map_err(|_| form(field, expected)))
                    .collect()
            })
            .transpose()
    }

    /// Pairs of texts: an object, or an array of texts of the form `key=value`, or one such text with commas.
    ///
    /// # Errors
    /// [`FieldError::Form`]
    pub fn pairs(&self, field: &'static str) -> Result<Option<BTreeMap<String, String>>, FieldError> {
        let expected = "an object of strings";
        match self.get(field) {
            None => Ok(None),
            Some(Value::Object(object)) => object
                .iter()
                .map(|(key, value)| match value {
                    Value::String(text) => Ok((key.clone(), text.clone())),
                    Value::Number(number) => Ok((key.clone(), number.to_string())),
                    Value::Bool(flag) => Ok((key.clone(), flag.to_string())),
                    _ => Err(form(field, expected)),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(Value::String(_) | Value::Array(_)) => {
                let texts = self.texts(field)?.unwrap_or_default();
                let pair = |text: &String| {
                    text.split_once('=')
                        .map(|(key, value)| (key.to_owned(), value.to_owned()))
                };
                let pairs = texts.iter().map(pair).collect::<Option<_>>();
                pairs.map(Some).ok_or_else(|| form(field, expected))
            }
            Some(_) => Err(form(field, expected)),
        }
    }

    /// An object of any values.
    ///
    /// # Errors
    /// [`FieldError::Form`]
    pub fn nested(&self, field: &'static str) -> Result<Option<&Object>, FieldError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(form(field, "an object")),
        }
    }
}

const fn form(field: &'static str, expected: &'static str) -> FieldError {
    FieldError::Form { field, expected }
}

/// A whole number from 0; some clients write `3600.0`.
fn whole(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_u64() {
        return Some(number);
    }
    let number = value.as_f64()?;
    // Beyond 2^53 a float has no ones.
    let is_whole = number >= 0.0 && number.fract() == 0.0 && number < 9_007_199_254_740_992.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole and in range"
    )]
    is_whole.then_some(number as u64)
}

/// How deep arrays and objects stand in each other, without building any of them.
fn depth(bytes: &[u8]) -> usize {
    let (mut deepest, mut now, mut in_text, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' if !in_text => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// As much as the largest secret takes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Deeper than anything that people write, and far from the end of a stack.
const DEPTH_MAX: usize = 32;
