//! Tells when a process lacks a processor: within a second one of its threads was ready to run, and did not, for a tenth.
//!
//! Neither the canary nor the load's own lateness shows it: under autogroup (sched(7)) each session has a share of the
//! processors, so a target with hundreds of threads may wait for seconds while its neighbours run. Measured on two
//! processors: the main thread of a reference waits for up to 100 ms in its whole life, beside two hogs for up to 160 ms; of
//! thirty threads of a Python server under load the longest waits for 40 ms in 310, beside three more such tests for 330.
//! All threads count, since the main one of many servers only waits for signals.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::{Interval, Nanos};
use crate::id::{Image, Pid};

/// The least that is told. What it excuses is the judge's business.
const STARVED_MIN: Duration = Duration::from_millis(100);
/// What was waited is added up for so long.
const STRETCH: Duration = Duration::from_secs(1);

/// Since when a thread's waiting is added up, and what it had waited by then.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Nanos,
    waited: Duration,
}

/// The waiting of all processes.
#[derive(Debug, Default)]
pub(super) struct Starvation {
    /// By pid and start (execve(2) leaves the counts as they are), then by thread.
    marks: BTreeMap<(Pid, u64), BTreeMap<Pid, Mark>>,
}

impl Starvation {
    /// Takes up what each thread of a process has waited in all between the last look and this one; the longest wait and
    /// when it was, if that is much to tell. A thread that is new has waited since the last look.
    pub(super) fn look(
        &mut self,
        image: Image,
        waits: &BTreeMap<Pid, Duration>,
        at: Interval,
    ) -> Option<(Interval, Duration)> {
        let marks = self.marks.entry((image.pid, image.start_ticks)).or_default();
        marks.retain(|thread, _| waits.contains_key(thread));
        let now = |waited: Duration| Mark { at: at.not_after, waited };
        let mut starved: Option<(Interval, Duration)> = None;
        for (thread, waited) in waits {
            let new = Mark { at: at.not_before, waited: Duration::ZERO };
            // Less than before is of another thread, to which the kernel gave the number.
            let mark = marks.get(thread).copied().filter(|mark| mark.waited <= *waited).unwrap_or(new);
            let grown = *waited - mark.waited;
            if grown >= STARVED_MIN && starved.is_none_or(|(_, longest)| grown > longest) {
                starved = Some((Interval::new(mark.at, at.not_after), grown));
            }
            let over = at.not_after.since(mark.at) >= STRETCH;
            marks.insert(*thread, if over { now(*waited) } else { mark });
        }
        if starved.is_some() {
            // Told: from now on anew, for the others too, who waited in the same time.
            *marks = waits.iter().map(|(thread, waited)| (*thread, now(*waited))).collect();
        }
        starved
    }

    /// Forgets every process but these.
    pub(super) fn retain(&mut self, alive: impl Fn(Pid) -> bool) {
        self.marks.retain(|(pid, _), _| alive(*pid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a process whose threads, numbered from 7, had waited so long in all (milliseconds) at each of these
    /// looks (milliseconds).
    fn told(looks: &[(u64, &[u64])]) -> Vec<(u64, u64, u128)> {
        let image = Image { pid: Pid(7), start_ticks: 1, start_stack: 1 };
        let ms = |nanos: Nanos| nanos.since(Nanos::default()).as_millis() as u64;
        let (mut starvation, mut told, mut last) = (Starvation::default(), Vec::new(), Nanos::default());
        for (at, waited) in looks {
            let now = Nanos::default().plus(Duration::from_millis(*at));
            let waits = (7..).map(Pid).zip(waited.iter().map(|it| Duration::from_millis(*it))).collect();
            let starved = starvation.look(image, &waits, Interval::new(last, now));
            told.extend(starved.map(|(at, wait)| (ms(at.not_before), ms(at.not_after), wait.as_millis())));
            last = now;
        }
        told
    }

    #[test]
    fn short_waits_within_a_second_are_added_up() {
        assert_eq!(told(&[(10, &[0]), (300, &[60]), (600, &[120])]), [(0, 600, 120)]);
    }

    #[test]
    fn short_waits_over_many_seconds_are_nothing() {
        assert_eq!(told(&[(10, &[0]), (1010, &[90]), (2010, &[180]), (3010, &[270]), (4010, &[360])]), []);
    }

    #[test]
    fn a_wait_that_ends_after_a_second_is_told_whole() {
        assert_eq!(told(&[(10, &[0]), (1100, &[0]), (2200, &[0]), (2300, &[1200])]), [(2200, 2300, 1200)]);
    }

    #[test]
    fn a_new_process_has_waited_since_it_began() {
        assert_eq!(told(&[(400, &[300]), (500, &[310])]), [(0, 400, 300)]);
    }

    #[test]
    fn of_many_threads_the_longest_wait_is_told_once() {
        assert_eq!(told(&[(10, &[0, 0, 0]), (300, &[0, 290, 270]), (600, &[0, 300, 360])]), [(0, 300, 290)]);
    }

    #[test]
    fn short_waits_of_many_threads_are_nothing() {
        assert_eq!(told(&[(10, &[0, 0, 0]), (900, &[90, 90, 90])]), []);
    }

    #[test]
    fn a_number_given_again_is_another_thread() {
        assert_eq!(told(&[(10, &[900]), (300, &[80]), (400, &[90])]), [(0, 10, 900)]);
    }
}
