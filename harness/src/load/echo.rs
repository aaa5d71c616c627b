//! Raw echo: a request is a line, and its answer is the same bytes.
//!
//! A server may give them back one by one or all at once, as they come or when the line is whole. What may go wrong:
//!
//! | What came | Class |
//! |---|---|
//! | a byte that is not the one that was sent | `wrong-answer` |
//! | a part of the line, then the end or a reset | `truncated` |
//! | bytes behind the line, or before what they could be the answer to | `unsolicited-answer` |
//! | the end, and all of the line before it | none: an orderly close, which nothing in raw echo could have announced |
//! | no byte at all | as with any protocol: `dropped`, `crossed`, `unread`, `taken`, `hung` |

use super::answer::{Answer, Progress};

/// What a whole line says: that it was answered, and nothing more.
const ANSWER: Answer = Answer { status: None, version: None, echoed: true, close_announced: false, last: false };

/// The state of one line that comes back.
#[derive(Debug)]
pub(super) struct EchoReader {
    line: Vec<u8>,
    /// So many of its bytes have come.
    came: usize,
    differs: bool,
}

impl EchoReader {
    /// For the answer to this line.
    pub(super) fn new(line: Vec<u8>) -> EchoReader {
        EchoReader { line, came: 0, differs: false }
    }

    /// For the answer to another line, in the same place.
    pub(super) fn again(&mut self, line: &[u8]) {
        self.line.clear();
        self.line.extend_from_slice(line);
        (self.came, self.differs) = (0, false);
    }

    /// What the answer said, once it is whole.
    pub(super) fn answer(&self) -> Option<Answer> {
        self.is_whole().then_some(ANSWER)
    }

    /// Nothing of it is to come.
    pub(super) fn is_whole(&self) -> bool {
        !self.differs && self.came == self.line.len()
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Progress {
        let left = &self.line[self.came..];
        let (own, excess) = bytes.split_at(bytes.len().min(left.len()));
        self.differs |= !left.starts_with(own);
        if self.differs {
            return Progress::Malformed;
        }
        self.came += own.len();
        if self.is_whole() { Progress::Whole { excess: excess.len() } } else { Progress::More }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(wire: &str, want: Progress) {
        let mut reader = EchoReader::new(b"/ 7\n".to_vec());
        assert_eq!(reader.feed(wire.as_bytes()), want, "{wire:?}");
        assert_eq!(reader.answer(), matches!(want, Progress::Whole { .. }).then_some(ANSWER), "{wire:?}");
    }

    #[test]
    fn a_line_is_answered_by_itself_alone() {
        check("/ 7\n", Progress::Whole { excess: 0 });
        check("/ 7\n/ 7", Progress::Whole { excess: 3 });
        check("/ 7", Progress::More);
        check("", Progress::More);
        check("/ 8\n", Progress::Malformed);
        check("/ 7 ", Progress::Malformed);
        check("busy\n", Progress::Malformed);
    }

    #[test]
    fn a_wrong_byte_is_not_mended_by_right_ones() {
        let mut reader = EchoReader::new(b"/ 7\n".to_vec());
        assert_eq!(reader.feed(b"/ 8"), Progress::Malformed);
        assert_eq!(reader.feed(b"/ 7\n"), Progress::Malformed);
    }

    proptest! {
        #[test]
        fn however_an_answer_is_cut_it_reads_the_same(
            line in proptest::collection::vec(any::<u8>(), 1..100),
            excess in proptest::collection::vec(any::<u8>(), 0..10),
            flip in proptest::option::of(any::<prop::sample::Index>()),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut wire = [line.clone(), excess.clone()].concat();
            let flip = flip.map(|flip| flip.index(line.len()));
            if let Some(at) = flip {
                wire[at] ^= 1;
            }
            let want = if flip.is_some() { Progress::Malformed } else { Progress::Whole { excess: excess.len() } };
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
            ends.push(wire.len());
            ends.sort_unstable();
            let mut reader = EchoReader::new(line.clone());
            let (mut begin, mut behind) = (0, 0);
            for end in ends {
                let progress = reader.feed(&wire[begin..end]);
                // Each piece tells what it can: the first wrong byte, the last right one, what lies behind it.
                let seen = match flip {
                    Some(at) if end > at => Progress::Malformed,
                    _ if end < line.len() => Progress::More,
                    _ => Progress::Whole { excess: end - begin.max(line.len()) },
                };
                prop_assert_eq!(progress, seen);
                if let Progress::Whole { excess } = progress {
                    behind += excess;
                }
                begin = end;
            }
            prop_assert_eq!(reader.answer().is_some(), flip.is_none());
            prop_assert_eq!(want, if flip.is_some() { Progress::Malformed } else { Progress::Whole { excess: behind } });
        }
    }
}
