//! Observers: what the kernel says of the target, as events.
