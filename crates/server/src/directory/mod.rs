//! Questions to directories: LDAP by TLS, or to this machine; one connection each, bounded in time and length.
//!
//! What it guarantees: a password goes to nobody but a directory whose certificate is of the authority that was configured, or of one that the
//! machine trusts, or that runs on this machine; never an empty one, which directories take for nobody's; nobody sends us elsewhere, as references
//! are passed over and referrals are no answers; an answer that is late, long or malformed is none, and ends nothing but its question.
//! What it does not do: decide who gets in. What it is told becomes a part of a plan, or not.

mod frame;
mod link;
#[cfg(test)]
mod tests;

use aumbry_auth::ldap::{Find, Groups, Known, Question, Search, Service, WRONG_PASSWORD, first_cn};
use aumbry_node::{DirectoryAnswer, DirectoryError};
use aumbry_types::SecretBytes;
use ldap3::{DerefAliases, Scope, SearchEntry, SearchOptions};
use tokio::task::JoinSet;

use self::link::Link;

/// Asks a directory.
pub(crate) async fn ask(question: Question) -> Result<DirectoryAnswer, DirectoryError> {
    let timeout = question.timeout;
    // The client panics at some answers that are malformed: on a task of its own that ends this question alone.
    let mut asking = JoinSet::new();
    asking.spawn(ask_in_turn(question));
    match tokio::time::timeout(timeout, asking.join_next()).await {
        Ok(Some(Ok(answer))) => answer,
        Ok(_) => Err(DirectoryError::Answer("it cannot be read".to_owned())),
        Err(_) => Err(DirectoryError::Late),
    }
}

/// The length of the first message, once all of it is there.
pub(crate) fn fuzzing(bytes: &[u8]) -> Result<Option<usize>, String> {
    frame::message(bytes).map_err(|unfit| format!("{unfit:?}"))
}

/// Asks the first server that can be reached.
async fn ask_in_turn(question: Question) -> Result<DirectoryAnswer, DirectoryError> {
    // One that hangs leaves the others their part of the time.
    let part = question.timeout / u32::try_from(question.places.len().max(1)).unwrap_or(1);
    let mut why = DirectoryError::Unreachable("there is no address".to_owned());
    for place in &question.places {
        let opening = link::open(place, question.is_starttls, &question.authority_pem);
        match tokio::time::timeout(part, opening).await {
            Ok(Ok(mut link)) => {
                return converse(&mut link, &question)
                    .await
                    .map_err(|error| link.explain(error));
            }
            Ok(Err(error)) => why = error,
            Err(_) => why = DirectoryError::Late,
        }
    }
    Err(why)
}

async fn converse(link: &mut Link, question: &Question) -> Result<DirectoryAnswer, DirectoryError> {
    let wanted = [question.alias_attribute.as_str()];
    let mut found = None;
    let bind_as = match &question.find {
        Find::Search(search) => {
            bind_service(link, question.service.as_ref()).await?;
            let entry = match only(subtree(link, search, &wanted, USERS_MAX).await?) {
                Ok(entry) => entry,
                Err(why) => {
                    bind_nobody(link, search, &question.password).await?;
                    return Ok(Err(why));
                }
            };
            let dn = entry.dn.clone();
            found = Some(entry);
            dn
        }
        Find::At(dn) | Find::As(dn, _) => dn.clone(),
    };
    if let Err(why) = bind_user(link, &bind_as, &question.password).await? {
        return Ok(Err(why));
    }
    bind_service(link, question.service.as_ref()).await?;
    let entry = match (found, &question.find) {
        (Some(entry), _) => entry,
        (None, Find::As(_, search)) => match only(subtree(link, search, &wanted, USERS_MAX).await?) {
            Ok(entry) => entry,
            Err(why) => return Ok(Err(why)),
        },
        // Some may log in and not read their own entry: then they have no name but the one that they typed.
        (None, Find::At(_) | Find::Search(_)) => {
            let itself = Search {
                base: bind_as.clone(),
                filter: "(objectClass=*)".to_owned(),
            };
            let mut itself = run(link, &itself, Scope::Base, &wanted, USERS_MAX).await?;
            let entry = itself.entries.pop().unwrap_or_else(|| empty_entry(&bind_as));
            SearchEntry { dn: bind_as, ..entry }
        }
    };
    let names = match values(&entry, &question.alias_attribute) {
        Ok(names) => names,
        Err(why) => return Ok(Err(why)),
    };
    let groups = match &question.groups {
        Some(groups) => match groups_of(link, groups, &entry.dn).await? {
            Ok(groups) => groups,
            Err(why) => return Ok(Err(why)),
        },
        None => Vec::new(),
    };
    Ok(Ok(Known {
        dn: entry.dn,
        names,
        groups,
    }))
}

