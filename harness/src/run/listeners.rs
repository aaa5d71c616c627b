//! An upgrade while each further listener of the target is asked in turn.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use crate::event::{Answer, AskedListener, Fate, What};
use crate::id::Version;
use crate::kernel::clock::Clock;
use crate::kernel::inotify::{NameEvent, NameWatch};
use crate::ready::{self, Probe};
use crate::run::daemon::answer;
use crate::run::{RunError, Stage};
use crate::target::{FurtherAddress, TargetEndpoint};

/// Failures that are told in words; the others are counted.
const FAILURES_TOLD: usize = 8;

/// Asks listeners.
struct Asker {
    netns: Option<OwnedFd>,
    endpoint: TargetEndpoint,
    /// How long one answer may take.
    limit: Duration,
    clock: Clock,
}

/// A listener and what clients met there.
struct Row {
    address: FurtherAddress,
    asked: AskedListener,
    watch: Option<NameWatch>,
}

impl Stage<'_> {
    /// One upgrade until the old generation is gone.
    pub(super) fn upgrade_listeners(&mut self) -> Result<(), RunError> {
        let (old, new) = (self.further_at(self.version)?, self.further_at(Version(self.version.0 + 1))?);
        let asker = Asker {
            netns: self.sandbox.netns().map(|it| it.try_clone_to_owned()).transpose()?,
            endpoint: self.plan.target.endpoints[0].clone(),
            limit: self.plan.target.deadlines.request,
            clock: self.clock,
        };
        let mut kept: Vec<Row> = old.intersection(&new).map(|it| Row::new(it, Fate::Kept)).collect();
        asker.ask(&mut kept)?;
        self.upgrade_while(|| asker.ask(&mut kept))?;
        let others = new.difference(&old).map(|it| Row::new(it, Fate::Added));
        kept.extend(others.chain(old.difference(&new).map(|it| Row::new(it, Fate::Dropped))));
        asker.ask(&mut kept)?;
        self.sink.put_at(self.clock.now(), What::ListenersAsked(kept.into_iter().map(Row::told).collect()));
        Ok(())
    }

    fn further_at(&self, version: Version) -> Result<BTreeSet<FurtherAddress>, RunError> {
        let with = self.deployer.placeholders(&self.plan.target, version);
        let addresses = self.plan.target.also.iter().map(|further| further.addresses(&with));
        let addresses = addresses.collect::<Result<Vec<_>, _>>();
        let addresses = addresses
            .map_err(|error| RunError::Environment(format!("understand `also` at version {version}: {error}")))?;
        Ok(addresses.into_iter().flatten().collect())
    }
}

impl Asker {
    /// Each of them once.
    fn ask(&self, rows: &mut [Row]) -> Result<(), RunError> {
        let asked = ready::inside(self.netns.as_ref().map(AsFd::as_fd), || {
            rows.iter_mut().try_for_each(|row| {
                let began = self.clock.now();
                let probe = ready::answers_at(&row.address, &self.endpoint, self.limit)?;
                row.took(probe, &began.to_string());
                Ok(())
            })
        });
        asked.map_err(|error| RunError::Environment(format!("failed to {error}")))
    }
}

impl Row {
    fn new(address: &FurtherAddress, fate: Fate) -> Row {
        let watch = file_of(address).filter(|_| fate == Fate::Kept);
        let watch = watch.and_then(|path| NameWatch::open(path.parent()?, path.file_name()?).ok());
        let asked = AskedListener {
            address: address.to_string(),
            fate,
            asked: 0,
            failures: Vec::new(),
            failed: 0,
            late: 0,
            last: Answer::Refused,
            version: None,
            missing: None,
        };
        Row { address: address.clone(), asked, watch }
    }

    fn took(&mut self, probe: Probe, began: &str) {
        self.asked.asked += 1;
        self.asked.version = if let Probe::Answered { version } = &probe { *version } else { None };
        self.asked.last = answer(probe);
        let failure = match &self.asked.last {
            Answer::Answered => return,
            Answer::Refused => "refused",
            Answer::Missing(why) => why,
        };
        self.asked.failed += 1;
        self.asked.late += u32::from(failure == ready::NO_ANSWER);
        if self.asked.failures.len() < FAILURES_TOLD {
            self.asked.failures.push(format!("{began}: {failure}"));
        }
    }

    fn told(mut self) -> AskedListener {
        self.asked.missing = self.watch.as_mut().and_then(missing);
        self.asked
    }
}

fn file_of(address: &FurtherAddress) -> Option<&Path> {
    if let FurtherAddress::Path(path) = address { Some(path) } else { None }
}

/// How often the name led nowhere: what is renamed over it is there without a gap.
fn missing(watch: &mut NameWatch) -> Option<u32> {
    let mut count = 0;
    while let Some(events) = watch.read().ok()? {
        for event in events {
            match event {
                NameEvent::Deleted | NameEvent::MovedFrom => count += 1,
                NameEvent::Overflow | NameEvent::Blind => return None,
                _ => {}
            }
        }
    }
    Some(count)
}
