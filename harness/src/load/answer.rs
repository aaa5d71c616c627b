//! Reads one HTTP/1.1 answer piece by piece (RFC 9112). However the bytes are cut, the result is the same.

use std::mem::MaybeUninit;

use crate::id::Version;
use crate::request::FailureClass;

/// A head larger than this is not an answer of any server that we know; it bounds our memory.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A chunk-size or trailer line larger than this is not one.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Header lines of one head; nginx and haproxy stop at about 100.
const HEADERS_MAX: usize = 128;

/// The header names that the manifest gives meaning to.
#[derive(Debug, Clone, Default)]
pub(super) struct HeaderNames {
    /// Carries the version as a decimal number.
    pub(super) version: Option<String>,
    /// Echoes the request id.
    pub(super) echo: Option<String>,
}

/// What an answer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// HTTP status; raw echo has none.
    pub(super) status: Option<u16>,
    /// The version that it carried.
    pub(super) version: Option<Version>,
    /// It echoed the id as the manifest promises, or the manifest promises nothing.
    pub(super) echoed: bool,
    /// It announced the close of its connection: `Connection: close`, or HTTP/1.0 without keep-alive.
    pub(super) close_announced: bool,
    /// The connection cannot carry another answer: announced, or the body ended with it.
    pub(super) last: bool,
}

/// What is wrong with an answer of this status, which is good when it is 2xx.
pub(super) fn fault_of(status: u16) -> Option<(FailureClass, String)> {
    let class = match status {
        200..=299 => return None,
        500..=599 => FailureClass::ServerError,
        _ => FailureClass::WrongAnswer,
    };
    Some((class, format!("status {status}")))
}

impl Answer {
    /// Why a whole answer is none to what was asked: its status, if it has one, or that it answers another request.
    pub(super) fn fault(&self) -> Option<(FailureClass, String)> {
        let other = || (FailureClass::WrongAnswer, "another request's id".to_owned());
        self.status.and_then(fault_of).or_else(|| (!self.echoed).then(other))
    }
}

/// How far an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not whole yet.
    More,
    /// Whole, with this many bytes behind it that nobody asked for.
    Whole {
        /// Their count.
        excess: usize,
    },
    /// None of its protocol.
    Malformed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    /// Content-Length: this many bytes to come.
    Length(u64),
    /// Neither length nor chunks: the end of the stream ends it (RFC 9112 §6.3, rule 8).
    UntilEnd,
    ChunkSize,
    /// This many bytes of chunk data to come.
    ChunkData(u64),
    /// The line end after chunk data.
    ChunkEnd,
    Trailer,
    Whole,
    Malformed,
}

/// What the body must be: so many bytes that repeat themselves.
#[derive(Debug)]
pub(super) struct Sequence {
    bytes: u64,
    period: usize,
    /// The first period, and then as much of its repetition as one read may hold.
    pattern: Vec<u8>,
    seen: u64,
    broken: bool,
}

/// No more than this is compared at once.
const COMPARED_BYTES: usize = 16 * 1024;

impl Sequence {
    /// A body of this length, periodic by `period` bytes.
    pub(super) fn new(bytes: u64, period: u64) -> Sequence {
        let period = usize::try_from(period).unwrap_or(usize::MAX);
        Sequence { bytes, period, pattern: Vec::new(), seen: 0, broken: false }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        if self.pattern.len() < self.period {
            let (first, rest) = bytes.split_at(bytes.len().min(self.period - self.pattern.len()));
            self.pattern.extend_from_slice(first);
            self.seen += first.len() as u64;
            bytes = rest;
            if self.pattern.len() == self.period {
                let repeated: Vec<u8> =
                    self.pattern.iter().copied().cycle().skip(self.period).take(COMPARED_BYTES).collect();
                self.pattern.extend(repeated);
            }
        }
        for piece in bytes.chunks(COMPARED_BYTES) {
            let phase = usize::try_from(self.seen % self.period as u64).expect("below the period");
            self.broken |= self.pattern[phase..phase + piece.len()] != *piece;
            self.seen += piece.len() as u64;
        }
    }

