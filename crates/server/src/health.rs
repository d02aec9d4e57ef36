//! What load balancers are told: without a token, and nothing that a client is not told without one.
//!
//! By HTTP at `/health` with Vault's codes, `/ready` and `/live`; by gRPC in the standard health service.

use std::sync::Arc;
use std::time::Duration;

use aumbry_raft::Identity;
use aumbry_state::Room;
use http::StatusCode;
use serde_json::json;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::http::{Answer, Asked, text, with_type};
use crate::lifecycle::{Lifecycle, VERSION};

/// What a node can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is in no cluster, or in one that it knows nothing of yet.
    Uninitialised,
    /// It has no keys, or gives them up because it stops.
    Sealed,
    /// It has keys, and knows no leader that reaches a quorum.
    NoLeader,
    /// It has keys, and hands requests to the leader.
    Standby,
    /// It has keys and leads.
    Active,
}

impl State {
    /// Whether requests find their way from here.
    const fn knows_leader(self) -> bool {
        matches!(self, Self::Standby | Self::Active)
    }
}

/// What a node tells of itself.
struct Health {
    state: State,
    is_initialised: bool,
    cluster: Option<String>,
    /// Whether requests are refused because of full disks.
    is_disk_full: bool,
}

impl Health {
    fn of(lifecycle: &Lifecycle) -> Self {
        let Some(member) = lifecycle.member() else {
            // While it starts and while it stops, it is a member that is not there.
            let is_initialised = Identity::is_in(lifecycle.data.path());
            return Self {
                state: if is_initialised {
                    State::Sealed
                } else {
                    State::Uninitialised
                },
                is_initialised,
                cluster: None,
                is_disk_full: lifecycle.space.room() != Room::Ample,
            };
        };
        let is_initialised = member.node.seal_status().initialised;
        let state = match (member.node.is_unsealed(), member.leader()) {
            // It gives up its keys in a moment: what comes now goes elsewhere.
            _ if lifecycle.is_stopping() => State::Sealed,
            (false, _) if !is_initialised => State::Uninitialised,
            (false, _) => State::Sealed,
            (true, None) => State::NoLeader,
            (true, Some(leader)) if leader == member.raft_id() => State::Active,
            (true, Some(_)) => State::Standby,
        };
        Self {
            state,
            is_initialised,
            cluster: Some(member.cluster().to_string()),
            is_disk_full: member.node.is_disk_full(),
        }
    }

    /// Whether requests are served here.
    const fn is_ready(&self) -> bool {
        self.state.knows_leader() && !self.is_disk_full
    }

    fn body(&self) -> String {
        let told = json!({
            "initialized": self.is_initialised,
            "sealed": matches!(self.state, State::Uninitialised | State::Sealed),
            "standby": self.state != State::Active,
            "leader_known": self.state.knows_leader(),
            "disk_full": self.is_disk_full,
            "version": VERSION,
            "cluster_id": self.cluster,
        });
        format!("{told}\n")
    }
}

/// Answers what load balancers ask; `None` for any other path.
pub(crate) fn answer(lifecycle: &Lifecycle, asked: &Asked) -> Option<Answer> {
    let health = match asked.uri().path() {
        "/health" | VAULT_PATH => {
            let health = Health::of(lifecycle);
            match status(health.state, asked.uri().query().unwrap_or_default()) {
                Ok(status) => with_type(status, JSON, health.body()),
                Err(message) => text(StatusCode::BAD_REQUEST, message),
            }
        }
        "/ready" => {
            let health = Health::of(lifecycle);
            let status = match health.is_ready() {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            with_type(status, JSON, health.body())
        }
        "/live" => text(StatusCode::OK, "alive\n"),
        _ => return None,
    };
    Some(health)
}

/// The state with the code for it, and a body in the form of Vault's.
///
/// # Errors
/// What is wrong with the query.
pub(crate) fn for_vault(lifecycle: &Lifecycle, query: &str) -> Result<(StatusCode, serde_json::Value), &'static str> {
    let health = Health::of(lifecycle);
    let status = status(health.state, query)?;
    let mut told = json!({
        "initialized": health.is_initialised,
        "sealed": matches!(health.state, State::Uninitialised | State::Sealed),
        "standby": health.state != State::Active,
        "performance_standby": false,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": lifecycle.clock.wall().0 / 1_000,
        "version": VAULT_VERSION,
        "aumbry_version": VERSION,
        "enterprise": false,
        "echo_duration_ms": 0,
        "clock_skew_ms": 0,
    });
    if let (Some(cluster), Some(told)) = (health.cluster, told.as_object_mut()) {
        told.insert("cluster_name".to_owned(), json!("aumbry"));
        told.insert("cluster_id".to_owned(), json!(cluster));
    }
    Ok((status, told))
}

