//! Where lines go.

pub mod stdout;
