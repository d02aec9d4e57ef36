//! Everything openraft: type config, adapters, peer transport, membership.
