//! Where lines come from: files, pipes, logs of Pods, Loki's answers; told apart by runner and kept in bounded room.
//!
//! What is kept of a run ([`life::Life`]) does not depend on the order of its lines: they are put right by `seq`, and
//! repeats are dropped. Of samples extremes, means and the latest minute are kept ([`slice::Slice`]), of events the latest few
//! ([`happening::Happening`]); so a gigabyte streams in a few KiB a runner. It judges nothing.
//!
//! A line is ours when it begins with the tag, or with it behind what a container runtime or a collector puts before lines
//! ([`entry`]). The tag in the middle of a line is what somebody said about a line, and is no line.

pub mod about;
pub mod book;
pub mod came;
mod crowd;
mod done;
pub mod entry;
pub mod film;
pub mod happening;
pub mod heard;
mod join;
mod kept;
pub mod life;
pub mod loki;
pub mod loki_json;
pub mod moved;
mod parts;
pub mod possible;
pub mod read;
mod rests;
pub mod runners;
pub mod seen;
pub mod slice;
pub mod stage;
pub mod tail;
mod text;

pub use book::{Book, Read};
pub use runners::{Closed, Runner};
