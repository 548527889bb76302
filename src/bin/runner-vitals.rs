//! The probe: arguments to configuration to [`runner_vitals::probe::run`].

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use clap::Parser as _;
use runner_vitals::line::RunId;
use runner_vitals::probe::config::{Args, Config};
use runner_vitals::probe::run;
use runner_vitals::probe::watch::signals::Signals;

/// sysexits(3): a flag is wrong.
const EX_USAGE: u8 = 64;

/// sysexits(3): the system would not give what is needed.
const EX_OSERR: u8 = 71;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nothing is left to tell when even this cannot be printed.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EX_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let config = Config::new(args, |name| std::env::var_os(name));
    match probe(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runner-vitals: {error}");
            ExitCode::from(EX_OSERR)
        }
    }
}

fn probe(config: Config) -> std::io::Result<()> {
    // Before the first thread, so that all of them leave the signals to the sampler.
    let signals = Signals::block()?;
    let stdout = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    run::run(config, RunId::from_random(random()), stdout, &signals).map(drop)
}

fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}
