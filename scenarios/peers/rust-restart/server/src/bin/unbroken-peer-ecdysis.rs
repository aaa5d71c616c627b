//! A server after the example of `ecdysis`: SIGUSR2 starts the next process, which inherits the listener; when that is
//! ready, this one accepts no more, and ends with its last connection, or after five seconds.
//!
//! Usage: `unbroken-peer-ecdysis ADDRESS`

use std::env::args;
use std::error::Error;
use std::net::SocketAddr;

use ecdysis::tokio_ecdysis::{SignalKind, StopOnShutdown, TokioEcdysisBuilder};
use tokio::signal::unix::signal;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use unbroken_peer_rust_restart::{ACCEPT_AGAIN, DRAIN, serve, version};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = args().nth(1).ok_or("usage: unbroken-peer-ecdysis ADDRESS")?.parse()?;
    let version = version()?;
    // SIGHUP is the example's trigger. The end of a terminal sends one too: here it does nothing.
    let _hangup = signal(SignalKind::hangup())?;
    let mut builder = TokioEcdysisBuilder::new(SignalKind::user_defined2())?;
    builder.stop_on_signal(SignalKind::terminate())?;
    builder.set_pid_file("./server.pid");
    let mut clients = builder.build_listen_tcp(StopOnShutdown::Yes, address, |socket, address| {
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        Ok(socket.into())
    })?;
    // It listens since before: clients wait in the queue. This writes the pidfile, so that whoever is answered finds it.
    let (_ecdysis, ended) = builder.ready()?;
    let ended = tokio::spawn(ended);

    let (end, ending) = watch::channel(());
    let mut connections = JoinSet::new();
    while let Some(client) = clients.next().await {
        let Ok(client) = client else {
            // No descriptor is left: clients wait in the queue until another connection gives one back.
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let mut ending = ending.clone();
        connections.spawn(serve(client, version, async move {
            // Never sent: it is dropped.
            let _ = ending.changed().await;
        }));
        while connections.try_join_next().is_some() {}
    }
    drop(clients);
    println!("accepts no more");
    ended.await??;
    drop(end);
    // Those that are not done by then end with the process.
    let _ = timeout(DRAIN, connections.join_all()).await;
    Ok(())
}
