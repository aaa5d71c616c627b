//! timerfd on CLOCK_MONOTONIC.
