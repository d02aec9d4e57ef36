//! `aumbry audit stale`: who, what and which permissions nobody has used for some time, as a proposal.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1::Verb;
use aumbry_policy::{Rule, prune};
use aumbry_types::{Capability, Clock as _, SystemClock};
use clap::Args;
use serde_json::{Map, Value, json};

use super::event::text;
use super::query::{each, fold};
use crate::answer::Answer;
use crate::context::{ByPath, Caller, Context};
use crate::failure::note;
use crate::logical::call;
use crate::output::{Format, line, line_json};

#[derive(Args)]
pub(crate) struct Stale {
    /// For how many days
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    days: u64,
    /// At most so many secrets are compared
    #[arg(long, default_value_t = 100_000)]
    secrets: usize,
}

pub(super) const EXAMPLES: &str = "Examples:
  aumbry audit stale --days 90
  aumbry audit stale --days 30 --output json

Nothing is changed. The policies' part is a diff, which `patch` takes. What was made or changed within these days is not told. It reads the whole log of these days, and
lists policies, entities, tokens and secrets: what may not be listed is left out, and named.";

/// What was used.
#[derive(Default)]
struct Used {
    entities: BTreeSet<String>,
    /// Tokens that were shown, or made.
    accessors: BTreeSet<String>,
    /// Secrets that were read or written.
    paths: BTreeSet<String>,
    /// Policies with the pattern that decided.
    rules: BTreeSet<(String, String)>,
    /// Policies of which nobody can say that a rule is not used.
    policies: BTreeSet<String>,
    records: u64,
}

