//! Prints `docs/FIELDS.md`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(runner_vitals::line::fields_doc::page().as_bytes())
}
