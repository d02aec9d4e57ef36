//! What is told of a reply: JSON, whatever the transport.

use aumbry_node::Failure;
use aumbry_types::SecretBytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What is told of a reply.
#[derive(Default)]
pub(crate) struct Content {
    /// One JSON object.
    pub(crate) data: Option<SecretBytes>,
    /// The token that was made, as one JSON object.
    pub(crate) auth: Option<SecretBytes>,
    /// What stands for the content, if it was wrapped, as one JSON object.
    pub(crate) wrap_info: Option<SecretBytes>,
    /// What the caller should know.
    pub(crate) warnings: Vec<String>,
    /// The type of the mount.
    pub(crate) mount_type: String,
    /// Whether there is nothing but what the data tells.
    pub(crate) absent: bool,
    /// For how many seconds the data is good; 0 is not said.
    pub(crate) lease_duration_s: u64,
    /// Whether what was asked goes on after the answer.
    pub(crate) is_accepted: bool,
}

/// The stored form of a wrapped reply. Fields are only ever added.
#[derive(Serialize, Deserialize)]
struct Wrapping {
    data: Option<Box<RawValue>>,
    auth: Option<Box<RawValue>>,
    warnings: Vec<String>,
    mount_type: String,
    absent: bool,
    lease_duration_s: u64,
}

impl Content {
    /// Data alone.
    ///
    /// # Errors
    /// [`Failure`] never, for data that can be JSON.
    pub(crate) fn data(value: &impl Serialize) -> Result<Self, Failure> {
        Ok(Self {
            data: Some(encode(value)?),
            ..Self::default()
        })
    }

    /// Names, which are a list that is not there if it is empty.
    pub(crate) fn keys(names: Vec<String>) -> Result<Self, Failure> {
        if names.is_empty() {
            return Err(Failure::new(aumbry_node::Class::NotFound, "NOT_FOUND", String::new()));
        }
        Self::data(&json!({ "keys": names }))
    }

    /// As it is wrapped.
    ///
    /// # Errors
    /// [`Failure`] never, for data that is JSON.
    pub(crate) fn encode(&self) -> Result<SecretBytes, Failure> {
        let raw = |part: &Option<SecretBytes>| -> Result<Option<Box<RawValue>>, Failure> {
            let text = part.as_ref().and_then(SecretBytes::expose_str);
            let parsed = text.map(serde_json::from_str).transpose();
            parsed.map_err(|_| Failure::internal("the reply is no JSON"))
        };
        encode(&Wrapping {
            data: raw(&self.data)?,
            auth: raw(&self.auth)?,
            warnings: self.warnings.clone(),
            mount_type: self.mount_type.clone(),
            absent: self.absent,
            lease_duration_s: self.lease_duration_s,
        })
    }

    /// What was wrapped.
    ///
    /// # Errors
    /// [`Failure`] if it was wrapped by a build that this one does not understand.
    pub(crate) fn decode(bytes: &SecretBytes) -> Result<Self, Failure> {
        let wrapping: Wrapping = serde_json::from_slice(bytes.expose())
            .map_err(|_| Failure::internal("the wrapped reply cannot be read by this build"))?;
        let secret = |raw: Option<Box<RawValue>>| raw.map(|raw| SecretBytes::from(raw.get().to_owned()));
        Ok(Self {
            data: secret(wrapping.data),
            auth: secret(wrapping.auth),
            wrap_info: None,
            warnings: wrapping.warnings,
            mount_type: wrapping.mount_type,
            absent: wrapping.absent,
            lease_duration_s: wrapping.lease_duration_s,
            is_accepted: false,
        })
    }

    /// With the type of its mount.
    #[must_use]
    pub(crate) fn of_type(mut self, mount_type: &str) -> Self {
        mount_type.clone_into(&mut self.mount_type);
        self
    }
}

/// JSON text. The buffer is wiped with its owner.
pub(crate) fn encode(value: &impl Serialize) -> Result<SecretBytes, Failure> {
    let text = serde_json::to_vec(value).map_err(|_| Failure::internal("the reply cannot be written as JSON"))?;
    Ok(SecretBytes::new(text))
}

/// A time in log time (ms) as clients read it; nothing for never.
pub(crate) fn time(ms: u64) -> String {
    if ms == 0 {
        return String::new();
    }
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Pairs of texts, or null for none, as clients expect it.
pub(super) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Value {
    let map: Map<String, Value> = pairs
        .into_iter()
        .map(|(key, value)| (key.clone(), Value::String(value.clone())))
        .collect();
    if map.is_empty() {
        Value::Null
    } else {
        Value::Object(map)
    }
}
