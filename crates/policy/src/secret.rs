//! What a `secret` block means: rules on the routes of a versioned key-value engine. The crate's documentation has
//! the table.

use aumbry_types::{Capabilities, Capability};

use crate::error::Reason;

/// The pattern of the secrets, split where the route goes in between.
pub(crate) struct Target<'a> {
    mount: &'a str,
    below: &'a str,
}

impl<'a> Target<'a> {
    /// Splits a pattern, which may have templates, after the mount, which is the first segment unless it is given.
    ///
    /// # Errors
    /// [`Reason::NoMount`] if the pattern is not below a mount that has no wildcard and no template.
    pub(crate) fn split(text: &'a str, mount: Option<&str>) -> Result<Self, Reason> {
        let at = match mount {
            Some(mount) => mount.strip_suffix('/').unwrap_or(mount).len(),
            None => text.find('/').ok_or(Reason::NoMount)?,
        };
        let (begin, rest) = text.split_at_checked(at).ok_or(Reason::NoMount)?;
        let below = rest.strip_prefix('/').ok_or(Reason::NoMount)?;
        let is_given = mount.is_none_or(|m| m.strip_suffix('/').unwrap_or(m) == begin);
        if begin.is_empty() || begin.contains(['+', '*', '{']) || !is_given {
            return Err(Reason::NoMount);
        }
        Ok(Self { mount: begin, below })
    }

    /// The pattern and the capabilities on each route that gets any.
    ///
    /// # Errors
    /// [`Reason::NotForSecrets`] for a capability that has no meaning here.
    pub(crate) fn expand(&self, capabilities: Capabilities) -> Result<Vec<(String, Capabilities)>, Reason> {
        let mut routes = ROUTES.map(|route| (route, Capabilities::NONE));
        for capability in capabilities.iter() {
            for (route, granted) in &mut routes {
                if let Some(on_route) = meaning(capability, *route)? {
                    *granted = granted.with(on_route);
                }
            }
        }
        Ok(routes
            .into_iter()
            .filter(|(_, granted)| !granted.is_empty())
            .map(|(route, granted)| {
                let text = format!("{}/{}/{}", self.mount, route.as_str(), self.below);
                (text, granted)
            })
            .collect())
    }
}

/// What a capability on a secret gives on one route.
fn meaning(capability: Capability, route: Route) -> Result<Option<Capability>, Reason> {
    use Capability::{Create, Delete, Deny, List, Patch, Read, Scan, Subscribe, Sudo, Update};
    Ok(match (capability, route) {
        (Deny, _) => Some(Deny),
        (Read | Create | Update | Patch, Route::Data) | (List | Scan, Route::Metadata) => Some(capability),
        (Delete, Route::Data | Route::Metadata) => Some(Delete),
        (Delete, Route::Delete | Route::Undelete | Route::Destroy) => Some(Update),
        (Sudo | Subscribe, _) => return Err(Reason::NotForSecrets),
        _ => None,
    })
}

/// The first segment below the mount of a versioned key-value engine.
#[derive(Clone, Copy)]
enum Route {
    Data,
    Metadata,
    Delete,
    Undelete,
    Destroy,
    Subkeys,
}

impl Route {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Metadata => "metadata",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Destroy => "destroy",
            Self::Subkeys => "subkeys",
        }
    }
}

/// All of them.
const ROUTES: [Route; 6] = [
    Route::Data,
    Route::Metadata,
    Route::Delete,
    Route::Undelete,
    Route::Destroy,
    Route::Subkeys,
];
