//! Readiness of a freshly launched target.
