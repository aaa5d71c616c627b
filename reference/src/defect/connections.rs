//! How the defects of a drain treat connections that are open when it begins.

use super::Defect;

/// What a draining generation does with the next request of a kept connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptConnection {
    /// Answers it and announces the end: correct.
    Answer,
    /// Answers it as ever, and closes then.
    CloseUnannounced,
    /// Waits until it has arrived and closes without reading: the client gets a reset, the kernel counts TCPAbortOnClose.
    CloseUnread,
    /// Reads it and closes: the client gets an orderly end instead of an answer.
    Swallow,
}

impl KeptConnection {
    /// The correct way, or the defect's.
    #[must_use]
    pub fn of(defect: Option<Defect>) -> Self {
        match defect {
            Some(Defect::CloseAnnounced) => Self::CloseUnannounced,
            Some(Defect::KeepaliveRace) => Self::CloseUnread,
            Some(Defect::KeepaliveSwallowed) => Self::Swallow,
            _ => Self::Answer,
        }
    }
}

/// What a draining generation does with a body that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongBody {
    /// Sends or reads it to its end: correct.
    Finish,
    /// Ends an answer in the middle, with FIN.
    CutAnswer,
    /// Ends an answer in the middle, with RST.
    ResetAnswer,
    /// Reads no more of a request.
    CutRequest,
}

impl LongBody {
    /// The correct way, or the defect's.
    #[must_use]
    pub fn of(defect: Option<Defect>) -> Self {
        match defect {
            Some(Defect::StreamIntact) => Self::CutAnswer,
            Some(Defect::ResponseNotReset) => Self::ResetAnswer,
            Some(Defect::UploadCompletes) => Self::CutRequest,
            _ => Self::Finish,
        }
    }
}

/// What a draining generation does with a connection whose first request has not arrived whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YoungConnection {
    /// Waits for the request and answers it: correct.
    Await,
    /// Closes it if it has sent half a head.
    CutHalf,
    /// Reads the first request and closes.
    Swallow,
    /// Closes it once its request is whole.
    DropLate,
    /// Closes it if it has sent nothing.
    CloseUnused,
}

impl YoungConnection {
    /// The correct way, or the defect's.
    #[must_use]
    pub fn of(defect: Option<Defect>) -> Self {
        match defect {
            Some(Defect::PartialRequest) => Self::CutHalf,
            Some(Defect::FirstRequest) => Self::Swallow,
            Some(Defect::LateWork) => Self::DropLate,
            Some(Defect::FreshNotClosed) => Self::CloseUnused,
            _ => Self::Await,
        }
    }
}
