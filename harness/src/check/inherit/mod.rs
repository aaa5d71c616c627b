//! What a launcher leaves lying about, and who believes it.

pub mod false_mark;
