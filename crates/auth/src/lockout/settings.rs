//! When somebody is locked, as a mount is set to.

use aumbry_logical::Body;
use serde::{Deserialize, Serialize};

use crate::answer::Error;

/// When a user is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lockout {
    /// After so many failed logins, one after the other.
    pub threshold: u64,
    /// For how many seconds.
    pub duration_s: u64,
    /// After how many seconds without a failed login they are forgotten.
    pub reset_s: u64,
    /// Nobody is locked, and nothing is counted.
    pub is_disabled: bool,
}

/// What to change of it; `None` leaves a setting as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// See [`Lockout::threshold`].
    pub threshold: Option<u64>,
    /// See [`Lockout::duration_s`].
    pub duration_s: Option<u64>,
    /// See [`Lockout::reset_s`].
    pub reset_s: Option<u64>,
    /// See [`Lockout::is_disabled`].
    pub is_disabled: Option<bool>,
}

impl Default for Lockout {
    /// As Vault has it.
    fn default() -> Self {
        Self {
            threshold: 5,
            duration_s: 900,
            reset_s: 900,
            is_disabled: false,
        }
    }
}

impl Lockout {
    /// Whether a user is locked after so many failed logins, the last one then.
    #[must_use]
    pub const fn is_locked(&self, (failures, last_ms): (u64, u64), now_ms: u64) -> bool {
        let is_past = now_ms.saturating_sub(last_ms) >= self.duration_s.saturating_mul(1_000);
        !self.is_disabled && failures >= self.threshold && !is_past
    }

    /// Whether a failed login begins a new count: after a lock, or after a while.
    pub(crate) const fn begins_anew(&self, (failures, last_ms): (u64, u64), now_ms: u64) -> bool {
        let is_past = now_ms.saturating_sub(last_ms) >= self.reset_s.saturating_mul(1_000);
        is_past || failures >= self.threshold
    }
}

impl Change {
    /// Reads `user_lockout_config`. A text that is empty is the default again.
    ///
    /// # Errors
    /// [`Error`]: what is no setting is refused, so that nobody takes for set what is not.
    pub fn parse(body: &Body) -> Result<Self, Error> {
        const RESET: &str = "lockout_counter_reset";
        // As some clients name it.
        const RESET_LONG: &str = "lockout_counter_reset_duration";
        let known = [
            "lockout_threshold",
            "lockout_duration",
            RESET,
            RESET_LONG,
            "lockout_disable",
        ];
        if body.object().keys().any(|name| !known.contains(&name.as_str())) {
            return Err(Error::Invalid(
                "user_lockout_config has lockout_threshold, lockout_duration, lockout_counter_reset and lockout_disable",
            ));
        }
        let default = Lockout::default();
        let or_default =
            |name: &str, value: Option<u64>, default: u64| body.get(name).map(|_| value.unwrap_or(default));
        let threshold = body.count("lockout_threshold")?;
        let duration_s = body.seconds("lockout_duration")?;
        let reset = or_default(RESET, body.seconds(RESET)?, default.reset_s);
        let reset_long = or_default(RESET_LONG, body.seconds(RESET_LONG)?, default.reset_s);
        let change = Self {
            threshold: or_default("lockout_threshold", threshold, default.threshold),
            duration_s: or_default("lockout_duration", duration_s, default.duration_s),
            reset_s: reset.or(reset_long),
            is_disabled: body.flag("lockout_disable")?,
        };
        let is_within = |value: Option<u64>, most: u64| value.is_none_or(|value| (1..=most).contains(&value));
        if !is_within(change.threshold, THRESHOLD_MAX) {
            return Err(Error::Invalid(
                "lockout_threshold is 1 to 10,000; lockout_disable turns the lockout off",
            ));
        }
        if !is_within(change.duration_s, SECONDS_MAX) || !is_within(change.reset_s, SECONDS_MAX) {
            return Err(Error::Invalid(
                "lockout_duration and lockout_counter_reset are 1 second to 1 year; lockout_disable turns the lockout off",
            ));
        }
        Ok(change)
    }

    /// Changes the settings.
    pub fn apply(&self, lockout: &mut Lockout) {
        lockout.threshold = self.threshold.unwrap_or(lockout.threshold);
        lockout.duration_s = self.duration_s.unwrap_or(lockout.duration_s);
        lockout.reset_s = self.reset_s.unwrap_or(lockout.reset_s);
        lockout.is_disabled = self.is_disabled.unwrap_or(lockout.is_disabled);
    }
}

/// More guesses than that guard nothing.
const THRESHOLD_MAX: u64 = 10_000;
/// What is counted of names that nobody knows must go by itself some day.
const SECONDS_MAX: u64 = 365 * 86_400;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn changed(config: &Value) -> Result<Lockout, Error> {
        let body = Body::parse(config.to_string().as_bytes()).expect("is a body");
        let mut lockout = Lockout {
            threshold: 7,
            ..Lockout::default()
        };
        Change::parse(&body)?.apply(&mut lockout);
        Ok(lockout)
    }

    #[test]
    fn settings_are_texts_or_numbers() {
        let found =
            changed(&json!({ "lockout_threshold": "15", "lockout_duration": "5m", "lockout_counter_reset": 30 }));
        let expected = Lockout {
            threshold: 15,
            duration_s: 300,
            reset_s: 30,
            is_disabled: false,
        };
        assert_eq!(found, Ok(expected));
        let found = changed(&json!({ "lockout_disable": "true", "lockout_counter_reset_duration": "1m" }));
        let kept = Lockout {
            threshold: 7,
            duration_s: 900,
            reset_s: 60,
            is_disabled: true,
        };
        assert_eq!(found, Ok(kept));
        assert_eq!(
            changed(&json!({ "lockout_threshold": "", "lockout_duration": "" })),
            Ok(Lockout::default())
        );
        assert_eq!(changed(&json!({})).map(|lockout| lockout.threshold), Ok(7));
    }

    #[test]
    fn what_locks_nobody_is_refused() {
        for config in [
            json!({ "lockout_threshold": 0 }),
            json!({ "lockout_threshold": 10_001 }),
            json!({ "lockout_threshold": "many" }),
            json!({ "lockout_duration": "0s" }),
            json!({ "lockout_duration": "9000h" }),
            json!({ "lockout_counter_reset": 0 }),
            json!({ "lockout_treshold": 3 }),
        ] {
            assert!(changed(&config).is_err(), "{config}");
        }
    }

    #[test]
    fn a_lock_is_for_a_while() {
        let lockout = Lockout::default();
        assert!(lockout.is_locked((5, 1_000), 900_999) && !lockout.is_locked((5, 1_000), 901_000));
        assert!(!lockout.is_locked((4, 1_000), 1_000));
        let off = Lockout {
            is_disabled: true,
            ..lockout
        };
        assert!(!off.is_locked((5, 1_000), 1_000));
    }
}
