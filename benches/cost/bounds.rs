//! The rows of the budget. `benches/BUDGET.md` has the same, and a test holds the two together.

/// One row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// What is bounded.
    pub(crate) what: &'static str,
    /// The bound in words.
    pub(crate) text: &'static str,
    /// The bound as a number.
    pub(crate) at_most: f64,
}

macro_rules! bounds {
    ($($name:ident $what:literal, $text:literal, $at_most:expr;)+) => {
        $(pub(crate) const $name: Bound = Bound { what: $what, text: $text, at_most: $at_most };)+
        /// Every row, in the order of the table.
        pub(crate) const ALL: &[Bound] = &[$($name),+];
    };
}

bounds! {
    SHELL "CPU a sample, of the shell probe's", "1/150", 1.0 / 150.0;
    FLOOR "CPU a sample at 10 ms, of the bare loop's", "1.6 times", 1.6;
    SYSTEM_CALLS "system calls a sample, besides one a file", "6", 6.0;
    ALLOCATIONS "allocations a sample", "0", 0.0;
    PEAK_RESIDENT "peak resident memory", "4 MiB", 4096.0;
    BINARY "binary size", "3.5 MB", 3_500_000.0;
    OPEN_FILES "open files", "40", 40.0;
    THREADS "threads", "3", 3.0;
    START "start to first line, CPU, of a shell probe's sample", "1/2", 0.5;
    FULL_LINE "a calm full line", "800 bytes", 800.0;
    CONTRACT_LINE "a contract line", "400 bytes", 400.0;
    NETWORK_CPU "CPU a sample with a TLS sink, one request each", "1 ms", 1.0;
    NETWORK_RESIDENT "peak resident memory with a TLS sink", "4 MiB", 4096.0;
    NETWORK_LOCKED "the same with memory locked", "6 MiB", 6144.0;
    NETWORK_THREADS "threads with a network sink", "4", 4.0;
    GROWTH "memory after 1,000,000 samples, over that after 1,000", "64 KiB", 64.0;
}
