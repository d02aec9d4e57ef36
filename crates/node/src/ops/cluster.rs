//! Membership. The decision is recorded first; then consensus is told.

use std::time::Duration;

use aumbry_auth::JOIN_TOKENS;
use aumbry_barrier::{Kind, ObjectOptions, Txn};
use aumbry_state::{Counters, Member, MembershipError, Put, Write, key};
use aumbry_types::{ClusterId, NodeId, ObjectId, SecretBytes};

use super::Effect;
use crate::outside::JoinRequest;
use crate::{Class, Failure, Joined, Node, OutcomeClass, Reply, Request, genesis};

/// Makes a join token: a random secret of 32 bytes; its keyed digest is the row.
pub(super) fn create_join_token(txn: &mut Txn<'_>, ttl_s: u64) -> Result<Reply, Failure> {
    if !(1..=JOIN_TTL_S_MAX).contains(&ttl_s) {
        return Err(Failure::invalid("a join token is valid for 1 second to 24 hours"));
    }
    let mut bytes = [0; 32];
    txn.entropy().fill(&mut bytes);
    let secret = SecretBytes::new(bytes.to_vec());
    let options = ObjectOptions {
        expires_at: txn.now().plus_ms(ttl_s * 1_000).0,
        counters: Counters::Set([0, 0]),
        container: JOIN_TOKENS,
    };
    txn.put_object(join_token_id(txn, &secret), Kind::JoinToken, b"join", options);
    Ok(Reply::JoinToken(secret))
}

/// Admits a node that shows a join token: the token is used up, the node gets the next id and a certificate for its key.
pub(crate) fn join(node: &Node, txn: &mut Txn<'_>, request: &JoinRequest) -> Result<(Reply, Effect), Failure> {
    check(request)?;
    let token = join_token_id(txn, &request.secret);
    let now = txn.now().0;
    let object = txn
        .read_object(token, Kind::JoinToken)?
        .filter(|object| object.expires_at > now);
    if object.is_none() {
        return Err(Failure::new(
            Class::Unauthenticated,
            "JOIN_TOKEN_INVALID",
            "the join token is unknown, used or expired; make a new one with `aumbry operator join-token`",
        ));
    }
    if node.clocks.is_off() {
        return Err(Failure::new(
            Class::FailedPrecondition,
            "CLOCK_OFF",
            "the leader's clock is more than 30 s off those of the other voters, so it admits no node: set its clock, or hand leadership to another node with `aumbry operator transfer`",
        ));
    }
    txn.delete_object(token);
    let row = txn.read_row(&key::node_ids())?;
    let last = row.map_or(1, |row| row.counters[0]);
    let id = NodeId(last + 1);
    txn.write(Write::Put(Put {
        key: key::node_ids(),
        kind: Kind::Cluster as u8,
        expires_at: 0,
        counters: Counters::Set([id.0, 0]),
        key_term: 0,
        container: ObjectId::well_known(0),
        body: bytes::Bytes::new(),
    }));
    let facts = genesis::read_facts(txn).ok_or_else(Failure::uninitialised)?;
    let authority = genesis::authority_key(txn)?;
    let cluster_id: ClusterId = facts.cluster_id;
    let certificate = (node.outside.sign_node)(&authority, &facts.authority, cluster_id, id, &request.spki)
        .map_err(|_| Failure::invalid("the node's public key cannot be certified; it must be an ECDSA P-256 key"))?;
    let member = Member {
        id,
        name: request.name.clone(),
        peer_addr: request.peer_addr.clone(),
        client_addr: request.client_addr.clone(),
        spki_pin: aumbry_crypto::sha256(&[&request.spki]),
        region: request.region.clone(),
        zone: request.zone.clone(),
        voter: false,
        matched: None,
    };
    let joined = Joined {
        node_id: id.0,
        cluster_id: cluster_id.to_string(),
        certificate,
        authority: facts.authority,
    };
    Ok((Reply::Joined(joined), Effect::AddLearner(member)))
}

