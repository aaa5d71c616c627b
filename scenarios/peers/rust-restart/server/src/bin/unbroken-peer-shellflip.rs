//! A server after the example of `shellflip`: SIGUSR1 starts the next process; when that is ready, this one accepts no
//! more, and ends with its last connection, or after five seconds. The library hands no listener over, but whatever its
//! user writes to a pipe: here the number of the listener, which the next process inherits.
//!
//! Usage: `unbroken-peer-shellflip ADDRESS`

use std::env::args;
use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;

use shellflip::lifecycle::{LifecycleHandler, PipeWriter, receive_from_old_process};
use shellflip::{RestartConfig, ShutdownCoordinator, ShutdownSignal};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio::{pin, select};
use unbroken_peer_rust_restart::{ACCEPT_AGAIN, DRAIN, serve, version, write_pidfile};

/// Tells the next process which of the descriptors that it inherits is the listener.
struct Number(i32);

#[async_trait::async_trait]
impl LifecycleHandler for Number {
    async fn send_to_new_process(&mut self, mut pipe: PipeWriter) -> io::Result<()> {
        pipe.write_i32(self.0).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = args().nth(1).ok_or("usage: unbroken-peer-shellflip ADDRESS")?.parse()?;
    let version = version()?;
    let listener = listen(address).await?;
    // The end of a terminal sends SIGHUP: here it does nothing.
    let _hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let restart = RestartConfig {
        lifecycle_handler: Box::new(Number(listener.as_raw_fd())),
        // A next process that fails is no reason to end.
        exit_on_error: false,
        ..RestartConfig::default()
    };
    let restart = restart.try_into_restart_task()?;
    pin!(restart);
    // It listens since before: clients wait in the queue. Whoever is answered finds the pidfile.
    write_pidfile(Path::new("server.pid"))?;

    let connections = ShutdownCoordinator::new();
    loop {
        select! {
            client = listener.accept() => match client {
                Ok((client, _)) => {
                    let handle = connections.handle();
                    tokio::spawn(async move {
                        serve(client, version, ShutdownSignal::from(&*handle).on_shutdown()).await;
                    });
                }
                // No descriptor is left: clients wait in the queue until another connection gives one back.
                Err(_) => sleep(ACCEPT_AGAIN).await,
            },
            // Polled for the first time it says that this process is ready.
            next = &mut restart => {
                next?;
                break;
            }
            _ = terminate.recv() => break,
        }
    }
    drop(listener);
    println!("accepts no more");
    // Those that are not done by then end with the process.
    connections.shutdown_with_timeout(DRAIN.as_secs()).await;
    Ok(())
}

/// The listener of the process before, or a new one.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let Some(mut pipe) = receive_from_old_process() else {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(1024)?;
        // For all processes after this one.
        SockRef::from(&listener).set_cloexec(false)?;
        return Ok(listener);
    };
    let number = pipe.read_i32().await?;
    // SAFETY: the process before has sent the number of its listener, which it keeps open until this process is ready.
    // Nothing else here has a descriptor that was inherited.
    TcpListener::from_std(unsafe { StdTcpListener::from_raw_fd(number) })
}
