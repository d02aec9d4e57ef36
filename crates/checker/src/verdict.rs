//! What the search for an order found.

use core::fmt;

/// How far one search may go. Each secret, token tree and wrapping has a search of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many times an operation may be tried at a place of the order.
    pub steps: u64,
    /// About how many bytes may be spent on remembering what was tried.
    pub bytes: usize,
}

/// Whether the answers can be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "only `Linearizable` is a pass"]
pub enum Verdict {
    /// Every part has an order that explains its answers.
    Linearizable,
    /// One part has none.
    Violation(Box<Violation>),
    /// The budget ran out first, and no other part has a violation.
    Unknown {
        /// The parts that were not decided.
        parts: Vec<String>,
    },
}

/// Answers that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The secret, token or wrapping that they are about.
    pub part: String,
    /// How many answers about it, in the order in which they came, suffice. Without the last of them there is an order, or the budget
    /// ran out before that was decided.
    pub prefix: usize,
    /// The position in the history of the operation with that last answer.
    pub last: usize,
    /// The same operation in words.
    pub last_text: String,
    /// The longest order that was found, as positions in the history.
    pub ordered: Vec<usize>,
    /// The end of that order in words.
    pub ordered_text: Vec<String>,
    /// The state after it.
    pub state: String,
    /// Those of which one had to come next, and none can.
    pub stuck: Vec<Stuck>,
}

/// An operation that cannot come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Its position in the history.
    pub position: usize,
    /// It, and what it was told, in words.
    pub text: String,
    /// What it would be told here.
    pub would: String,
}

impl Budget {
    /// The budget of a test that is run often: some seconds and some 100 MiB at the very most for one part.
    #[must_use]
    pub const fn standard() -> Self {
        Self {
            steps: STEPS,
            bytes: BYTES,
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::standard()
    }
}

impl Verdict {
    /// The violation, if there is one.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        match self {
            Self::Violation(violation) => Some(violation),
            Self::Linearizable | Self::Unknown { .. } => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable => f.write_str("linearizable"),
            Self::Violation(violation) => violation.fmt(f),
            Self::Unknown { parts } => write!(f, "not decided within the budget: {}", parts.join(", ")),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "no order explains the first {} answers about {}",
            self.prefix, self.part
        )?;
        writeln!(f, "  the last of them: {}", self.last_text)?;
        writeln!(f, "  the longest order ends with:")?;
        for line in &self.ordered_text {
            writeln!(f, "    {line}")?;
        }
        writeln!(f, "  after which: {}", self.state)?;
        writeln!(f, "  one of these had to come next:")?;
        for stuck in &self.stuck {
            writeln!(f, "    {}; would be told {}", stuck.text, stuck.would)?;
        }
        Ok(())
    }
}

/// A step takes some 0.2 us.
const STEPS: u64 = 20_000_000;
const BYTES: usize = 256 << 20;