    /// Why the body is not the declared one.
    fn problem(&self) -> Option<String> {
        if self.broken {
            return Some("bytes out of their sequence".to_owned());
        }
        (self.seen != self.bytes).then(|| format!("{} bytes of body, declared are {}", self.seen, self.bytes))
    }
}

/// The state of one answer being read.
#[derive(Debug)]
pub(super) struct AnswerReader<'a> {
    names: &'a HeaderNames,
    id: u64,
    stage: Stage,
    /// The head, or the line, read so far.
    held: Vec<u8>,
    answer: Option<Answer>,
    sequence: Option<Sequence>,
}

impl<'a> AnswerReader<'a> {
    /// For the answer to the request with this id.
    pub(super) fn new(names: &'a HeaderNames, id: u64) -> AnswerReader<'a> {
        AnswerReader { names, id, stage: Stage::Head, held: Vec::new(), answer: None, sequence: None }
    }

    /// The same where the body must be this sequence.
    pub(super) fn expecting(self, sequence: Sequence) -> AnswerReader<'a> {
        AnswerReader { sequence: Some(sequence), ..self }
    }

    /// What is wrong with the body of a whole answer, where a sequence was expected.
    pub(super) fn body_problem(&self) -> Option<String> {
        self.sequence.as_ref().and_then(Sequence::problem)
    }

    fn body(&mut self, bytes: &[u8]) {
        if let Some(sequence) = &mut self.sequence {
            sequence.take(bytes);
        }
    }

