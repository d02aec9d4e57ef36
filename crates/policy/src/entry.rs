//! What policies say about one pattern, each by itself and all together.

use std::borrow::Cow;
use std::sync::Arc;

use aumbry_types::{Capabilities, LogTime};

use crate::pattern::Pattern;
use crate::restrictions::Restrictions;

/// What all policies say about one pattern.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) pattern: Pattern,
    /// Invariant: not empty.
    pub(crate) parts: Vec<Part>,
    /// What the parts come to; nothing if that depends on the time.
    lasting: Option<Given>,
}

/// What one policy says about a pattern.
#[derive(Clone)]
pub(crate) struct Part {
    /// A place in the names.
    pub(crate) policy: usize,
    pub(crate) capabilities: Capabilities,
    pub(crate) restrictions: Option<Arc<Restrictions>>,
    pub(crate) expires: Option<LogTime>,
    /// Whether it is a deny that nobody can say the paths of, so that no other rule lifts it.
    pub(crate) is_absolute: bool,
}

/// What several policies come to.
#[derive(Clone, Default)]
pub(crate) struct Given {
    pub(crate) capabilities: Capabilities,
    /// Shared with the rule if it is of one alone.
    pub(crate) restrictions: Option<Arc<Restrictions>>,
    pub(crate) is_absolute: bool,
}

impl Entry {
    pub(crate) fn new(pattern: Pattern, parts: Vec<Part>) -> Self {
        let is_lasting = parts.iter().all(|part| part.expires.is_none());
        let lasting = is_lasting.then(|| Given::of(parts.iter()));
        Self {
            pattern,
            parts,
            lasting,
        }
    }

    /// What is said of the pattern at a moment; nothing if all of it is over.
    pub(crate) fn given(&self, now: LogTime) -> Option<Cow<'_, Given>> {
        if let Some(lasting) = &self.lasting {
            return Some(Cow::Borrowed(lasting));
        }
        self.living(now).next()?;
        Some(Cow::Owned(Given::of(self.living(now))))
    }

    pub(crate) fn living(&self, now: LogTime) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| !part.is_over(now))
    }
}

impl Part {
    pub(crate) fn is_over(&self, now: LogTime) -> bool {
        self.expires.is_some_and(|expires| now > expires)
    }
}

impl Given {
    fn of<'a>(parts: impl Iterator<Item = &'a Part>) -> Self {
        let mut given = Self::default();
        for part in parts {
            given.capabilities = given.capabilities.union(part.capabilities);
            given.is_absolute |= part.is_absolute;
            if let Some(restrictions) = &part.restrictions {
                match &mut given.restrictions {
                    None => given.restrictions = Some(Arc::clone(restrictions)),
                    Some(merged) => Arc::make_mut(merged).merge(restrictions),
                }
            }
        }
        given
    }
}