/// Whoever searches shows who it is. Without such an account, nobody does before the login, and the user after it.
async fn bind_service(link: &mut Link, service: Option<&Service>) -> Result<(), DirectoryError> {
    let Some(service) = service else { return Ok(()) };
    match bind(link, &service.dn, &service.password).await? {
        SUCCESS => Ok(()),
        code => Err(DirectoryError::Answer(format!(
            "it does not take binddn and bindpass (code {code})"
        ))),
    }
}

/// Whether the directory takes the password for the user's.
async fn bind_user(
    link: &mut Link,
    dn: &str,
    password: &SecretBytes,
) -> Result<Result<(), &'static str>, DirectoryError> {
    // Either would be nobody's login, which succeeds.
    if dn.is_empty() || password.is_empty() {
        return Ok(Err("no password"));
    }
    match bind(link, dn, password).await? {
        SUCCESS => Ok(Ok(())),
        INVALID_CREDENTIALS => Ok(Err(WRONG_PASSWORD)),
        // It was understood, and is not taken: an account that is locked, disabled, of no password, or not there.
        19 | 32 | 34 | 48 | 50 | 53 => Ok(Err("not taken")),
        code => Err(DirectoryError::Answer(format!(
            "it answers with code {code} to a password"
        ))),
    }
}

/// Tries the password of somebody who is not there, at a place where nobody is. Whatever comes of it is nothing: it is asked so that a name that is not known
/// costs as many questions as a password that is wrong.
async fn bind_nobody(link: &mut Link, search: &Search, password: &SecretBytes) -> Result<(), DirectoryError> {
    let dn = match search.base.as_str() {
        "" => NOBODY.to_owned(),
        base => format!("{NOBODY},{base}"),
    };
    bind(link, &dn, password).await.map(drop)
}

async fn bind(link: &mut Link, dn: &str, password: &SecretBytes) -> Result<u32, DirectoryError> {
    // The client does not wipe what it sends.
    let password = password.expose_str().unwrap_or_default();
    let answer = link.ldap.simple_bind(dn, password).await;
    answer.map(|answer| answer.rc).map_err(unreachable)
}

/// What a search found.
struct Found {
    entries: Vec<SearchEntry>,
    /// There are more than were asked for.
    is_cut: bool,
}

async fn subtree(link: &mut Link, search: &Search, wanted: &[&str], limit: usize) -> Result<Found, DirectoryError> {
    let mut found = run(link, search, Scope::Subtree, wanted, limit).await?;
    // An entry without a name could be nobody's login.
    found.entries.retain(|entry| !entry.dn.is_empty());
    Ok(found)
}