pub(super) async fn run(arguments: Stale, context: &Context) -> Result<()> {
    let (client, format) = (context.client()?, context.format());
    let own = context.namespace()?.trim_matches('/').to_owned();
    let since = format!("{}h", arguments.days * 24);
    let reaches_back = begins_before(&client, &since).await?;
    let body: Map<String, Value> = [
        ("since", json!(since)),
        ("below", json!(true)),
        ("oldest_first", json!(true)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect();
    let used = fold(&client, &body, Used::default(), |used, event| {
        used.note(event, &own);
        ensure!(
            used.accessors.len() + used.paths.len() <= HELD_MAX,
            "more than 2,000,000 tokens and secrets were used in these days, which is more than this command holds; name fewer --days"
        );
        Ok(())
    })
    .await?;
    let mut left_out: Vec<&str> = Vec::new();
    let mut or_left_out = |what: &'static str, found: Result<Vec<Value>>| match found {
        Ok(found) => Ok(found),
        Err(error) if crate::failure::exit_code(&error) == NOT_ALLOWED => {
            left_out.push(what);
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    };
    let policies = or_left_out("policies", policies(&client, &used).await)?;
    let entities = or_left_out("entities", entities(&client, &used, arguments.days).await)?;
    let tokens = or_left_out("tokens", tokens(&client, &used).await)?;
    let secrets = or_left_out("secrets", secrets(&client, &used, arguments.secrets).await)?;
    let told = json!({
        "days": arguments.days,
        "records": used.records,
        "log_reaches_back": reaches_back,
        "policies": policies,
        "entities": entities,
        "tokens": tokens,
        "secrets": secrets,
        "left_out": left_out,
    });
    show(format, &told)
}

impl Used {
    fn note(&mut self, event: &Value, own: &str) {
        self.records += 1;
        let principal = &event["principal"];
        self.entities.insert(text(principal, "entity").to_owned());
        self.accessors.insert(text(principal, "accessor").to_owned());
        self.accessors.insert(text(&event["fields"], "accessor").to_owned());
        let operation = text(event, "operation");
        let is_here = text(&event["fields"], "namespace") == own;
        let is_done = text(event, "decision") == "allowed";
        if is_here && is_done && operation.starts_with("kv") {
            match &event["fields"]["paths"] {
                Value::String(paths) => self.paths.extend(paths.split('\n').map(str::to_owned)),
                Value::Array(parts) => {
                    let paths = parts.iter().filter_map(Value::as_str).flat_map(|part| part.split('\n'));
                    self.paths.extend(paths.map(str::to_owned));
                }
                _ => drop(self.paths.insert(text(event, "path").to_owned())),
            }
        }
        // What was written within the time may have had no time to be used.
        if is_done
            && operation == "policy.write"
            && let Some(name) = text(event, "path").strip_prefix("sys/policies/acl/")
        {
            self.policies.insert(name.to_owned());
        }
        let rule = text(event, "rule");
        for name in event["deciding_policies"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            // Of a request that needs several things the last rule alone is on record.
            if ONE_NEED_MORE.contains(&operation) {
                self.policies.insert(name.to_owned());
            } else {
                self.rules.insert((name.to_owned(), rule.to_owned()));
            }
        }
    }

    /// Whether a rule was used, or nobody can say that it was not: a rule that denies does its work by being there, and one with a template stands on record as
    /// what it came to.
    fn has_used(&self, policy: &str, rule: &Rule) -> bool {
        self.policies.contains(policy)
            || rule.capabilities().contains(Capability::Deny)
            || rule.pattern().contains("{{")
            || self.rules.contains(&(policy.to_owned(), rule.pattern().to_owned()))
    }
}

/// Whether the log has a record from before this time.
async fn begins_before(client: &Caller, since: &str) -> Result<bool> {
    let mut has_any = false;
    // The first entries of a log are from before it had a time.
    let body: Map<String, Value> = [
        ("since", json!("2000-01-01T00:00:00Z")),
        ("until", json!(since)),
        ("oldest_first", json!(true)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect();
    each(client, &body, 1, |_| {
        has_any = true;
        Ok(())
    })
    .await?;
    Ok(has_any)
}

async fn policies(client: &Caller, used: &Used) -> Result<Vec<Value>> {
    let mut told = Vec::new();
    for name in keys(client, "sys/policies/acl").await? {
        if BUILT_IN.contains(&name.as_str()) {
            continue;
        }
        let answer = call(client, ByPath::new(Verb::Read, format!("sys/policies/acl/{name}"))).await?;
        let policy = text(&answer.data, "policy");
        let pruned = prune(&name, policy, |rule| used.has_used(&name, rule));
        let pruned = pruned.with_context(|| format!("the policy {name} cannot be read by this build"))?;
        if !pruned.rules.is_empty() {
            let rules = pruned.rules.iter();
            let rules: Vec<Value> = rules
                .map(|(pattern, line)| json!({ "path": pattern, "line": line }))
                .collect();
            told.push(json!({ "name": name, "unused": rules, "diff": pruned.diff }));
        }
    }
    Ok(told)
}

async fn entities(client: &Caller, used: &Used, days: u64) -> Result<Vec<Value>> {
    let mut told = Vec::new();
    let unused = keys(client, "identity/entity/id").await?;
    for id in unused.into_iter().filter(|id| !used.entities.contains(id)) {
        let entity = call(client, ByPath::new(Verb::Read, format!("identity/entity/id/{id}")))
            .await?
            .data;
        // One that was made within the time had less than that to be used.
        if is_older(text(&entity, "creation_time"), days) {
            told.push(json!({ "id": id, "name": entity["name"] }));
        }
    }
    Ok(told)
}

fn is_older(created: &str, days: u64) -> bool {
    let now = SystemClock.wall().0;
    let since = aumbry_audit::text::time(now.saturating_sub(days.saturating_mul(86_400_000)));
    // Both begin with date and time of day in one width.
    created.get(..SECONDS) < since.get(..SECONDS)
}

async fn tokens(client: &Caller, used: &Used) -> Result<Vec<Value>> {
    let all = keys(client, "auth/token/accessors").await?;
    let unused = all.into_iter().filter(|accessor| !used.accessors.contains(accessor));
    Ok(unused.map(Value::from).collect())
}

/// Looks through the engines' directories.
async fn secrets(client: &Caller, used: &Used, limit: usize) -> Result<Vec<Value>> {
    let mounts = call(client, ByPath::new(Verb::Read, "sys/mounts")).await?.data;
    let (mut told, mut looked_at) = (Vec::new(), 0);
    for (mount, what) in mounts.as_object().into_iter().flatten() {
        if text(what, "type") != "kv" {
            continue;
        }
        let mount = mount.trim_end_matches('/');
        let metadata = match text(&what["options"], "version") {
            "2" => "/metadata",
            _ => "",
        };
        let mut directories = vec![String::new()];
        while let Some(directory) = directories.pop() {
            let path = format!("{mount}{metadata}/{directory}");
            for name in keys(client, path.trim_end_matches('/')).await? {
                let below = format!("{directory}{name}");
                if name.ends_with('/') {
                    directories.push(below);
                    continue;
                }
                looked_at += 1;
                if looked_at > limit {
                    note(&format!("only {limit} secrets were compared; --secrets compares more"));
                    return Ok(told);
                }
                let path = format!("{mount}/{below}");
                if !used.paths.contains(&path) {
                    told.push(Value::from(path));
                }
            }
        }
    }
    Ok(told)
}

/// The names that a list has, all pages of it. There is no list of nothing.
async fn keys(client: &Caller, path: &str) -> Result<Vec<String>> {
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let asked = ByPath::new(Verb::List, path).with(&json!({ "after": after, "limit": PAGE }));
        let answer = match client.by_path(asked).await {
            Ok(reply) => Answer::of(reply)?,
            Err(error) if error.reason() == "NOT_FOUND" => return Ok(names),
            Err(error) => return Err(error.into()),
        };
        let page: Vec<String> = answer.data["keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect();
        let is_end = page.len() < PAGE;
        // A list that knows no pages is whole, and begins as the one before did.
        let is_again = !after.is_empty() && page.first().is_some_and(|first| *first <= after);
        if !is_again {
            names.extend(page);
        }
        match names.last() {
            Some(last) if !is_end && !is_again => after.clone_from(last),
            _ => return Ok(names),
        }
    }
}

fn show(format: Format, told: &Value) -> Result<()> {
    if format == Format::Json {
        return line_json(told);
    }
    line(&format!(
        "{} records of {} days were looked at",
        told["records"], told["days"]
    ))?;
    if told["log_reaches_back"] != true {
        line("The log does not reach back so far: what is told may have been used before it begins.")?;
    }
    let list = |name: &str| told[name].as_array().cloned().unwrap_or_default();
    for policy in list("policies") {
        let rules = policy["unused"].as_array().map_or(0, Vec::len);
        line(&format!(
            "policy {}: {rules} rules were not used",
            text(&policy, "name")
        ))?;
        match policy["diff"].as_str() {
            Some(diff) => {
                // Escaped line by line: a policy is what somebody wrote.
                for text in diff.lines() {
                    line(text)?;
                }
            }
            None => {
                for rule in policy["unused"].as_array().into_iter().flatten() {
                    line(&format!("  {}", text(rule, "path")))?;
                }
            }
        }
    }
    for entity in list("entities") {
        line(&format!(
            "entity {} ({}) was not used",
            text(&entity, "name"),
            text(&entity, "id")
        ))?;
    }
    for accessor in list("tokens") {
        line(&format!("token {} was not used", accessor.as_str().unwrap_or_default()))?;
    }
    for secret in list("secrets") {
        line(&format!("secret {} was not used", secret.as_str().unwrap_or_default()))?;
    }
    for what in list("left_out") {
        line(&format!(
            "{} may not be listed by this token",
            what.as_str().unwrap_or_default()
        ))?;
    }
    Ok(())
}

/// Operations for which several things must be allowed.
const ONE_NEED_MORE: [&str; 2] = ["kv.batch-get", "identity.write"];
/// They cannot be changed.
const BUILT_IN: [&str; 2] = ["root", "default"];
/// Some two hundred megabytes.
const HELD_MAX: usize = 2_000_000;
const PAGE: usize = 1_000;
/// How a command ends that is refused.
const NOT_ALLOWED: u8 = 4;
/// A time to the second, such as 2026-11-22T17:00:00.
const SECONDS: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    fn used(events: &[Value]) -> Used {
        let mut used = Used::default();
        events.iter().for_each(|event| used.note(event, "team"));
        used
    }

    fn unused(used: &Used, text: &str) -> Vec<String> {
        let pruned = prune("app", text, |rule| used.has_used("app", rule)).unwrap();
        pruned.rules.into_iter().map(|(pattern, _)| pattern).collect()
    }

    #[test]
    fn a_rule_is_used_if_it_decided_or_nobody_can_say() {
        let text = r#"
            path "a" { capabilities = ["read"] }
            path "b" { capabilities = ["read"] }
            path "c" { capabilities = ["deny"] }
            path "{{identity.entity.id}}/d" { capabilities = ["read"] }
        "#;
        let event = |operation: &str, policy: &str, rule: &str| json!({ "operation": operation, "decision": "allowed", "deciding_policies": [policy], "rule": rule });
        assert_eq!(unused(&used(&[]), text), ["a", "b"]);
        assert_eq!(unused(&used(&[event("kv.get", "app", "a")]), text), ["b"]);
        assert_eq!(unused(&used(&[event("kv.get", "other", "a")]), text), ["a", "b"]);
        assert_eq!(unused(&used(&[event("kv.batch-get", "app", "a")]), text), [""; 0]);
        let written = json!({ "operation": "policy.write", "decision": "allowed", "path": "sys/policies/acl/app" });
        assert_eq!(unused(&used(&[written]), text), [""; 0]);
    }

    #[test]
    fn secrets_count_where_they_are() {
        let event = |namespace: &str, decision: &str| json!({ "operation": "kv.get", "decision": decision, "path": "secret/a", "fields": { "namespace": namespace } });
        for (namespace, decision, is_used) in [
            ("team", "allowed", true),
            ("team", "denied", false),
            ("team/app", "allowed", false),
            ("", "allowed", false),
        ] {
            let used = used(&[event(namespace, decision)]);
            assert_eq!(used.paths.contains("secret/a"), is_used, "{namespace} {decision}");
        }
        let batch = json!({ "operation": "kv.batch-get", "decision": "allowed", "fields": { "namespace": "team", "paths": "a\nb" } });
        let used = used(&[batch]);
        assert!(used.paths.contains("a") && used.paths.contains("b"));
    }

    #[test]
    fn what_was_made_lately_is_not_stale() {
        assert!(is_older("2001-01-01T00:00:00.000Z", 30));
        assert!(!is_older("2999-01-01T00:00:00.000Z", 30));
    }
}
