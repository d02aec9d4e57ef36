//! How long a token lives: Vault's rules, in log time.

/// What decides until when a token lives.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lifetime {
    /// For how many seconds from now; 0 is the default.
    pub(super) wanted_s: u64,
    /// The most seconds from its issue, by a role or user; 0 is the system's limit.
    pub(super) max_s: u64,
    /// The most seconds from its issue, by its creator; 0 is without.
    pub(super) explicit_max_s: u64,
    /// For how many seconds each renewal is; 0 for a token that is not periodic.
    pub(super) period_s: u64,
}

impl Lifetime {
    /// When a token that was issued then expires, if it is created or renewed now. It is never 0, which would mean "never".
    ///
    /// A periodic token has no end but its explicit limit; any other never outlives the least of all limits.
    pub(super) fn end(self, issued_ms: u64, now_ms: u64) -> u64 {
        let mut max_s = TTL_S_MAX;
        for limit_s in [self.max_s, self.explicit_max_s] {
            if limit_s > 0 {
                max_s = max_s.min(limit_s);
            }
        }
        let (ttl_s, limit_s) = if self.period_s > 0 {
            // One period is as long as any other token can live, at most.
            (self.period_s.min(max_s), self.explicit_max_s)
        } else if self.wanted_s > 0 {
            (self.wanted_s, max_s)
        } else {
            (TTL_S_DEFAULT, max_s)
        };
        let end = plus_s(now_ms, ttl_s);
        let end = if limit_s > 0 {
            end.min(plus_s(issued_ms, limit_s))
        } else {
            end
        };
        end.max(1)
    }

    /// For how many seconds a token is issued.
    pub(super) fn seconds(self) -> u64 {
        self.end(0, 0) / 1_000
    }
}

const fn plus_s(ms: u64, seconds: u64) -> u64 {
    ms.saturating_add(seconds.saturating_mul(1_000))
}

/// 32 days, as Vault's default.
pub const TTL_S_DEFAULT: u64 = 768 * 3_600;
/// No token but root and periodic ones lives longer than this without a new login, however often it is renewed.
pub const TTL_S_MAX: u64 = 768 * 3_600;
