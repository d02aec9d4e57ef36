use std::fmt;
use std::fmt::Write as _;

use sha2::Digest;
use sha2::Sha256;

use super::QuorumTreeSpec;
use crate::CanonicalId;
use crate::tree::canonical_id::MAX_CANONICAL_ID_LEN;

impl<ID> CanonicalId for QuorumTreeSpec<ID>
where ID: Ord + CanonicalId
{
    fn fmt_canonical_id<W>(&self, f: &mut W) -> fmt::Result
    where W: fmt::Write + ?Sized {
        write!(f, "{}/", self.quorum_size)?;

        let mut s = String::new();
        write!(&mut s, "(")?;

        for (i, node) in self.nodes.iter().enumerate() {
            if i > 0 {
                write!(&mut s, ",")?;
            }
            node.fmt_canonical_id(&mut s)?;
        }
        write!(&mut s, ")")?;

        if s.len() > MAX_CANONICAL_ID_LEN {
            write!(
                f,
                "Hash#{}:{:x}",
                self.nodes.len(),
                Sha256::digest(s.as_bytes())
            )?;
        } else {
            write!(f, "{}", s)?;
        }
        Ok(())
    }
}