    /// What the answer said, once its head was read.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.answer
    }

    /// Nothing of it is to come.
    pub(super) fn is_whole(&self) -> bool {
        self.stage == Stage::Whole
    }

    /// The end of the stream makes it whole: its body has no other end.
    pub(super) fn ends_with_stream(&self) -> bool {
        self.stage == Stage::UntilEnd
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Progress {
        loop {
            match self.stage {
                Stage::Whole => return Progress::Whole { excess: bytes.len() },
                Stage::Malformed => return Progress::Malformed,
                Stage::Length(0) => self.stage = Stage::Whole,
                Stage::ChunkData(0) => self.stage = Stage::ChunkEnd,
                _ if bytes.is_empty() => return Progress::More,
                Stage::UntilEnd => {
                    self.body(bytes);
                    bytes = &[];
                }
                Stage::Length(left) => {
                    let taken = take(&mut bytes, left);
                    self.body(taken);
                    self.stage = Stage::Length(left - taken.len() as u64);
                }
                Stage::ChunkData(left) => {
                    let taken = take(&mut bytes, left);
                    self.body(taken);
                    self.stage = Stage::ChunkData(left - taken.len() as u64);
                }
                Stage::Head => self.head(&mut bytes),
                Stage::ChunkSize | Stage::ChunkEnd | Stage::Trailer => self.line(&mut bytes),
            }
        }
    }

    fn head(&mut self, bytes: &mut &[u8]) {
        // Mostly it comes in one piece: then nothing is copied.
        let mut held = std::mem::take(&mut self.held);
        let is_first = held.is_empty();
        if !is_first {
            held.extend_from_slice(bytes);
        }
        let text: &[u8] = if is_first { bytes } else { &held };
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let parsed = match parser.parse_response_with_uninit_headers(&mut response, text, &mut headers) {
            Ok(httparse::Status::Complete(length)) => self.understand(&response).map(|found| (length, found)),
            Ok(httparse::Status::Partial) if text.len() <= HEAD_BYTES_MAX => {
                self.held = if is_first { bytes.to_vec() } else { held };
                *bytes = &[];
                return;
            }
            Ok(httparse::Status::Partial) | Err(_) => None,
        };
        let Some((length, (answer, stage))) = parsed else {
            self.stage = Stage::Malformed;
            return;
        };
        // The head was not complete before these bytes, so what follows it is the end of them.
        let rest = text.len() - length;
        *bytes = &bytes[bytes.len() - rest..];
        // 1xx announces another head; 101 would be a change of protocol that nobody asked for.
        if answer.status.is_some_and(|status| (100..200).contains(&status) && status != 101) {
            return;
        }
        self.answer = Some(answer);
        self.stage = stage;
    }

    /// Meaning and body length of a head (RFC 9112 §6.3); `None` when it contradicts itself.
    fn understand(&self, response: &httparse::Response<'_, '_>) -> Option<(Answer, Stage)> {
        let status = response.code?;
        let mut close = response.version == Some(0);
        let (mut version, mut echoed) = (None, self.names.echo.is_none());
        let (mut length, mut chunked) = (None::<u64>, None::<bool>);
        for header in response.headers.iter() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let text = std::str::from_utf8(header.value).unwrap_or_default().trim();
            if is("content-length") {
                let number = decimal(text)?;
                if length.is_some_and(|earlier| earlier != number) {
                    return None;
                }
                length = Some(number);
            } else if is("transfer-encoding") {
                // The last coding counts; a list may be spread over several lines.
                chunked = Some(text.rsplit(',').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked")));
            } else if is("connection") {
                close = announces_close(text, close);
            }
            if self.names.version.as_deref().is_some_and(is) {
                version = text.parse().ok().map(Version);
            }
            if self.names.echo.as_deref().is_some_and(is) {
                echoed = decimal(text) == Some(self.id);
            }
        }
        let stage = match (chunked, length) {
            _ if status < 200 || status == 204 || status == 304 => Stage::Whole,
            (Some(true), _) => Stage::ChunkSize,
            (None, Some(length)) => Stage::Length(length),
            (Some(false), _) | (None, None) => Stage::UntilEnd,
        };
        let last = close || stage == Stage::UntilEnd;
        Some((Answer { status: Some(status), version, echoed, close_announced: close, last }, stage))
    }

    /// Takes bytes up to a line end; a whole line moves the chunked body on (RFC 9112 §7.1).
    fn line(&mut self, bytes: &mut &[u8]) {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        self.held.extend_from_slice(line);
        *bytes = rest;
        if self.held.len() > LINE_BYTES_MAX {
            self.stage = Stage::Malformed;
            return;
        }
        if end.is_none() {
            return;
        }
        let line = std::mem::take(&mut self.held);
        let text = std::str::from_utf8(&line).unwrap_or("\u{fffd}").trim_end_matches(['\r', '\n']);
        self.stage = match self.stage {
            Stage::ChunkEnd if text.is_empty() => Stage::ChunkSize,
            Stage::Trailer if text.is_empty() => Stage::Whole,
            Stage::Trailer => Stage::Trailer,
            Stage::ChunkSize => match chunk_size(text) {
                Some(0) => Stage::Trailer,
                Some(size) => Stage::ChunkData(size),
                None => Stage::Malformed,
            },
            _ => Stage::Malformed,
        };
    }
}

fn take<'b>(bytes: &mut &'b [u8], at_most: u64) -> &'b [u8] {
    let count = usize::try_from(at_most).unwrap_or(usize::MAX).min(bytes.len());
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

/// Digits only: `u64::from_str` would also take a sign.
fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn chunk_size(line: &str) -> Option<u64> {
    let size = line.split(';').next().unwrap_or_default().trim();
    let digits = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(size, 16).ok()).flatten()
}

