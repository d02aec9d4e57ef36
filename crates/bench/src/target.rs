//! The three kinds of servers: what each operation is to them, and how they are reached.

mod aumbry;
mod etcd;
mod vault;

use std::sync::Arc;

use aumbry_types::SecretBytes;
use http::{HeaderMap, HeaderValue};

use crate::link::{Link, Templates, Wire};
use crate::rpc::RpcConnection;
use crate::sequence::Operation;
use crate::stream::Dial;
use crate::template::{RequestIds, Template};
use crate::{Channel, Error, Mix, Plan, Target};

/// Connects, and makes the requests ready: those of the mix, and writes if keys are to be written first.
pub(crate) async fn links(plan: &Plan, token: &SecretBytes, run: u64) -> Result<Vec<Arc<Link>>, Error> {
    let ids = Arc::new(RequestIds::new(run));
    let mut shared: Option<Templates> = None;
    let mut links = Vec::new();
    for position in 0..plan.connections() {
        let address = &plan.addresses[position % plan.addresses.len()];
        let wire = wire(plan, token, address).await?;
        let templates = match (&shared, plan.target) {
            (Some(templates), Target::Aumbry | Target::Etcd) => templates.clone(),
            // The head of a request by HTTP/1.1 names the server.
            _ => templates(plan, token, address)?,
        };
        shared = Some(templates.clone());
        links.push(Arc::new(Link {
            templates,
            ids: Arc::clone(&ids),
            wire,
        }));
    }
    Ok(links)
}

fn templates(plan: &Plan, token: &SecretBytes, address: &str) -> Result<Templates, Error> {
    let mut templates = Templates::default();
    for operation in Operation::ALL.into_iter().filter(|operation| is_used(plan, *operation)) {
        let bytes = match plan.target {
            Target::Aumbry => Some(aumbry::encoded(plan, operation)),
            Target::Etcd => etcd::encoded(plan, operation),
            Target::Vault => Some(vault::encoded(plan, operation, token, address)?),
        };
        templates[operation as usize] = bytes.map(|bytes| Arc::new(Template::new(bytes)));
    }
    Ok(templates)
}

async fn wire(plan: &Plan, token: &SecretBytes, address: &str) -> Result<Wire, Error> {
    let used = |operation: &Operation| is_used(plan, *operation);
    match (plan.target, plan.channel) {
        (Target::Aumbry, Channel::Sdk) => {
            let connection = crate::sdk::SdkConnection::open(address, &plan.ca_pem, token, plan.timeout).await?;
            let mut methods = Box::new([const { None }; Operation::ALL.len()]);
            for operation in Operation::ALL.into_iter().filter(used) {
                methods[operation as usize] = Some(connection.method(aumbry::method(operation))?);
            }
            Ok(Wire::Sdk(methods))
        }
        (Target::Aumbry, Channel::Http2) => {
            let metadata = header("authorization", "Bearer ", token)?;
            rpc(plan, address, metadata, |operation| Some(aumbry::method(operation))).await
        }
        (Target::Etcd, _) => rpc(plan, address, header("token", "", token)?, etcd::method).await,
        (Target::Vault, _) => {
            let dial = Dial::new(address, &plan.ca_pem, "http/1.1")?;
            Ok(Wire::Http(Box::new(crate::http1::HttpConnection::open(dial).await?)))
        }
    }
}

async fn rpc(
    plan: &Plan,
    address: &str,
    metadata: HeaderMap,
    method: impl Fn(Operation) -> Option<&'static str>,
) -> Result<Wire, Error> {
    let dial = Dial::new(address, &plan.ca_pem, "h2")?;
    let connection = RpcConnection::open(dial, metadata, plan.timeout).await?;
    let mut methods = Box::new([const { None }; Operation::ALL.len()]);
    for operation in Operation::ALL.into_iter().filter(|operation| is_used(plan, *operation)) {
        let uri = method(operation).map(|method| connection.uri(method));
        methods[operation as usize] = uri.transpose()?;
    }
    Ok(Wire::Rpc(Box::new(connection), methods))
}

/// The header with the token; none if there is no token.
fn header(name: &'static str, prefix: &str, token: &SecretBytes) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    if !token.expose().is_empty() {
        let text = [prefix.as_bytes(), token.expose()].concat();
        let mut value = HeaderValue::from_bytes(&text).map_err(|_| token_is_wrong())?;
        // It is never kept in the tables of header compression, as in the SDK.
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn token_is_wrong() -> Error {
    Error::Setting("the token holds characters that no token has".to_owned())
}

/// Whether the run makes such requests. Writes are always ready: keys may be written first.
const fn is_used(plan: &Plan, operation: Operation) -> bool {
    match operation {
        Operation::Write => true,
        Operation::Read => matches!(plan.mix, Mix::Read | Mix::Mixed),
        Operation::List => matches!(plan.mix, Mix::List),
        Operation::Token => matches!(plan.mix, Mix::Token),
        Operation::Login => matches!(plan.mix, Mix::Login),
    }
}

/// Names in one list.
const LIST_LIMIT: u32 = 1_000;
/// How long a token lives that a run created: longer than a run, and not much.
const TOKEN_TTL_S: u64 = 600;