/// Tells consensus.
pub(super) async fn change(node: &Node, request: &Request, effect: Effect) -> Result<(), Failure> {
    let consensus = &node.consensus;
    let effect = match effect {
        Effect::Transfer(to) => Effect::Transfer(Some(unsealed_voter(node, to).await?)),
        other => other,
    };
    let changing = match effect {
        Effect::AddLearner(member) => consensus.add_learner(member),
        Effect::Promote(id) => consensus.promote(id),
        Effect::Remove(id) => consensus.remove(id),
        Effect::Transfer(to) => consensus.transfer(to),
        Effect::None | Effect::ReadAudit { .. } | Effect::QueryAudit(_) | Effect::Checkpoint | Effect::Proof(_) => {
            return Ok(());
        }
    };
    let deadline = request.deadline + Duration::ZERO;
    match tokio::time::timeout_at(deadline, changing).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failure(&error)),
        Err(_) => Err(Failure::unknown(
            Class::DeadlineExceeded,
            "no quorum answered; see `aumbry operator members`",
        )),
    }
}

/// The voter that takes over: the one that is named, or the one that holds most of the log. A sealed leader would serve nobody.
async fn unsealed_voter(node: &Node, to: Option<NodeId>) -> Result<NodeId, Failure> {
    let status = node.consensus.status();
    let is_wanted = |member: &&Member| match to {
        Some(to) => member.id == to,
        None => member.voter && member.id != status.node,
    };
    let mut candidates: Vec<&Member> = status.members.iter().filter(is_wanted).collect();
    candidates.sort_by_key(|member| std::cmp::Reverse(member.matched));
    if candidates.is_empty() {
        return Err(failure(&match to {
            Some(_) => MembershipError::UnknownNode,
            None => MembershipError::Refused("there is no other voter".to_owned()),
        }));
    }
    for member in candidates {
        let state = (node.outside.ask_peer)(member.id).await;
        if state.is_some_and(|state| state.unsealed) || member.id == status.node {
            return Ok(member.id);
        }
    }
    Err(Failure::new(
        Class::FailedPrecondition,
        "NO_UNSEALED_VOTER",
        "no such voter is reached and unsealed: unseal it first; see `aumbry status`",
    ))
}

fn failure(error: &MembershipError) -> Failure {
    let text = error.to_string();
    match error {
        MembershipError::NotLeader => Failure::not_leader(None),
        MembershipError::UnknownNode => Failure::new(Class::NotFound, "NO_SUCH_MEMBER", text),
        MembershipError::Lagging => Failure::new(Class::FailedPrecondition, "LAGGING", text).retry(),
        MembershipError::Refused(_) => Failure::new(Class::FailedPrecondition, "MEMBERSHIP_REFUSED", text),
        MembershipError::Unknown(_) => {
            let mut failure = Failure::new(Class::Unavailable, "OUTCOME_UNKNOWN", text);
            failure.outcome = OutcomeClass::Unknown;
            failure
        }
    }
}

fn check(request: &JoinRequest) -> Result<(), Failure> {
    let is_bad = |text: &str, max: usize| text.is_empty() || text.len() > max || text.chars().any(char::is_control);
    if is_bad(&request.name, 64) || is_bad(&request.peer_addr, 255) || is_bad(&request.client_addr, 255) {
        return Err(Failure::invalid(
            "a node has a name of at most 64 bytes and two addresses of at most 255",
        ));
    }
    if request.region.len() > 64 || request.zone.len() > 64 || request.spki.len() > 1_024 {
        return Err(Failure::invalid(
            "region and zone have at most 64 bytes, the public key at most 1,024",
        ));
    }
    Ok(())
}

fn join_token_id(txn: &Txn<'_>, secret: &SecretBytes) -> ObjectId {
    let digest = aumbry_crypto::mac16(txn.barrier().keyring().tokens(), &[b"join", secret.expose()]);
    ObjectId::from_bytes(digest)
}

/// A day: long enough to build a machine, short enough to be forgotten without harm.
const JOIN_TTL_S_MAX: u64 = 86_400;