fn announces_close(tokens: &str, before: bool) -> bool {
    tokens.split(',').map(str::trim).fold(before, |close, token| {
        if token.eq_ignore_ascii_case("close") {
            true
        } else if token.eq_ignore_ascii_case("keep-alive") {
            false
        } else {
            close
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_out_of_sequence_or_of_another_length_is_told() {
        let body: Vec<u8> = (0..100_000u64).map(|at| (at % 251) as u8).collect();
        let check = |body: &[u8], cut: usize, want: Option<&str>| {
            let mut sequence = Sequence::new(100_000, 251);
            body.chunks(cut).for_each(|piece| sequence.take(piece));
            assert_eq!(sequence.problem().as_deref(), want, "cut into {cut}");
        };
        for cut in [1, 100, 251, 40_000] {
            check(&body, cut, None);
            check(&body[..99_999], cut, Some("99999 bytes of body, declared are 100000"));
            let lost = [&body[..50_000], &body[50_001..]].concat();
            check(&lost, cut, Some("bytes out of their sequence"));
        }
    }

    fn names() -> HeaderNames {
        HeaderNames { version: Some("X-Version".to_owned()), echo: Some("X-Request-Id".to_owned()) }
    }

    /// Status, version, echoed, close announced.
    type Said = (u16, Option<u32>, bool, bool);

    fn check(wire: &str, want: (Progress, Option<Said>)) {
        let names = names();
        let mut reader = AnswerReader::new(&names, 7);
        let progress = reader.feed(wire.as_bytes());
        let status = |it: Answer| it.status.expect("HTTP has one");
        let answer = reader.answer().map(|it| (status(it), it.version.map(|it| it.0), it.echoed, it.close_announced));
        assert_eq!((progress, answer), want, "{wire:?}");
    }

    const WHOLE: Progress = Progress::Whole { excess: 0 };

    #[test]
    fn bodies_end_where_their_framing_says() {
        let plain = Some((200, None, false, false));
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", (WHOLE, plain));
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", (Progress::More, plain));
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP", (Progress::Whole { excess: 4 }, plain));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("{chunked}2;x=y\r\nok\r\n0\r\nTrailer: 1\r\n\r\n"), (WHOLE, plain));
        check(&format!("{chunked}2\r\nok\r\n0\r\n"), (Progress::More, plain));
        check(&format!("{chunked}2\r\nokay\r\n"), (Progress::Malformed, plain));
        check("HTTP/1.1 204 No Content\r\n\r\n", (WHOLE, Some((204, None, false, false))));
        check("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", (Progress::More, Some((200, None, false, true))));
    }

    #[test]
    fn heads_tell_version_id_and_close() {
        let head =
            "HTTP/1.1 200 OK\r\nX-Version: 3\r\nx-request-id: 7\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n";
        check(head, (WHOLE, Some((200, Some(3), true, true))));
        check("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", (WHOLE, Some((200, None, false, true))));
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", {
            (WHOLE, Some((503, None, false, false)))
        });
    }

    #[test]
    fn nonsense_is_not_an_answer() {
        check("SSH-2.0-OpenSSH_9.2\r\n", (Progress::Malformed, None));
        check("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", (Progress::Malformed, None));
        check("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", (Progress::Malformed, None));
    }

    fn an_answer() -> impl Strategy<Value = Vec<u8>> {
        let body = proptest::collection::vec(any::<u8>(), 0..200);
        (body, 0..3u8, 0..3u8, 0..4u32).prop_map(|(body, framing, continues, version)| {
            let mut wire = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(continues.into());
            wire.extend(format!("HTTP/1.1 200 OK\r\nX-Request-Id: 7\r\nX-Version: {version}\r\n").bytes());
            match framing {
                0 => {
                    wire.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                    wire.extend(body);
                }
                1 => {
                    wire.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                    for chunk in body.chunks(17) {
                        wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
                        wire.extend(chunk);
                        wire.extend(b"\r\n");
                    }
                    wire.extend(b"0\r\nTrailer: yes\r\n\r\n");
                }
                _ => {
                    wire.extend(b"Connection: close\r\n\r\n");
                    wire.extend(body);
                }
            }
            wire
        })
    }

    proptest! {
        #[test]
        fn however_an_answer_is_cut_it_reads_the_same(
            wire in an_answer(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let names = names();
            let mut at_once = AnswerReader::new(&names, 7);
            let want = at_once.feed(&wire);
            prop_assert!(want == WHOLE || at_once.ends_with_stream());

            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
            ends.push(wire.len());
            ends.sort_unstable();
            let mut pieces = AnswerReader::new(&names, 7);
            let (mut begin, mut last) = (0, Progress::More);
            for end in ends {
                // Nothing before the last byte may seem whole.
                prop_assert!(begin == wire.len() || last == Progress::More);
                last = pieces.feed(&wire[begin..end]);
                begin = end;
            }
            prop_assert_eq!(last, want);
            prop_assert_eq!(pieces.answer(), at_once.answer());
            prop_assert_eq!(pieces.ends_with_stream(), at_once.ends_with_stream());
        }
    }
}
