//! How a process ended.

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exit(u8),
    /// By this signal.
    Signal(u8),
}