async fn run(
    link: &mut Link,
    search: &Search,
    scope: Scope,
    wanted: &[&str],
    limit: usize,
) -> Result<Found, DirectoryError> {
    let options = SearchOptions::new()
        .deref(DerefAliases::Never)
        .sizelimit(i32::try_from(limit).unwrap_or(i32::MAX));
    let searching = link.ldap.with_search_options(options);
    let mut stream = searching
        .streaming_search(&search.base, scope, &search.filter, wanted)
        .await
        .map_err(unreachable)?;
    let mut entries = Vec::new();
    while let Some(entry) = stream.next().await.map_err(unreachable)? {
        // What lies elsewhere is not this directory's to say.
        if entry.is_ref() || entry.is_intermediate() {
            continue;
        }
        if entries.len() >= limit {
            return Err(DirectoryError::TooLong);
        }
        entries.push(SearchEntry::construct(entry));
    }
    let is_own = matches!(scope, Scope::Base);
    match stream.finish().await.rc {
        SUCCESS => Ok(Found { entries, is_cut: false }),
        SIZE_LIMIT => Ok(Found { entries, is_cut: true }),
        NO_SUCH_OBJECT | NO_ACCESS if is_own => Ok(Found {
            entries: Vec::new(),
            is_cut: false,
        }),
        NO_SUCH_OBJECT => Err(DirectoryError::Answer(
            "there is no userdn or groupdn, or it is not shown".to_owned(),
        )),
        code => Err(DirectoryError::Answer(format!(
            "it answers with code {code} to a search"
        ))),
    }
}

/// The one entry of a user.
fn only(found: Found) -> Result<SearchEntry, &'static str> {
    let mut entries = found.entries.into_iter();
    match (entries.next(), entries.next()) {
        (Some(entry), None) if !found.is_cut => Ok(entry),
        (None, _) if !found.is_cut => Err("unknown user"),
        _ => Err("ambiguous user"),
    }
}

async fn groups_of(
    link: &mut Link,
    groups: &Groups,
    user_dn: &str,
) -> Result<Result<Vec<String>, &'static str>, DirectoryError> {
    let search = Search {
        base: groups.base.clone(),
        filter: groups.filter(user_dn),
    };
    let found = subtree(link, &search, &[&groups.attribute], GROUPS_MAX).await?;
    if found.is_cut {
        return Ok(Err("too many groups"));
    }
    let mut names = Vec::new();
    for entry in found.entries {
        let of_entry = match values(&entry, &groups.attribute) {
            Ok(values) => values,
            Err(why) => return Ok(Err(why)),
        };
        let is_nameless = of_entry.is_empty();
        for name in of_entry.into_iter().chain(is_nameless.then_some(entry.dn)) {
            names.push(first_cn(&name).unwrap_or(name));
        }
        if names.len() > GROUPS_MAX {
            return Ok(Err("too many groups"));
        }
    }
    Ok(Ok(names))
}

/// What an entry has for an attribute. Attributes have their names in any case.
fn values(entry: &SearchEntry, attribute: &str) -> Result<Vec<String>, &'static str> {
    let is_same = |name: &str| name.eq_ignore_ascii_case(attribute);
    // A part of the values, as Active Directory gives more than 1,500.
    let is_part = |name: &str| name.split_once(';').is_some_and(|(name, _)| is_same(name));
    if entry.attrs.keys().any(|name| is_part(name)) {
        return Err("too many values");
    }
    if entry.bin_attrs.keys().any(|name| is_same(name)) {
        return Err("a value is no text");
    }
    let mut found = entry.attrs.iter().filter(|(name, _)| is_same(name));
    Ok(found.next().map(|(_, values)| values.clone()).unwrap_or_default())
}

fn empty_entry(dn: &str) -> SearchEntry {
    SearchEntry {
        dn: dn.to_owned(),
        attrs: std::collections::HashMap::new(),
        bin_attrs: std::collections::HashMap::new(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn unreachable(error: ldap3::LdapError) -> DirectoryError {
    DirectoryError::Unreachable(error.to_string())
}

/// Nobody's name. If somebody gave an entry this name nobody gets in by it either.
const NOBODY: &str = "cn=aumbry-nobody-0f6a1c52";
/// Result codes (RFC 4511, appendix A).
const SUCCESS: u32 = 0;
const SIZE_LIMIT: u32 = 4;
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_CREDENTIALS: u32 = 49;
const NO_ACCESS: u32 = 50;
/// One, and one more to see that it is not the only one.
const USERS_MAX: usize = 2;
/// As tokens of issuers name at most.
const GROUPS_MAX: usize = 1_000;
