//! Counters of a network namespace.
