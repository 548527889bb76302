//! Lays a capture out as a root for `runner-vitals --root`:
//! `cargo run --example lay-out -- fixtures/captures/oom-guest/during /tmp/oom-guest`.

#[path = "../tests/support/fixture.rs"]
mod fixture;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [capture, root] = args.as_slice() else {
        eprintln!("usage: lay-out CAPTURE ROOT   (a moment of fixtures/captures, and the folder to make)");
        return ExitCode::from(64);
    };
    match fixture::lay_out(Path::new(capture), Path::new(root)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lay-out: {capture} to {root}: {error}");
            ExitCode::FAILURE
        }
    }
}
