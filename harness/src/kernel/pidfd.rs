//! pidfd: a process by identity.
