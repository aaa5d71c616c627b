//! An upgrade while each further listener of the target is asked in turn.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use crate::event::{Answer, AskedListener, Fate, Sockets, What};
use crate::id::Version;
use crate::kernel::clock::Clock;
use crate::kernel::inet_diag::ListenSocket;
use crate::kernel::inotify::{NameEvent, NameWatch};
use crate::observe::Endpoints;
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
        let kept = old.iter().filter(|(address, _)| new.contains_key(*address));
        let mut kept: Vec<Row> = kept.map(|(address, sockets)| Row::new(address, Fate::Kept, *sockets)).collect();
        self.count_sockets(&mut kept, |sockets| &mut sockets.before)?;
        asker.ask(&mut kept)?;
        self.upgrade_while(|| asker.ask(&mut kept))?;
        self.count_sockets(&mut kept, |sockets| &mut sockets.after)?;
        let added = new.keys().filter(|it| !old.contains_key(*it)).map(|it| Row::new(it, Fate::Added, 1));
        let dropped = old.keys().filter(|it| !new.contains_key(*it)).map(|it| Row::new(it, Fate::Dropped, 1));
        kept.extend(added.chain(dropped));
        asker.ask(&mut kept)?;
        self.sink.put_at(self.clock.now(), What::ListenersAsked(kept.into_iter().map(Row::told).collect()));
        Ok(())
    }

    /// The addresses at this version, and how many sockets listen on each.
    pub(super) fn further_at(&self, version: Version) -> Result<BTreeMap<FurtherAddress, u32>, RunError> {
        let with = self.deployer.placeholders(&self.plan.target, version);
        let addresses = self.plan.target.also.iter().map(|further| further.addresses(&with));
        let addresses = addresses.collect::<Result<Vec<_>, _>>();
        let addresses = addresses
            .map_err(|error| RunError::Environment(format!("understand `also` at version {version}: {error}")))?;
        let mut sockets = BTreeMap::new();
        addresses.into_iter().flatten().for_each(|address| *sockets.entry(address).or_default() += 1);
        Ok(sockets)
    }

    /// Notes how many sockets listen on each of them now.
    fn count_sockets(&self, rows: &mut [Row], at: fn(&mut Sockets) -> &mut u32) -> Result<(), RunError> {
        let listening = self.diag.borrow_mut().listen_sockets()?;
        rows.iter_mut().for_each(|row| row.count_sockets(&listening, at));
        Ok(())
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
    fn new(address: &FurtherAddress, fate: Fate, declared: u32) -> Row {
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
            sockets: None,
            missing: None,
        };
        let mut row = Row { address: address.clone(), asked, watch };
        let shown = matches!(address, FurtherAddress::Internet(_)) && fate == Fate::Kept;
        row.asked.sockets = shown.then_some(Sockets { declared, before: 0, after: 0 });
        row
    }

    fn count_sockets(&mut self, listening: &[ListenSocket], at: fn(&mut Sockets) -> &mut u32) {
        let (FurtherAddress::Internet(address), Some(sockets)) = (&self.address, &mut self.asked.sockets) else {
            return;
        };
        let here = Endpoints::new(vec![*address]);
        let count = listening.iter().filter(|socket| here.are_served_by(socket)).count();
        *at(sockets) = u32::try_from(count).unwrap_or(u32::MAX);
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
