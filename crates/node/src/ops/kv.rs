//! Secrets.

use aumbry_barrier::Txn;
use aumbry_engines::kv::{self, Error, PlainRequest, Request};

use crate::mounts::Mount;
use crate::{Class, Failure, Reply};

pub(super) fn plan(txn: &mut Txn<'_>, mount: &Mount, request: &Request) -> Result<Reply, Failure> {
    kv::plan(txn, mount.root, &mount.options.kv, request)
        .map(Reply::Kv)
        .map_err(failure)
}

pub(super) fn plan_plain(txn: &mut Txn<'_>, mount: &Mount, request: &PlainRequest) -> Result<Reply, Failure> {
    kv::plan_plain(txn, mount.root, request).map(Reply::Kv).map_err(failure)
}

fn failure(error: Error) -> Failure {
    let text = error.to_string();
    match error {
        Error::NotFound => Failure::new(Class::NotFound, "NOT_FOUND", text),
        Error::CasMismatch { current } => {
            let text = format!("{text} (current version {current}); read the secret again and retry");
            Failure::new(Class::FailedPrecondition, "CAS_MISMATCH", text)
        }
        Error::CasRequired => Failure::new(Class::FailedPrecondition, "CAS_REQUIRED", text),
        Error::Unchanged { ref missing, .. } if missing.is_empty() => {
            Failure::new(Class::FailedPrecondition, "VERSION_DESTROYED", text)
        }
        Error::Unchanged { .. } => Failure::new(Class::NotFound, "NOT_FOUND", text),
        Error::Data(_) | Error::Invalid(_) => Failure::invalid(text),
        Error::Damaged(damaged) => damaged.into(),
    }
}
