//! Isolation: tiers, namespaces, tiny init, guardian.
