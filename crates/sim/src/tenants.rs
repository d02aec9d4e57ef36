//! Namespaces beside the root: some stay, with the same paths in each; one comes and goes, again and again under the same name. Tokens of one are shown in
//! others, and what was deleted is looked for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aumbry_checker::Operation;
use aumbry_checker::invariants::{Crossing, Remnant};
use aumbry_node::{Answer, Failure, Reply};
use aumbry_sim_world::rng::Rng;
use aumbry_sim_world::{seed, strikes};
use aumbry_types::NamespacePath;
use tokio::time::sleep;

use crate::ask::{Ask, POLICY, POLICY_TEXT, directory, told_by};
use crate::client::Work;
use crate::cluster::CLIENT_HOSTS;
use crate::faults::NAMESPACE_DELETED;
use crate::gateway::{Call, Served};
use crate::operator::{Asked, ask, call, insist_on, root_call};
use crate::process::secrets;

/// A namespace with a token of its own.
#[derive(Clone)]
pub(crate) struct Tenant {
    path: String,
    pub(crate) token: Arc<Vec<u8>>,
}

impl Tenant {
    /// What the history has for it.
    pub(crate) fn directory(&self) -> String {
        directory(&self.path)
    }
}

/// The namespaces that stay, and what was seen of all.
#[derive(Default)]
pub(crate) struct Tenants {
    staying: Vec<Tenant>,
    crossings: Vec<Crossing>,
    remnants: Vec<Remnant>,
}

impl Tenants {
    /// One that stays, or none for the root.
    pub(crate) fn pick(&self, rng: &mut Rng) -> Option<Tenant> {
        // Chance is not asked where there is nothing to choose.
        (!self.staying.is_empty() && rng.percent(TENANT_PERCENT)).then(|| rng.pick(&self.staying).clone())
    }

    /// What the history has for those that stay.
    pub(crate) fn directories(&self) -> Vec<String> {
        self.staying.iter().map(Tenant::directory).collect()
    }

    /// What was seen.
    pub(crate) fn take_observed(&mut self) -> (Vec<Crossing>, Vec<Remnant>) {
        (std::mem::take(&mut self.crossings), std::mem::take(&mut self.remnants))
    }
}

/// Makes the namespaces that stay. What their tokens are refused elsewhere would say nothing if they were good for nothing at all: each is used at home.
pub(crate) async fn set_up(work: &Work) {
    for path in STAYING {
        while !make(path, "").await {}
        let token = loop {
            if let Some(token) = furnish(path).await {
                break token;
            }
        };
        work.tenants().staying.push(Tenant {
            path: path.to_owned(),
            token,
        });
    }
}

/// One namespace under one name, made and deleted until the clients stop.
pub(crate) async fn come_and_go(work: Arc<Work>) {
    let mut rng = Rng::new(seed());
    let mut dead: Option<(String, Arc<Vec<u8>>, u64)> = None;
    let is_over = || work.stops.load(Ordering::Relaxed);
    for number in 0_u64.. {
        let name = format!("{PASSING}#{number}");
        // The keys let what is tried again late do nothing: an old deletion would meet the next namespace.
        while !make(PASSING, &format!("make-{number}")).await {
            if is_over() {
                return;
            }
        }
        let token = loop {
            match furnish(PASSING).await {
                Some(token) => break token,
                None if is_over() => return,
                None => {}
            }
        };
        if let Some((name, token, at)) = &dead {
            // The root sees what is there, and the dead token what it saw before.
            look_for(&work, name, Some(*at), root_in(get(PASSING))).await;
            look_for(&work, name, Some(*at), in_passing(get(PASSING), token)).await;
            look_for(&work, name, Some(*at), in_passing(Ask::UseToken, token)).await;
            look_for(&work, name, Some(*at), in_passing(put(PASSING, work.a_value()), token)).await;
        }
        let value = work.a_value();
        // What there is to be left behind. Whether it came about is seen by the next look.
        let _ = insist_on(|| in_passing(put(PASSING, value), &token), PATIENCE).await;
        look_for(&work, &name, None, in_passing(get(PASSING), &token)).await;
        sleep(Duration::from_millis(rng.between(STAY_MS_MIN, STAY_MS_MAX))).await;
        let key = format!("delete-{number}");
        let delete = || Call {
            idempotency_key: key.clone(),
            ..root_call(Ask::NamespaceDelete(PASSING.to_owned()))
        };
        while !matches!(insist_on(delete, PATIENCE).await, Some(Ok(_))) {
            if is_over() {
                return;
            }
        }
        strikes::count(NAMESPACE_DELETED);
        let at = work.now();
        look_for(&work, &name, Some(at), in_passing(get(PASSING), &token)).await;
        look_for(&work, &name, Some(at), in_passing(Ask::UseToken, &token)).await;
        // At home it is good for nothing; in the root it never was for anything.
        look_for(&work, &name, Some(at), call(Ask::UseToken, Arc::clone(&token), String::new())).await;
        dead = Some((name, token, at));
        if is_over() {
            return;
        }
    }
}

