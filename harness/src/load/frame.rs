//! Frames of WebSocket (RFC 6455 §5), as a client writes and reads them. Pure.

/// A message or control frame larger than this is not one that we asked for; it bounds our memory.
const BYTES_MAX: u64 = 64 * 1024;

/// Operation codes (§5.2).
mod code {
    pub(super) const CONTINUATION: u8 = 0x0;
    pub(super) const TEXT: u8 = 0x1;
    pub(super) const BINARY: u8 = 0x2;
    pub(super) const CLOSE: u8 = 0x8;
    pub(super) const PING: u8 = 0x9;
    pub(super) const PONG: u8 = 0xa;
}

/// A text message. The mask is what no one else must foresee (§5.3).
pub(super) fn text(payload: &str, mask: u32) -> Vec<u8> {
    frame(code::TEXT, payload.as_bytes(), mask)
}

/// A close frame with a code, or without one.
pub(super) fn close(status: Option<u16>, mask: u32) -> Vec<u8> {
    frame(code::CLOSE, status.map(u16::to_be_bytes).as_ref().map_or(&[], |bytes| &bytes[..]), mask)
}

/// What answers a ping.
pub(super) fn pong(payload: &[u8], mask: u32) -> Vec<u8> {
    frame(code::PONG, payload, mask)
}

fn frame(code: u8, payload: &[u8], mask: u32) -> Vec<u8> {
    const FINAL: u8 = 0x80;
    const MASKED: u8 = 0x80;
    let mut bytes = vec![FINAL | code];
    match u8::try_from(payload.len()).ok().filter(|length| *length < 126) {
        Some(length) => bytes.push(MASKED | length),
        // Nothing that we send is longer than 64 KiB.
        None => {
            bytes.push(MASKED | 126);
            bytes.extend(u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    let mask = mask.to_be_bytes();
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// A whole message, text or binary, in however many frames.
    Message(Vec<u8>),
    /// The end, and its code where there is one.
    Close(Option<u16>),
    Ping(Vec<u8>),
    Pong,
}

/// Bytes that have come and are not used.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// The beginning of a message in several frames.
    begun: Option<Vec<u8>>,
}

impl From<Vec<u8>> for Frames {
    fn from(bytes: Vec<u8>) -> Frames {
        Frames { bytes, begun: None }
    }
}

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, or message, that has come whole.
    ///
    /// # Errors
    /// What is against the protocol.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, &'static str> {
        while let Some((head, length)) = head(&self.bytes)? {
            let Some(payload) = self.bytes.get(head.bytes..head.bytes + length).map(<[u8]>::to_vec) else { break };
            self.bytes.drain(..head.bytes + length);
            match (head.code, self.begun.take()) {
                (code::PING, begun) => {
                    self.begun = begun;
                    return Ok(Some(Frame::Ping(payload)));
                }
                (code::PONG, begun) => {
                    self.begun = begun;
                    return Ok(Some(Frame::Pong));
                }
                (code::CLOSE, _) => return Ok(Some(Frame::Close(status(&payload)?))),
                (code::TEXT | code::BINARY, None) if head.is_final => return Ok(Some(Frame::Message(payload))),
                (code::TEXT | code::BINARY, None) => self.begun = Some(payload),
                (code::CONTINUATION, Some(begun)) => {
                    let message = [begun, payload].concat();
                    if message.len() as u64 > BYTES_MAX {
                        return Err("a message that is too long");
                    }
                    if head.is_final {
                        return Ok(Some(Frame::Message(message)));
                    }
                    self.begun = Some(message);
                }
                _ => return Err("a frame of an unknown kind, or out of its order"),
            }
        }
        Ok(None)
    }
}

struct Head {
    code: u8,
    is_final: bool,
    bytes: usize,
}

/// The head at the beginning of these bytes, and the length of its payload.
fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, &'static str> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err("reserved bits, of an extension that was not asked for");
    }
    if second & 0x80 != 0 {
        return Err("a masked frame, which only clients send");
    }
    let (length, bytes) = match (second, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10),
        (126 | 127, _) => return Ok(None),
        (short, _) => (u64::from(*short), 2),
    };
    let head = Head { code: first & 0x0f, is_final: first & 0x80 != 0, bytes };
    if head.code >= code::CLOSE && (length > 125 || !head.is_final) {
        return Err("a control frame that is too long, or in pieces");
    }
    match usize::try_from(length).ok().filter(|_| length <= BYTES_MAX) {
        Some(length) => Ok(Some((head, length))),
        None => Err("a frame that is too long"),
    }
}

/// The code of a close frame (§5.5.1).
fn status(payload: &[u8]) -> Result<Option<u16>, &'static str> {
    match payload {
        [] => Ok(None),
        [high, low, ..] => Ok(Some(u16::from_be_bytes([*high, *low]))),
        [_] => Err("half of a close code"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All frames of these bytes, however they are cut.
    fn read(bytes: &[u8]) -> Result<Vec<Frame>, &'static str> {
        let cut = |length: usize| {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(length) {
                frames.push(piece);
                while let Some(frame) = frames.next()? {
                    found.push(frame);
                }
            }
            Ok(found)
        };
        let whole = cut(bytes.len().max(1));
        assert_eq!(cut(1), whole);
        assert_eq!(cut(3), whole);
        whole
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let hello = || Frame::Message(b"Hello".to_vec());
        assert_eq!(read(b"\x81\x05Hello"), Ok(vec![hello()]));
        assert_eq!(read(b"\x01\x03Hel\x89\x05Hello\x80\x02lo"), Ok(vec![Frame::Ping(b"Hello".to_vec()), hello()]));
        let long = [&[0x82, 0x7e, 0x01, 0x00][..], &[7; 256]].concat();
        assert_eq!(read(&long), Ok(vec![Frame::Message(vec![7; 256])]));
        assert_eq!(read(b"\x88\x09\x03\xf4restart\x88\x00"), Ok(vec![Frame::Close(Some(1012)), Frame::Close(None)]));
        assert_eq!(read(b"\x81\x05Hel"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_sent_is_masked_as_in_the_standard() {
        assert_eq!(text("Hello", 0x37fa_213d), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        assert_eq!(close(Some(1000), 0), b"\x88\x82\0\0\0\0\x03\xe8");
        assert_eq!(close(None, 0), b"\x88\x80\0\0\0\0");
        assert_eq!(pong(b"x", 0), b"\x8a\x81\0\0\0\0x");
        assert_eq!(text(&"x".repeat(300), 0).len(), 308);
    }

    #[test]
    fn what_no_server_may_send_is_an_error() {
        for bytes in [
            &b"\x81\x85\0\0\0\0Hello"[..],
            b"\xc1\x05Hello",
            b"\x80\x05Hello",
            b"\x01\x01a\x81\x01b",
            b"\x83\x00",
            b"\x09\x00",
            b"\x88\x01\x03",
            b"\x82\x7f\0\0\0\x01\0\0\0\0",
            b"\x88\x7e\0\x80",
        ] {
            read(bytes).expect_err(&format!("{bytes:?}"));
        }
    }
}
