//! seccomp user notification on listen(2).
