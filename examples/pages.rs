//! Man pages and completions of both programs, made of their flags:
//!
//!     cargo run --example pages -- target/pages
//!
//! `man/` has a page for each program and each of their tasks, `completions/` a file for each program in bash, zsh and fish.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use runner_vitals::hub::cli::Cli;
use runner_vitals::probe::config::Args;
use runner_vitals::probe::config::phase::PhaseArgs;
use runner_vitals::probe::job::exec_command;

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> io::Result<()> {
    let Some(out) = std::env::args_os().nth(1) else {
        return Err(io::Error::other("where to? cargo run --example pages -- FOLDER"));
    };
    write(Path::new(&out))
}

/// Both programs with all that they can be told.
pub(crate) fn programs() -> [Command; 2] {
    // Their names are those of the programs that they are for themselves, each with its own usage.
    let exec = exec_command().name("exec");
    let phase = PhaseArgs::command().name("phase");
    [Args::command().after_help(None::<&str>).subcommand(exec).subcommand(phase), Cli::command()]
}

pub(crate) fn write(out: &Path) -> io::Result<()> {
    let (man, completions) = (out.join("man"), out.join("completions"));
    std::fs::create_dir_all(&man)?;
    std::fs::create_dir_all(&completions)?;
    for program in programs() {
        clap_mangen::generate_to(program.clone(), &man)?;
        for shell in SHELLS {
            let name = program.get_name().to_owned();
            clap_complete::generate_to(shell, &mut program.clone(), name, &completions)?;
        }
    }
    Ok(())
}
