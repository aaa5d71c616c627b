//! clone3(2) into fresh namespaces, with a pidfd.
