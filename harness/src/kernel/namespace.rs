//! Namespaces: entering, making, uid maps, loopback up.
