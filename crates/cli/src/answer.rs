//! Answers to requests by path, as they are printed.

use anyhow::{Context as _, Result};
use aumbry_client::v1;
use serde_json::{Map, Value, json};

use crate::failure::{Refused, warn};
use crate::output::{self, Format, line, line_json, pairs, plain};

/// An answer, taken apart.
pub(crate) struct Answer {
    pub(crate) data: Value,
    pub(crate) auth: Value,
    pub(crate) wrap_info: Value,
    reply: v1::LogicalReply,
}

impl Answer {
    pub(crate) fn of(mut reply: v1::LogicalReply) -> Result<Self> {
        let parse = |bytes: &[u8]| match bytes {
            [] => Ok(Value::Null),
            bytes => serde_json::from_slice(bytes).context("the answer is no JSON"),
        };
        let (data, auth, wrap_info) = (parse(&reply.data)?, parse(&reply.auth)?, parse(&reply.wrap_info)?);
        // They are held once.
        (reply.data, reply.auth, reply.wrap_info) = Default::default();
        Ok(Self {
            data,
            auth,
            wrap_info,
            reply,
        })
    }

    /// Prints it, or one of its values.
    pub(crate) fn show(&self, format: Format, field: Option<&str>) -> Result<()> {
        self.warn(format);
        if self.reply.absent {
            return Err(Refused::NotFound("this version is deleted or destroyed".to_owned()).into());
        }
        if let Some(name) = field {
            return output::field(format, name, self.field(name));
        }
        match format {
            Format::Json => line_json(&self.document()),
            Format::Table => self.table(),
        }
    }

    /// Prints the names that it lists.
    pub(crate) fn show_names(&self, format: Format) -> Result<()> {
        self.warn(format);
        let Some(names) = self.data["keys"].as_array() else {
            return self.show(format, None);
        };
        match format {
            Format::Json => line_json(&json!(names)),
            Format::Table => names.iter().try_for_each(|name| line(&plain(name))),
        }
    }

    fn warn(&self, format: Format) {
        for warning in &self.reply.warnings {
            warn(format, warning);
        }
    }

    /// A value by its name; those of tokens have the names that Vault's program gives them as well.
    fn field(&self, name: &str) -> Option<&Value> {
        let part = |part: &'static str, name: &str| match part {
            "wrap" => self.wrap_info.get(name),
            _ => self.auth.get(name),
        };
        let known = match name {
            "wrapping_token" => part("wrap", "token"),
            "wrapping_accessor" => part("wrap", "accessor"),
            "token" => part("auth", "client_token"),
            "token_accessor" => part("auth", "accessor"),
            "token_duration" => part("auth", "lease_duration"),
            "token_renewable" => part("auth", "renewable"),
            _ => None,
        };
        known
            .or_else(|| self.data.get(name))
            .or_else(|| self.auth.get(name))
            .or_else(|| self.wrap_info.get(name))
    }

    fn document(&self) -> Value {
        let header = self.reply.header.as_ref();
        json!({
            "request_id": header.map_or("", |header| &header.request_id),
            "data": self.data,
            "auth": self.auth,
            "wrap_info": self.wrap_info,
            "warnings": self.reply.warnings,
            "mount_type": self.reply.mount_type,
            "lease_duration": self.reply.lease_duration_s,
        })
    }

    fn table(&self) -> Result<()> {
        let nothing = Map::new();
        let object = |value: &'_ Value| value.as_object().cloned().unwrap_or_else(|| nothing.clone());
        let renamed = |prefix: &str, values: &Map<String, Value>| -> Vec<(String, String)> {
            let named = values.iter().map(|(key, value)| match key.as_str() {
                "client_token" => ("token".to_owned(), plain(value)),
                "token" | "accessor" => (format!("{prefix}_{key}"), plain(value)),
                key => (key.to_owned(), plain(value)),
            });
            named.collect()
        };
        let mut rows = renamed("wrapping", &object(&self.wrap_info));
        rows.extend(renamed("token", &object(&self.auth)));
        rows.extend(
            object(&self.data)
                .iter()
                .map(|(key, value)| (key.clone(), plain(value))),
        );
        if rows.is_empty() {
            return line("done");
        }
        pairs("", rows.iter().map(|(key, value)| (key.as_str(), value.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_either_name() {
        let answer = Answer::of(v1::LogicalReply {
            auth: br#"{"client_token":"t","accessor":"a","lease_duration":7}"#.to_vec().into(),
            data: br#"{"x":1}"#.to_vec().into(),
            ..Default::default()
        })
        .unwrap();
        for (name, expected) in [
            ("token", Some(json!("t"))),
            ("client_token", Some(json!("t"))),
            ("token_accessor", Some(json!("a"))),
            ("token_duration", Some(json!(7))),
            ("x", Some(json!(1))),
            ("wrapping_token", None),
        ] {
            assert_eq!(answer.field(name), expected.as_ref(), "{name}");
        }
    }

    #[test]
    fn a_deleted_version_is_not_found() {
        let answer = Answer::of(v1::LogicalReply {
            absent: true,
            ..Default::default()
        });
        let error = answer.unwrap().show(Format::Json, None).err().unwrap();
        assert_eq!(crate::failure::exit_code(&error), 6);
    }
}