/// Shows the tokens of the namespaces that stay in the others, until the clients stop.
pub(crate) async fn look_across(work: Arc<Work>) {
    let mut rng = Rng::new(seed());
    let staying = work.tenants().staying.clone();
    while !work.stops.load(Ordering::Relaxed) {
        let of = rng.pick(&staying).clone();
        let shown_in = (*rng.pick(&["", STAYING[0], STAYING[1], STAYING[2]])).to_owned();
        let (what, ask_for) = match rng.below(4) {
            0 => ("a secret", get(&shown_in)),
            1 => ("a list", Ask::Kv(Operation::List { directory: directory(&shown_in) })),
            2 => ("a write", put(&shown_in, work.a_value())),
            _ => ("the token", Ask::UseToken),
        };
        let is_home = NamespacePath::parse(&shown_in).is_ok_and(|path| is_within(&path, &of.path));
        if !is_home {
            let request = within(&shown_in, call(ask_for, of.token, String::new()));
            if let Some(seen) = try_once(&work, &mut rng, request).await {
                let (of, what) = (of.path, what.to_owned());
                let is_told = seen != Seen::Refused;
                work.tenants().crossings.push(Crossing {
                    of,
                    shown_in,
                    what,
                    is_told,
                });
            }
        }
        sleep(Duration::from_millis(rng.below(LOOK_MS))).await;
    }
}

/// Whether a token of one namespace is meant to be good in another.
fn is_within(path: &NamespacePath, own: &str) -> bool {
    NamespacePath::parse(own).is_ok_and(|own| path.below(&own).is_some())
}

/// Looks for what is left. The root is told that nothing is there; a token that is gone is told nothing at all.
async fn look_for(work: &Work, namespace: &str, deleted_at: Option<u64>, request: Call) {
    let is_root = secrets(|secrets| secrets.root == *request.token) == Some(true);
    let mut rng = Rng::new(seed());
    let asked_at = work.now();
    let what = format!("{:?}", request.ask);
    if let Some(seen) = try_once(work, &mut rng, request).await {
        let is_told = seen == Seen::Something || (seen == Seen::Nothing && !is_root);
        work.tenants().remnants.push(Remnant {
            namespace: namespace.to_owned(),
            deleted_at,
            asked_at,
            what,
            is_told,
        });
    }
}

/// What came of asking.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Not with this token.
    Refused,
    /// Nothing is there, which a token that is good for nothing is not told.
    Nothing,
    Something,
}

/// Asks once. Nothing if there was no answer, or one that says nothing of the store.
async fn try_once(work: &Work, rng: &mut Rng, request: Call) -> Option<Seen> {
    let Asked::Served(Served { answer, .. }) = ask(CLIENT_HOSTS[1], work.a_node(rng), request, PATIENCE).await else {
        return None;
    };
    match answer {
        Ok(_) => Some(Seen::Something),
        Err(failure) if is_refusal(&failure) => Some(Seen::Refused),
        Err(failure) if matches!(failure.reason, "NOT_FOUND" | "NO_NAMESPACE") => Some(Seen::Nothing),
        Err(failure) => told_by(&failure).map(|_| Seen::Something),
    }
}

fn is_refusal(failure: &Failure) -> bool {
    matches!(failure.reason, "TOKEN_INVALID" | "PERMISSION_DENIED")
}

/// Makes a namespace, from the root. Whether that came about; it may be there already.
async fn make(path: &str, key: &str) -> bool {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let made = insist_on(
        || {
            let asked = Call {
                idempotency_key: key.to_owned(),
                ..root_call(Ask::NamespaceMake(name.to_owned()))
            };
            within(above, asked)
        },
        PATIENCE,
    );
    matches!(made.await, Some(Ok(_)))
}

/// Gives a namespace an engine, a policy and a token, which is tried. Nothing if that did not come about.
async fn furnish(path: &str) -> Option<Arc<Vec<u8>>> {
    let insist = |ask_for: Ask| insist_on(move || within(path, root_call(ask_for.clone())), PATIENCE);
    match insist(Ask::Mount).await? {
        Ok(_) => {}
        // An earlier try made it.
        Err(failure) if failure.reason == "MOUNT_EXISTS" => {}
        Err(_) => return None,
    }
    insist(Ask::PolicyWrite(POLICY.to_owned(), POLICY_TEXT.to_owned())).await?.ok()?;
    let Ok(Answer {
        reply: Reply::NewToken(token),
        ..
    }) = insist(Ask::CreateToken { uses: 0 }).await?
    else {
        return None;
    };
    let token = Arc::new(token.token.expose().to_vec());
    let tried = insist_on(|| within(path, call(Ask::UseToken, Arc::clone(&token), String::new())), PATIENCE).await?;
    tried.is_ok().then_some(token)
}

/// The same call in a namespace.
fn within(path: &str, call: Call) -> Call {
    Call {
        namespace: NamespacePath::parse(path).expect("is a path"),
        ..call
    }
}

fn in_passing(ask_for: Ask, token: &Arc<Vec<u8>>) -> Call {
    within(PASSING, call(ask_for, Arc::clone(token), String::new()))
}

fn root_in(ask_for: Ask) -> Call {
    within(PASSING, root_call(ask_for))
}

fn get(path: &str) -> Ask {
    Ask::Kv(Operation::Get {
        key: format!("{}k0", directory(path)),
        version: None,
    })
}

fn put(path: &str, value: u64) -> Ask {
    Ask::Kv(Operation::Put {
        key: format!("{}k0", directory(path)),
        value,
        cas: None,
    })
}

/// Two that are beside each other, and one below: each comes after the one that it is in.
const STAYING: [&str; 3] = ["red", "blue", "red/low"];
/// The name of the one that comes and goes.
const PASSING: &str = "passing";
const TENANT_PERCENT: u64 = 40;
/// What is asked is tried for as long as this before it is seen whether the run is over.
const PATIENCE: Duration = Duration::from_secs(2);
const STAY_MS_MIN: u64 = 100;
const STAY_MS_MAX: u64 = 1_500;
const LOOK_MS: u64 = 150;
