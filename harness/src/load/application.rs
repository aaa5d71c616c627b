//! The application's eye: what a client that programs use (reqwest) tells of the same restart.
//!
//! It pools connections, and sends a request again by itself where it finds that the kept connection had ended before; hyper-util does so, and
//! reqwest cannot be told not to. Of 866 requests that 20 reloads of nginx took from it, it told all (docs/results/truth.json). Others tell none:
//! Go's net/http sends again whatever it may. What a client tells is therefore asked, and never taken for what a restart lost.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use reqwest::Client;
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

use crate::drive::{ApplicationView, DrivePlan, Peer};
use crate::kernel::counter;
use crate::manifest::Protocol;

/// Its name and version.
const CLIENT: &str = "reqwest 0.13";
/// How long it waits after a failure, as the load does: an outage is not asked as fast as a processor can.
const AFTER_FAILURE: Duration = Duration::from_millis(1);
/// Of requests that met the end of their connection.
const COUNTERS: [&str; 2] = ["TcpExt.TCPAbortOnClose", "TcpExt.TCPAbortOnData"];

/// Why there is no such view.
#[derive(Debug, Error)]
pub enum ApplicationError {
    /// The kernel's counters could not be read.
    #[error("read the kernel's counters")]
    Counters(#[source] io::Error),
    /// No thread, or no runtime.
    #[error("start the application's thread")]
    Thread(#[source] io::Error),
    /// Its client speaks HTTP by TCP alone.
    #[error("ask {0} as an application does: its client speaks HTTP by TCP alone")]
    Peer(String),
    /// The client could not be made.
    #[error("make the application's client")]
    Client(#[source] reqwest::Error),
}

/// Requests on a thread of their own, until told to finish.
#[derive(Debug)]
pub struct Application {
    at_a_time: u32,
    before: u64,
    stop: watch::Sender<bool>,
    thread: JoinHandle<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    failed: BTreeMap<String, u64>,
}

impl Application {
    /// Begins: so many requests at a time, each followed by the next when it is over.
    ///
    /// # Errors
    /// [`ApplicationError`].
    pub fn begin(plan: &DrivePlan, at_a_time: u32) -> Result<Application, ApplicationError> {
        let Peer::Tcp(to) = plan.to else { return Err(ApplicationError::Peer(plan.to.to_string())) };
        if plan.protocol != Protocol::Http1 {
            return Err(ApplicationError::Peer(format!("{to} by raw echo")));
        }
        let client = Client::builder().timeout(plan.deadline).build().map_err(ApplicationError::Client)?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(ApplicationError::Thread)?;
        let url = format!("http://{to}{}", plan.path);
        let (stop, stopped) = watch::channel(false);
        let before = aborts().map_err(ApplicationError::Counters)?;
        let thread = std::thread::Builder::new().name("application".to_owned());
        let thread = thread.spawn(move || ask(&runtime, &client, &url, at_a_time, &stopped));
        Ok(Application { at_a_time, before, stop, thread: thread.map_err(ApplicationError::Thread)? })
    }

    /// Waits for what is under way. `beside` of what the kernel counted was another load's.
    ///
    /// # Errors
    /// [`ApplicationError::Counters`].
    ///
    /// # Panics
    /// When its thread did.
    pub fn finish(self, beside: u64) -> Result<ApplicationView, ApplicationError> {
        self.stop.send_replace(true);
        let Tally { answered, failed } = self.thread.join().expect("the application's thread does not panic");
        let counted = aborts().map_err(ApplicationError::Counters)?.saturating_sub(self.before);
        Ok(ApplicationView {
            client: CLIENT,
            at_a_time: self.at_a_time,
            requests: answered + failed.values().sum::<u64>(),
            answered,
            failed,
            lost: counted.saturating_sub(beside),
        })
    }
}

fn aborts() -> io::Result<u64> {
    let counters = counter::read()?;
    Ok(COUNTERS.iter().filter_map(|name| counters.get(*name)).sum())
}

fn ask(runtime: &Runtime, client: &Client, url: &str, at_a_time: u32, stopped: &watch::Receiver<bool>) -> Tally {
    let tally = Rc::new(RefCell::new(Tally::default()));
    LocalSet::new().block_on(runtime, async {
        let mut all = JoinSet::new();
        for _ in 0..at_a_time {
            let (client, url, stopped, tally) = (client.clone(), url.to_owned(), stopped.clone(), Rc::clone(&tally));
            all.spawn_local(async move { one_after_the_other(&client, &url, stopped, &tally).await });
        }
        while all.join_next().await.is_some() {}
    });
    tally.take()
}

async fn one_after_the_other(client: &Client, url: &str, mut stopped: watch::Receiver<bool>, tally: &RefCell<Tally>) {
    while !*stopped.borrow() {
        match once(client, url).await {
            Ok(()) => tally.borrow_mut().answered += 1,
            Err(what) => {
                *tally.borrow_mut().failed.entry(what).or_default() += 1;
                let _over = timeout(AFTER_FAILURE, stopped.wait_for(|stopped| *stopped)).await;
            }
        }
    }
}

/// A request and its whole answer, or what the client says of it.
async fn once(client: &Client, url: &str) -> Result<(), String> {
    let response = client.get(url).send().await.map_err(|error| words(&error))?;
    let status = response.status();
    response.bytes().await.map_err(|error| words(&error))?;
    if status.is_success() { Ok(()) } else { Err(format!("status {}", status.as_u16())) }
}

/// The innermost of its reasons, which alone tells one failure from another.
fn words(error: &reqwest::Error) -> String {
    let mut reason: &dyn StdError = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    reason.to_string()
}
