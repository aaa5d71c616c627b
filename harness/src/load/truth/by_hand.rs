//! Races held open: client and server moved step by step by the test, so that each class is certain.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Nanos;
use crate::kernel::clock::Clock;
use crate::load::answer::{Answer, AnswerReader, HeaderNames};
use crate::load::connection::{Connection, Idle};
use crate::load::failure::Failure;
use crate::load::ledger::{Attempt, Ledger};
use crate::load::protocol::Reader;
use crate::request::{FailureClass, Pattern, SocketEvidence};
use tokio::time::Instant;

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A client and its server, moved by the test step by step, so that no race decides.
struct Hand {
    ledger: Ledger,
    connection: Connection,
    attempt: Attempt,
    deadline: Instant,
}

impl Hand {
    async fn connected(requests_before: u32) -> (Hand, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let to = listener.local_addr().expect("address");
        let ledger = Ledger::new(Clock::start(), Arc::default(), 0, 1);
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut attempt = ledger.schedule(Pattern::Busy, Nanos(0), Nanos(0));
        let connection = Connection::open((to, None), deadline, &mut attempt, &ledger).await.expect("open");
        let (peer, _) = listener.accept().expect("accept");
        let mut hand = Hand { ledger, connection, attempt, deadline };
        for _ in 0..requests_before {
            hand.answered(&peer).await;
        }
        hand.connection.carry(&mut hand.attempt);
        (hand, peer)
    }

    /// One good request, then a new attempt.
    async fn answered(&mut self, mut peer: &TcpStream) {
        self.connection.carry(&mut self.attempt);
        self.send().await.expect("send");
        io::Read::read_exact(&mut peer, &mut [0u8; ASK.len()]).expect("read");
        io::Write::write_all(&mut peer, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("answer");
        self.receive().await.expect("answer");
        self.attempt = self.ledger.schedule(Pattern::Busy, Nanos(0), Nanos(0));
    }

    async fn send(&mut self) -> Result<(), Failure> {
        self.connection.send(ASK, self.deadline, &mut self.attempt, &self.ledger).await
    }

    async fn receive(&mut self) -> Result<(Answer, usize), Failure> {
        let names = HeaderNames::default();
        let mut reader = Reader::Http(AnswerReader::new(&names, self.attempt.id));
        self.connection.receive(&mut reader, self.deadline, &mut self.attempt, &self.ledger).await
    }
}

fn by_hand(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(test());
}

fn check(failure: Failure, class: FailureClass, signal: &str, states: &[&str], acked: usize) {
    let SocketEvidence { signal: seen, state, request_bytes_acked } = failure.evidence;
    assert_eq!((failure.class, seen.as_str(), request_bytes_acked), (class, signal, acked as u64));
    assert!(states.contains(&state.as_str()), "{state}");
}

#[test]
fn a_fin_that_left_before_the_request_arrived_is_crossed() {
    by_hand(async || {
        let (mut hand, peer) = Hand::connected(2).await;
        drop(peer);
        // Without a look: as if the FIN had come between the look and the write.
        hand.send().await.expect("a FIN does not stop a write");
        let failure = hand.receive().await.expect_err("no answer");
        check(failure, FailureClass::Crossed, "EOF", &["CLOSE", "CLOSE_WAIT"], 0);
    });
}

#[test]
fn a_request_read_and_not_answered_is_taken() {
    by_hand(async || {
        let (mut hand, peer) = Hand::connected(2).await;
        hand.send().await.expect("send");
        io::Read::read_exact(&mut &peer, &mut [0u8; ASK.len()]).expect("read");
        drop(peer);
        let failure = hand.receive().await.expect_err("no answer");
        check(failure, FailureClass::Taken, "EOF", &["CLOSE_WAIT"], ASK.len());
    });
}

#[test]
fn a_request_left_in_the_queue_of_a_closed_connection_is_unread() {
    by_hand(async || {
        let (mut hand, peer) = Hand::connected(2).await;
        hand.send().await.expect("send");
        drop(peer);
        let failure = hand.receive().await.expect_err("no answer");
        assert!(matches!(failure.evidence.request_bytes_acked, 0 | 28), "useless: delayed ACK");
        assert_eq!((failure.class, failure.evidence.signal.as_str()), (FailureClass::Unread, "ECONNRESET"));
    });
}

#[test]
fn a_request_left_in_the_queue_behind_a_shutdown_is_unread_too() {
    by_hand(async || {
        let (mut hand, peer) = Hand::connected(2).await;
        hand.send().await.expect("send");
        // The FIN acknowledges what had arrived; the close after it finds that in the queue.
        rustix::net::shutdown(&peer, rustix::net::Shutdown::Write).expect("shutdown");
        drop(peer);
        let failure = hand.receive().await.expect_err("no answer");
        check(failure, FailureClass::Unread, "EOF", &["CLOSE"], ASK.len());
    });
}

#[test]
fn a_write_after_a_reset_keeps_the_first_error() {
    by_hand(async || {
        let (mut hand, peer) = Hand::connected(1).await;
        rustix::net::sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).expect("linger");
        drop(peer);
        let failure = hand.send().await.expect_err("reset");
        check(failure, FailureClass::IdleReset, "ECONNRESET", &["CLOSE"], 0);
    });
}

#[test]
fn a_fresh_connection_closed_before_anything_was_sent_has_a_class_of_its_own() {
    by_hand(async || {
        let (hand, peer) = Hand::connected(0).await;
        assert_eq!(hand.connection.look(), Idle::Quiet);
        drop(peer);
        assert_eq!(hand.connection.look(), Idle::Closed);
        check(hand.connection.closed_unused(), FailureClass::ClosedBeforeFirstByte, "EOF", &["CLOSE_WAIT"], 0);
    });
}

#[test]
fn a_close_at_the_deadline_reads_away_what_came_and_aborts_nothing() {
    by_hand(async || {
        let (mut hand, peer) = Hand::connected(0).await;
        hand.send().await.expect("send");
        io::Read::read_exact(&mut &peer, &mut [0u8; ASK.len()]).expect("read");
        io::Write::write_all(&mut &peer, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nlate").expect("late");
        hand.connection.close(&hand.ledger);
        assert_eq!(io::Read::read(&mut &peer, &mut [0u8; 1]).expect("no reset"), 0);
        hand.ledger.count(|account| assert_eq!(account.own_aborts, 0));
    });
}
