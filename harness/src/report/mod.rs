//! Reports: pure functions from outcomes to bytes.
