//! Lists that a rule limits.

use aumbry_engines::kv;
use aumbry_types::SecretBytes;
use serde_json::Value;

use crate::{Failure, Reply};

/// Cuts the names in a reply to so many. What follows is asked for with the last one.
pub(crate) fn cut(reply: &mut Reply, limit: u64) -> Result<(), Failure> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    match reply {
        Reply::Kv(kv::Reply::Names { names, more }) => {
            *more |= names.len() > limit;
            names.truncate(limit);
        }
        Reply::Names(names) => names.truncate(limit),
        Reply::Json { data, warnings } => {
            let unreadable = |_| Failure::internal("an answer is no JSON object");
            let mut value: Value = serde_json::from_slice(data.expose()).map_err(unreadable)?;
            let Some(keys) = value.get_mut("keys").and_then(Value::as_array_mut) else {
                return Ok(());
            };
            if keys.len() <= limit {
                return Ok(());
            }
            keys.truncate(limit);
            let kept: Vec<String> = keys.iter().filter_map(|key| key.as_str().map(str::to_owned)).collect();
            if let Some(infos) = value.get_mut("key_info").and_then(Value::as_object_mut) {
                infos.retain(|key, _| kept.contains(key));
            }
            *data = SecretBytes::new(serde_json::to_vec(&value).map_err(unreadable)?);
            warnings.push(MORE.to_owned());
        }
        _ => {}
    }
    Ok(())
}

/// As where a page is full.
const MORE: &str = "more names follow; ask for those after the last one with `after`";
