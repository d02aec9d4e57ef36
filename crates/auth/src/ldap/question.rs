//! What a directory is asked at a login, and what it answers.

use std::time::Duration;

use aumbry_types::SecretBytes;

use super::login::Verified;
use super::place::Place;
use super::template::{self, Values};

/// All that is needed to ask a directory about a name and a password.
pub struct Question {
    /// Servers with the same tree. One is asked; the next if it cannot be reached.
    pub places: Vec<Place>,
    /// Whether TLS begins within a connection that began without it.
    pub is_starttls: bool,
    /// Certificates in PEM, of which one must have signed the server's; nothing for those that the machine trusts.
    pub authority_pem: String,
    /// How long all of it takes at most.
    pub timeout: Duration,
    /// Who searches; nothing for nobody, or for the user, once it is known.
    pub service: Option<Service>,
    /// As whom somebody wants to log in.
    pub find: Find,
    /// Its password; never empty.
    pub password: SecretBytes,
    /// What users are known by: an attribute of their entries.
    pub alias_attribute: String,
    /// Which groups it is in; nothing if the directory is not asked that.
    pub groups: Option<Groups>,
}

impl Question {
    /// The servers, for logs.
    #[must_use]
    pub fn url(&self) -> String {
        let places: Vec<String> = self.places.iter().map(ToString::to_string).collect();
        places.join(",")
    }
}

/// An account that searches.
pub struct Service {
    /// Its name in the tree.
    pub dn: String,
    /// Its password.
    pub password: SecretBytes,
}

/// How the entry of a user is found.
pub enum Find {
    /// It is searched before its password is tried.
    Search(Search),
    /// It stands at this place.
    At(String),
    /// The directory knows it by this name, and is asked afterwards where it stands.
    As(String, Search),
}

/// A search through the tree.
pub struct Search {
    /// Where it begins.
    pub base: String,
    /// What is looked for.
    pub filter: String,
}

/// Which groups somebody is in.
pub struct Groups {
    /// Where the search begins.
    pub base: String,
    /// What a group's name stands in.
    pub attribute: String,
    /// The filter, with its places.
    pub(super) template: String,
    pub(super) user_attr: String,
    pub(super) username: String,
}

impl Groups {
    /// The filter, for the user who stands at this place.
    #[must_use]
    pub fn filter(&self, user_dn: &str) -> String {
        let values = Values {
            user_attr: &self.user_attr,
            username: &self.username,
            user_dn,
        };
        template::fill(&self.template, &values)
    }
}

/// What a directory says of somebody whose password it took.
#[derive(Debug)]
pub struct Known {
    /// Where its entry stands.
    pub dn: String,
    /// What the entry has for the attribute that users are known by.
    pub names: Vec<String>,
    /// The groups it is in.
    pub groups: Vec<String>,
}

/// What is to be asked, by the configuration of now.
pub struct Challenge {
    pub(super) basis: [u8; 32],
    /// What the directory is to be asked; without it, why nobody is asked.
    pub question: Result<Question, &'static str>,
}

impl Challenge {
    /// What became of it: what the directory said, or why it refused.
    #[must_use]
    pub const fn conclude(basis: [u8; 32], found: Result<Known, &'static str>) -> Verified {
        Verified::of(basis, found)
    }

    /// The question, and what its answer rests on.
    ///
    /// # Errors
    /// What became of it already.
    pub fn begin(self) -> Result<(Question, [u8; 32]), Verified> {
        let basis = self.basis;
        match self.question {
            Ok(question) => Ok((question, basis)),
            Err(why) => Err(Verified::of(basis, Err(why))),
        }
    }
}
