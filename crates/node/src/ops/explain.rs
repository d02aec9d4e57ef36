//! Why a token may do something, or not, for operators.

use aumbry_auth::Caller;
use aumbry_auth::token::Holder;
use aumbry_barrier::Txn;
use aumbry_logical::Object;
use aumbry_policy::{Access, with_parameters_of};
use aumbry_types::SecretBytes;
use serde_json::{Value, json};

use super::token::holder;
use crate::mounts::AuthCache;
use crate::operation::{ExplainAsk, Whose};
use crate::{Failure, Reply};

pub(super) fn explain(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    caller: &Caller,
    ask: &ExplainAsk,
) -> Result<Reply, Failure> {
    let (held, who, namespace) = match &ask.whose {
        Whose::Token(name) => {
            let Holder {
                policies,
                who,
                namespace,
            } = holder(txn, caller, name)?;
            (policies, who, namespace)
        }
        Whose::Policies(names) => {
            let names = names.iter().map(|name| name.as_str().to_owned()).collect();
            (names, None, txn.namespace())
        }
    };
    let path = format!("{}{}", auth.prefix(txn, namespace)?, ask.path);
    let identity_policies = match &who {
        Some(key) => match auth.identity_policies_of(txn, namespace, key) {
            Ok(policies) => policies,
            Err(_) => return told(gone()),
        },
        None => Vec::new(),
    };
    let set = auth.policies_for(txn, namespace, &held, who)?;
    let access = Access {
        sudo: ask.is_protected,
        wrap_ttl_s: ask.wrap_ttl_s,
        ..Access::new(&path, ask.capability, txn.now())
    };
    let explained = match &ask.parameters {
        Some(parameters) => with_parameters_of(parameters, |given| {
            let explanation = set.explain(&access.with_parameters(given));
            (explanation.to_json(), explanation.to_string())
        }),
        None => {
            let explanation = set.explain(&access);
            (explanation.to_json(), explanation.to_string())
        }
    };
    let (json, text) = explained;
    let Value::Object(mut data) = json else {
        return Err(Failure::internal("an explanation is no JSON object"));
    };
    data.insert("text".to_owned(), text.into());
    data.insert("token_policies".to_owned(), json!(held));
    data.insert("identity_policies".to_owned(), json!(identity_policies));
    told(data)
}

/// What is left to whoever was an entity that is no more.
fn gone() -> Object {
    let because = "the entity of the token is disabled or deleted, so the token is good for nothing";
    let data = json!({ "allowed": false, "reason": "entity", "because": because, "text": because });
    data.as_object().cloned().unwrap_or_default()
}

fn told(data: Object) -> Result<Reply, Failure> {
    let data = serde_json::to_vec(&data).map_err(|_| Failure::internal("the answer cannot be written as JSON"))?;
    Ok(Reply::Json {
        data: SecretBytes::new(data),
        warnings: Vec::new(),
    })
}
