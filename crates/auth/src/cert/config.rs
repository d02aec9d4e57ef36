//! How the method is set up.

use aumbry_logical::{Body, Object};
use serde::{Deserialize, Serialize};

use crate::answer::{Error, object};
use crate::kept;

/// How the method is set up. Nothing has to be.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Config {
    /// Whether tokens are renewed without the certificate that they were given for.
    pub(super) disable_binding: bool,
    /// Whether an authority whose list of revoked certificates is missing, or is out of date, lets nobody in.
    pub(super) require_crl: bool,
}

impl kept::Stored for Config {}

impl kept::Config for Config {
    fn parse(body: &Body, _before: Option<&Self>) -> Result<Self, Error> {
        Ok(Self {
            disable_binding: body.flag("disable_binding")?.unwrap_or_default(),
            require_crl: body.flag("require_crl")?.unwrap_or_default(),
        })
    }

    fn render(&self) -> Object {
        object([
            ("disable_binding", self.disable_binding.into()),
            ("require_crl", self.require_crl.into()),
        ])
    }
}
