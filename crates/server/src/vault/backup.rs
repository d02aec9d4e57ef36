//! A backup of everything, as a stream: never more of it in memory than a few parts.

use aumbry_api::{Operation as _, Reply as _, failure_of, v1};
use aumbry_node::Evidence;
use aumbry_types::{LogIndex, NamespacePath};
use futures::StreamExt as _;
use http::{HeaderValue, header};
use hyper::body::Frame;
use tokio::time::Instant;
use tonic::Status;

use super::answer::{self, Answer};
use crate::services::Services;

/// Gives a backup, once the leader has admitted the request for it.
pub(super) async fn answer(
    services: &Services,
    namespace: &NamespacePath,
    evidence: Evidence,
    deadline: Instant,
) -> Answer {
    let mut call = v1::SnapshotSaveRequest::default().into_call();
    if let Some(header) = call.header_mut() {
        namespace.as_str().clone_into(&mut header.namespace);
    }
    let admitted = match services.gateway.serve(call, evidence, deadline).await {
        Ok(answer) => v1::SnapshotSaveReply::from_answer(answer),
        Err(failure) => return answer::of_failure(&failure),
    };
    let header = admitted.and_then(|reply| reply.header).unwrap_or_default();
    let parts = match services.send_backup(LogIndex(header.index)).await {
        Ok(parts) => parts,
        Err(status) => return answer::of_failure(&failure_of(&status)),
    };
    // One that ends without the part that says so breaks off, so that nobody takes it for the whole.
    let parts = parts
        .chain(futures::stream::iter([Err(Status::aborted("the backup is not whole"))]))
        .scan(false, |is_over, part| {
            let part = match part {
                _ if *is_over => None,
                Ok(part) if part.end => {
                    *is_over = true;
                    None
                }
                Ok(part) => Some(Ok(Frame::data(part.data))),
                Err(status) => {
                    *is_over = true;
                    Some(Err(status))
                }
            };
            std::future::ready(part)
        });
    let mut answer = answer::stream("application/octet-stream", Box::pin(parts));
    let name = HeaderValue::from_static("attachment; filename=\"aumbry.snapshot\"");
    answer.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    answer
}