/// The answer to any other path.
pub(crate) fn not_found(paths: &str) -> Answer {
    text(StatusCode::NOT_FOUND, format!("there are {paths}\n"))
}

/// The code of a state, as the query wants it.
fn status(state: State, query: &str) -> Result<StatusCode, &'static str> {
    let value = |name: &str| {
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let code = |name, default: StatusCode| match value(name) {
        None => Ok(default),
        Some(digits) => digits
            .parse()
            .ok()
            .filter(|code| CODES.contains(code))
            .and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or("a code in the query is a number from 200 to 599\n"),
    };
    let standby_ok = !matches!(value("standbyok"), None | Some("false" | "0"));
    match state {
        State::Active => code("activecode", StatusCode::OK),
        State::Standby if standby_ok => code("activecode", StatusCode::OK),
        State::Standby => code("standbycode", StatusCode::TOO_MANY_REQUESTS),
        State::NoLeader => code("haunhealthycode", no_leader()),
        State::Sealed => code("sealedcode", StatusCode::SERVICE_UNAVAILABLE),
        State::Uninitialised => code("uninitcode", StatusCode::NOT_IMPLEMENTED),
    }
}

/// Vault's code for a standby that does not reach the active node.
fn no_leader() -> StatusCode {
    StatusCode::from_u16(474).expect("474 is a status")
}

/// Keeps the standard health service up to date: `""` is the process, `aumbry` and `aumbry.ready` whether requests are served here, and
/// `aumbry.leader` whether this node leads. When the node stops, all say no, and those who watch are let go: nothing else would end their streams.
pub(crate) async fn report(mut reporter: HealthReporter, lifecycle: Arc<Lifecycle>) {
    let mut tick = tokio::time::interval(TICK);
    let mut told = [None; 4];
    loop {
        tick.tick().await;
        let is_stopping = lifecycle.is_stopping();
        let health = Health::of(&lifecycle);
        let now = [
            ("", !is_stopping),
            ("aumbry", health.is_ready()),
            ("aumbry.ready", health.is_ready()),
            ("aumbry.leader", health.state == State::Active),
        ];
        for ((service, holds), told) in now.into_iter().zip(&mut told) {
            // Whoever watches would be told each time, and not of changes alone.
            if told.replace(holds) != Some(holds) {
                let status = match holds {
                    true => ServingStatus::Serving,
                    false => ServingStatus::NotServing,
                };
                reporter.set_service_status(service, status).await;
            }
        }
        if is_stopping {
            tick.tick().await;
            for (service, _) in now {
                reporter.clear_service_status(service).await;
            }
            return;
        }
    }
}

/// The version of the interface that clients are told: they parse it, and some turn features on by it.
pub(crate) const VAULT_VERSION: &str = "1.15.0";
const JSON: &str = "application/json";
/// Where the checks of existing load balancers ask.
const VAULT_PATH: &str = "/v1/sys/health";
/// An answer below is none yet, and one above is unknown to HTTP.
const CODES: std::ops::RangeInclusive<u16> = 200..=599;
const TICK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_vaults_and_can_be_chosen() {
        use State::{Active, NoLeader, Sealed, Standby, Uninitialised};
        for (state, query, code) in [
            (Active, "", 200),
            (Standby, "", 429),
            (NoLeader, "", 474),
            (Sealed, "", 503),
            (Uninitialised, "", 501),
            (Active, "activecode=204&standbyok=true", 204),
            (Standby, "standbyok=true", 200),
            (Standby, "standbyok", 200),
            (Standby, "perfstandbyok=true&standbyok=false", 429),
            (Standby, "standbyok=true&activecode=202", 202),
            (Standby, "standbycode=203", 203),
            (NoLeader, "standbyok=true", 474),
            (NoLeader, "haunhealthycode=500", 500),
            (Sealed, "standbyok=true&sealedcode=200", 200),
            (Uninitialised, "uninitcode=200&sealedcode=x", 200),
        ] {
            assert_eq!(
                status(state, query).map(|code| code.as_u16()),
                Ok(code),
                "{state:?} {query}"
            );
        }
        for bad in [
            "sealedcode=",
            "sealedcode=199",
            "sealedcode=600",
            "sealedcode=-1",
            "sealedcode=99999999999",
        ] {
            assert!(status(Sealed, bad).is_err(), "{bad}");
        }
    }
}
